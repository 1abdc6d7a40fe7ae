"""The files worker in time: flips, holds, silence of control, fills, drains. Real process, real clock."""

import hashlib
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from station.model.identity import Revision
from station.model.publication import Publication
from station.model.snapshot import MemberView, SourceView
from tests.integration.certificates import Certificate
from tests.integration.files_lab import FilesLab, boot, header, read_answer, revision_of, status

SOURCE = "ol9_base"
BASE = f"/repo/{SOURCE}/"
SHARED = os.urandom(3000)
OLD = {
    "repodata/repomd.xml": b"old repomd",
    "repodata/repomd.xml.asc": b"old signature",
    "repodata/comps.xml": b"old comps",
    "Packages/old.rpm": os.urandom(300_000),
    "Packages/shared.rpm": SHARED,
}
NEW = {
    "repodata/repomd.xml": b"new repomd",
    "repodata/repomd.xml.asc": b"new signature",
    "repodata/comps.xml": b"new comps",
    "Packages/new.rpm": os.urandom(300_000),
    "Packages/shared.rpm": SHARED,
}


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[FilesLab]:
    with FilesLab(
        tmp_path, limits={"stale_hold_s": 1, "manifest_hold_s": 1, "unpublished_hold_s": 1}
    ) as lab:
        yield lab


def two_revisions(lab: FilesLab) -> tuple[Revision, Revision]:
    return lab.storage.add(SOURCE, OLD), lab.storage.add(SOURCE, NEW)


def flip_at(lab: FilesLab, old: Revision, new: Revision, at: float) -> None:
    view = SourceView(
        live=Publication(1, 1, old), next=Publication(2, 2, new), flip_at=at, revisions=(old, new)
    )
    lab.feed.show(lab.snapshot(2, sources={SOURCE: view}, listed=frozenset({SOURCE})))


def wait_for(what: Callable[[], object], seconds: float = 3.0) -> None:
    ends = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < ends
        time.sleep(0.01)


def test_repomd_is_held_over_a_flip_and_answered_with_the_new_one(lab: FilesLab) -> None:
    old, new = two_revisions(lab)
    lab.publish(SOURCE, old)
    at = boot() + 3.6
    flip_at(lab, old, new, at)
    assert lab.get(BASE + "repodata/repomd.xml")[1] == b"old repomd"
    time.sleep(max(0.0, at - 0.8 - boot()))
    assert lab.get(BASE + "repodata/repomd.xml.asc")[1] == b"old signature"
    assert lab.get(BASE + "repodata/repomd.xml")[1] == b"new repomd"
    assert at + 0.25 <= boot() < at + 0.6
    assert lab.get(BASE + "repodata/repomd.xml.asc")[1] == b"new signature"


def test_for_zypp_the_signature_is_held_and_repomd_flips(lab: FilesLab) -> None:
    old, new = two_revisions(lab)
    lab.publish(SOURCE, old)
    at = boot() + 1.0
    flip_at(lab, old, new, at)
    time.sleep(max(0.0, at - 0.5 - boot()))
    agent = "User-Agent: ZYpp 17.31"
    assert lab.get(BASE + "repodata/repomd.xml", agent)[1] == b"old repomd"
    assert boot() < at
    assert lab.get(BASE + "repodata/repomd.xml.asc", agent)[1] == b"new signature"
    assert boot() >= at + 0.25


def test_the_word_that_a_flip_happened_does_not_cut_its_hold_short(lab: FilesLab) -> None:
    old, new = two_revisions(lab)
    lab.publish(SOURCE, old)
    at = boot() + 0.4
    flip_at(lab, old, new, at)
    time.sleep(max(0.0, at + 0.02 - boot()))
    view = SourceView(live=Publication(2, 2, new), revisions=(new, old))
    lab.feed.show(lab.snapshot(3, sources={SOURCE: view}, listed=frozenset({SOURCE})))
    assert lab.get(BASE + "repodata/repomd.xml")[1] == b"new repomd"
    assert boot() >= at + 0.25


def test_files_of_every_known_revision_are_served_whatever_is_live(lab: FilesLab) -> None:
    old, new = two_revisions(lab)
    lab.publish(SOURCE, old, new)
    assert lab.get(BASE + "Packages/new.rpm")[1] == NEW["Packages/new.rpm"]
    assert lab.get(f"{BASE}@{old}/Packages/new.rpm")[1] == NEW["Packages/new.rpm"]
    assert lab.get(f"{BASE}@{new}/repodata/comps.xml")[1] == b"new comps"
    assert lab.get(f"{BASE}@{new}/repodata/repomd.xml.asc")[1] == b"new signature"
    assert lab.get(BASE + "repodata/comps.xml")[1] == b"old comps"


def test_downloads_that_run_during_a_flip_end_with_the_old_bytes(lab: FilesLab) -> None:
    big = {**OLD, "Packages/big.rpm": os.urandom(20_000_000)}
    old, new = lab.storage.add(SOURCE, big), lab.storage.add(SOURCE, NEW)
    lab.publish(SOURCE, old)
    with lab.connect(timeout=20) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16384)
        sock.sendall(f"GET {BASE}Packages/big.rpm HTTP/1.1\r\nHost: h\r\n\r\n".encode())
        view = SourceView(live=Publication(2, 2, new), revisions=(new, old))
        lab.feed.show(lab.snapshot(3, sources={SOURCE: view}, listed=frozenset({SOURCE})))
        wait_for(lambda: lab.get(BASE + "repodata/repomd.xml")[1] == b"new repomd")
        assert read_answer(sock)[1] == big["Packages/big.rpm"]


def test_mutable_names_are_held_while_control_is_silent_then_dropped(lab: FilesLab) -> None:
    lab.publish(SOURCE, two_revisions(lab)[0])
    lab.feed.is_beating = False
    time.sleep(2.3)
    assert status(lab.get("/health/ready")[0]) == 503
    assert lab.get(BASE + "Packages/old.rpm")[1] == OLD["Packages/old.rpm"]
    started = time.monotonic()
    with pytest.raises((EOFError, ConnectionResetError)):
        lab.get(BASE + "repodata/repomd.xml")
    assert 0.9 < time.monotonic() - started < 2


def test_a_held_request_is_answered_when_control_speaks_again(lab: FilesLab) -> None:
    lab.publish(SOURCE, two_revisions(lab)[0])
    lab.feed.is_beating = False
    time.sleep(2.3)
    threading.Timer(0.3, lambda: setattr(lab.feed, "is_beating", True)).start()
    assert lab.get("/mirrorlist/" + SOURCE)[0].startswith(b"HTTP/1.1 200")
    assert lab.get(BASE + "repodata/repomd.xml")[1] == b"old repomd"


def test_a_station_alone_answers_from_its_last_snapshot(lab: FilesLab) -> None:
    view = SourceView(live=Publication(1, 1, lab.storage.add(SOURCE, OLD)))
    members = (MemberView("StationA", "127.0.0.11"), MemberView("B", "127.0.0.12", is_ready=False))
    lab.feed.show(lab.snapshot(sources={SOURCE: view}, members=members))
    lab.wait_ready()
    lab.feed.is_beating = False
    time.sleep(2.3)
    assert lab.get(BASE + "repodata/repomd.xml")[1] == b"old repomd"


def test_a_frozen_worker_that_wakes_does_not_answer_from_the_past(lab: FilesLab) -> None:
    old, new = two_revisions(lab)
    lab.publish(SOURCE, old)
    assert lab.get(BASE + "repodata/repomd.xml")[1] == b"old repomd"
    lab.process.send_signal(signal.SIGSTOP)
    view = SourceView(live=Publication(2, 2, new), revisions=(new, old))
    lab.feed.show(lab.snapshot(2, sources={SOURCE: view}, listed=frozenset({SOURCE})))
    time.sleep(2.5)
    with lab.connect() as sock:
        sock.sendall(f"GET {BASE}repodata/repomd.xml HTTP/1.1\r\nHost: h\r\n\r\n".encode())
        lab.process.send_signal(signal.SIGCONT)
        assert read_answer(sock)[1] == b"new repomd"


def test_a_listed_source_without_publication_is_held_until_it_has_one(lab: FilesLab) -> None:
    lab.feed.show(lab.snapshot(sources={}, listed=frozenset({SOURCE})))
    lab.wait_ready()
    started = time.monotonic()
    head, _ = lab.get("/mirrorlist/" + SOURCE)
    assert (status(head), header(head, "Connection")) == (503, "close")
    assert time.monotonic() - started > 0.9
    revision = lab.storage.add(SOURCE, OLD)
    threading.Timer(0.3, lab.publish, (SOURCE, revision)).start()
    assert lab.get(BASE + "repodata/repomd.xml")[1] == b"old repomd"


def test_a_revision_whose_manifest_is_not_here_is_asked_for_and_waited_for(lab: FilesLab) -> None:
    lab.publish(SOURCE, lab.storage.add(SOURCE, OLD))
    other = Revision.parse(hashlib.sha256(b"other").hexdigest())
    started = time.monotonic()
    assert status(lab.get(f"{BASE}@{other}/repodata/repomd.xml")[0]) == 404
    assert time.monotonic() - started > 0.9
    assert [want["revision"] for want in lab.feed.wants()] == [other]


def test_a_path_of_a_revision_that_only_others_have_is_served_once_its_manifest_is_here(
    lab: FilesLab,
) -> None:
    """One revision of which nobody gives the manifest does not keep the next one from being asked for."""
    live = lab.storage.add(SOURCE, NEW)
    nobody_has = Revision.parse(hashlib.sha256(b"gone").hexdigest())
    retained = revision_of(OLD)
    view = SourceView(
        live=Publication(1, 1, live), revisions=(live,), announced=(nobody_has, retained)
    )
    lab.feed.show(lab.snapshot(sources={SOURCE: view}, listed=frozenset({SOURCE})))
    lab.wait_ready()
    with lab.connect() as sock:
        sock.sendall(f"GET {BASE}Packages/old.rpm HTTP/1.1\r\nHost: h\r\n\r\n".encode())
        wait_for(lambda: {want["revision"] for want in lab.feed.wants()} == {nobody_has, retained})
        wants = {want["revision"]: want for want in lab.feed.wants()}
        lab.feed.send({"fill": {**wants[nobody_has], "done": False, "error": "no peer has it"}})
        lab.storage.add(SOURCE, OLD)
        lab.feed.send({"fill": {**wants[retained], "done": True, "error": ""}})
        head, body = read_answer(sock)
    assert (status(head), body) == (200, OLD["Packages/old.rpm"])
    began = time.monotonic()
    head, _ = lab.get(f"{BASE}Packages/nowhere.rpm")
    assert (status(head), header(head, "Connection")) == (404, "close")
    assert time.monotonic() - began < 0.5, "that nobody has it is known"


def test_a_live_revision_whose_manifest_is_not_to_be_had_is_never_answered_404(
    tmp_path: Path,
) -> None:
    """A station that has just thawed: its peers have what it lacks, and 404 would be taken for the truth."""
    with FilesLab(tmp_path, limits={"manifest_hold_s": 1.0}) as lab:
        lab.storage.add(SOURCE, OLD)
        old, new = revision_of(OLD), revision_of(NEW)
        view = SourceView(live=Publication(2, 2, new), revisions=(old,), announced=(new,))
        lab.feed.show(lab.snapshot(sources={SOURCE: view}, listed=frozenset({SOURCE})))
        lab.wait_ready()
        for path in ("repodata/repomd.xml", f"@{new}/Packages/new.rpm"):
            with lab.connect() as sock:
                sock.sendall(f"GET {BASE}{path} HTTP/1.1\r\nHost: h\r\n\r\n".encode())
                wait_for(lambda: any(want["revision"] == new for want in lab.feed.wants()))
                for want in lab.feed.wants():
                    lab.feed.send({"fill": {**want, "done": False, "error": "no peer answers"}})
                with pytest.raises((EOFError, ConnectionResetError)):
                    read_answer(sock)


@pytest.mark.parametrize("is_in_contact", [True, False])
def test_signature_of_a_revision_that_a_station_out_of_reach_may_have_is_asked_for_there(
    lab: FilesLab, is_in_contact: bool
) -> None:
    live = lab.storage.add(SOURCE, NEW)
    view = SourceView(live=Publication(1, 1, live), revisions=(live,))
    names = {"StationA": "127.0.0.11", "StationB": "127.0.0.12", "StationC": "127.0.0.13"}
    members = tuple(
        MemberView(name, address, is_ready=is_in_contact or name == "StationA")
        for name, address in names.items()
    )
    shown = lab.snapshot(sources={SOURCE: view}, listed=frozenset({SOURCE}), members=members)
    lab.feed.show(shown)
    lab.wait_ready()
    url = f"{BASE}@{revision_of(OLD)}/repodata/repomd.xml"
    head, _ = lab.get(f"{url}.asc")
    if is_in_contact:
        assert status(head) == 404
    else:
        assert status(head) == 302
        assert header(head, "Location") == f"http://127.0.0.12:17080{url}.asc"
    assert status(lab.get(url)[0]) == 404, "there are other mirrors for it"


def fill_message(lab: FilesLab, data: bytes, file: Path, **changes: object) -> dict[str, object]:
    wait_for(lambda: [w for w in lab.feed.wants() if w["path"] == "Packages/new.rpm"])
    want = [w for w in lab.feed.wants() if w["path"] == "Packages/new.rpm"][-1]
    message = {
        **want, "sha256": hashlib.sha256(data).hexdigest(), "size": len(data), "mtime": 0,
        "file": str(file), "done": False, "error": "",
    }  # fmt: skip
    return {"fill": {**message, **changes}}


def start_fill(lab: FilesLab) -> tuple[bytes, socket.socket, Path]:
    data = NEW["Packages/new.rpm"]
    revision = lab.storage.add(SOURCE, NEW, missing=("Packages/new.rpm",))
    lab.publish(SOURCE, revision)
    sock = lab.connect()
    sock.sendall(f"GET {BASE}Packages/new.rpm HTTP/1.1\r\nHost: h\r\n\r\n".encode())
    return data, sock, lab.directory / "growing"


def receive(sock: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count:
        piece = sock.recv(count - len(data))
        assert piece
        data += piece
    return data


def test_a_missing_file_is_sent_while_it_grows_and_its_end_withheld_until_it_is_right(
    lab: FilesLab,
) -> None:
    data, sock, file = start_fill(lab)
    with sock:
        file.write_bytes(data[:100_000])
        lab.feed.send(fill_message(lab, data, file))
        head = b""
        while b"\r\n\r\n" not in head:
            head += sock.recv(1)
        assert header(head, "Content-Length") == str(len(data))
        received = receive(sock, 100_000)
        file.write_bytes(data)
        received += receive(sock, len(data) - 65536 - 100_000)
        sock.settimeout(0.3)
        with pytest.raises(TimeoutError):
            sock.recv(1)
        sock.settimeout(5)
        lab.storage.put(data)
        lab.feed.send(fill_message(lab, data, file, done=True))
        assert received + receive(sock, 65536) == data


def test_a_fill_that_fails_resets_its_readers(lab: FilesLab) -> None:
    data, sock, file = start_fill(lab)
    with sock:
        file.write_bytes(data)
        lab.feed.send(fill_message(lab, data, file))
        receive(sock, 100_000)
        lab.feed.send(fill_message(lab, data, file, error="digest"))
        with pytest.raises(ConnectionResetError):
            while sock.recv(65536):
                pass


def test_a_fill_that_fails_before_its_first_byte_is_503(lab: FilesLab) -> None:
    data, sock, file = start_fill(lab)
    with sock:
        lab.feed.send(fill_message(lab, data, file, error="upstream is away"))
        head, _ = read_answer(sock)
        assert (status(head), header(head, "Connection")) == (503, "close")


def test_a_fill_whose_child_ends_is_asked_for_again_by_those_who_wait(lab: FilesLab) -> None:
    data, sock, file = start_fill(lab)
    with sock:
        lab.feed.send(fill_message(lab, data, file, error="the sync child ended", again=True))
        wait_for(lambda: len(lab.feed.wants()) == 2)
        lab.storage.put(data)
        lab.feed.send(fill_message(lab, data, file, done=True))
        head, body = read_answer(sock)
        assert (status(head), body) == (200, data)


def test_wants_are_repeated_when_control_comes_back(lab: FilesLab) -> None:
    _, sock, _ = start_fill(lab)
    with sock:
        wait_for(lambda: len(lab.feed.wants()) == 1)
        lab.feed.drop_clients()
        wait_for(lambda: len(lab.feed.wants()) == 2)


def test_a_draining_worker_finishes_downloads_refuses_no_request_and_ends(lab: FilesLab) -> None:
    files = {**OLD, "Packages/big.rpm": os.urandom(20_000_000)}
    lab.publish(SOURCE, lab.storage.add(SOURCE, files))
    with lab.connect(timeout=20) as busy, lab.connect() as idle:
        busy.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16384)
        busy.sendall(f"GET {BASE}Packages/big.rpm HTTP/1.1\r\nHost: h\r\n\r\n".encode())
        ask = f"GET {BASE}repodata/repomd.xml HTTP/1.1\r\nHost: h\r\n\r\n".encode()
        idle.sendall(ask)
        assert header(read_answer(idle)[0], "Connection") == "keep-alive"
        lab.feed.send({"stop": True})
        time.sleep(0.3)
        idle.sendall(ask)
        assert header(read_answer(idle)[0], "Connection") == "close"
        assert read_answer(busy)[1] == files["Packages/big.rpm"]
    assert lab.process.wait(5) == 0


def test_while_a_station_stops_balancers_are_told_until_its_last_download_has_ended(
    lab: FilesLab,
) -> None:
    files = {**OLD, "Packages/big.rpm": os.urandom(20_000_000)}
    revision = lab.storage.add(SOURCE, files)
    lab.publish(SOURCE, revision)
    view = SourceView(live=Publication(1, 1, revision), revisions=(revision,))
    with lab.connect(timeout=20) as busy:
        busy.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16384)
        busy.sendall(f"GET {BASE}Packages/big.rpm HTTP/1.1\r\nHost: h\r\n\r\n".encode())
        stopping = {"is_ready": False, "reason": "draining", "sources": {SOURCE: view}}
        lab.feed.show(lab.snapshot(2, **stopping))
        lab.feed.send({"stop": True})
        wait_for(lambda: "worker.draining" in lab.log.read_text())
        for _ in range(3):
            assert status(lab.get("/health/ready")[0]) == 404
        assert read_answer(busy)[1] == files["Packages/big.rpm"]
    assert lab.process.wait(5) == 0


@pytest.mark.parametrize("connection", ["keep-alive", "close"])
@pytest.mark.parametrize("is_tls", [False, True])
def test_a_station_that_stops_is_not_gone_before_balancers_passed_on_what_they_have(
    tmp_path: Path, connection: str, is_tls: bool
) -> None:
    """A balancer holds megabytes for a slow client, and drops them when the station's ports refuse its checks."""
    made = Certificate.make(tmp_path)
    tls = made.chain, made.key
    with FilesLab(tmp_path, tls=tls, limits={"drain_idle_s": 0.1}) as lab:
        revision = lab.storage.add(SOURCE, OLD)
        lab.publish(SOURCE, revision)
        view = SourceView(live=Publication(1, 1, revision), revisions=(revision,))
        with lab.connect_tls() if is_tls else lab.connect() as balancer:
            fields = f"Host: h\r\nConnection: {connection}"
            balancer.sendall(f"GET {BASE}Packages/old.rpm HTTP/1.1\r\n{fields}\r\n\r\n".encode())
            assert read_answer(balancer)[1] == OLD["Packages/old.rpm"]
            stopping = {"is_ready": False, "reason": "draining", "sources": {SOURCE: view}}
            lab.feed.show(lab.snapshot(2, **stopping))
            lab.feed.send({"stop": True})
            assert balancer.recv(1) == b"", "the station has nothing more to say"
            still = time.monotonic() + 0.5  # five rounds in which idle connections are closed
            while time.monotonic() < still:
                assert status(lab.get("/health/ready")[0]) == 404
        assert lab.process.wait(5) == 0


def test_a_second_signal_ends_the_worker_at_once(lab: FilesLab) -> None:
    lab.publish(SOURCE, lab.storage.add(SOURCE, OLD))
    with lab.connect() as sock:
        sock.sendall(b"GET /")
        lab.process.send_signal(signal.SIGTERM)
        time.sleep(0.2)
        lab.process.send_signal(signal.SIGTERM)
        assert lab.process.wait(2) == 0
