"""Each limit of a worker is hit on the wire and counted by its name; tests/CASES.md has the list of all."""

import contextlib
import os
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from station.http.proxy_header import encode_v2
from station.model.publication import Publication
from station.model.snapshot import MemberView, SourceView
from tests.integration.files_lab import FilesLab, header, read_answer, status
from tests.integration.lab import wait_until
from tests.integration.proxy_harness import Origin, Proxy, connect, echo, eventually, snapshot

FILES = {"repodata/repomd.xml": b"repomd", "a.rpm": os.urandom(200_000), "b.rpm": b"b" * 999}
ASK = b"GET /repo/demo/repodata/repomd.xml HTTP/1.1\r\nHost: h\r\n\r\n"
LAST = ASK.replace(b"Host: h", b"Host: h\r\nConnection: close")
WAITING = 1000


def get(path: str) -> bytes:
    return f"GET {path} HTTP/1.1\r\nHost: h\r\n\r\n".encode()


def hits(lab: FilesLab, limit: str) -> int:
    return lab.feed.counters().get(f"limit_{limit}", 0)


def wait_hit(lab: FilesLab, limit: str, count: int = 1) -> None:
    wait_until(f"limit_{limit} counted", lambda: hits(lab, limit) >= count, 5.0)


def is_closed_without_a_word(sock: socket.socket) -> bool:
    with contextlib.suppress(ConnectionResetError):
        return sock.recv(1) == b""
    return True


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Callable[..., FilesLab]]:
    with contextlib.ExitStack() as stack:

        def start(*missing: str, balancers: list[str] | None = None, **limits: float) -> FilesLab:
            lab = FilesLab(
                tmp_path, limits=limits, balancers=balancers, command=("prlimit", "--nofile=8192")
            )
            stack.enter_context(lab)
            if balancers:
                lab.preface = encode_v2(("192.0.2.7", 4711), ("192.0.2.1", 17080))
            lab.publish("demo", lab.storage.add("demo", FILES, missing=missing))
            return lab

        yield start


Start = Callable[..., FilesLab]


def test_one_address_has_its_share_and_waits_for_more(running: Start) -> None:
    lab = running(per_address=2, waiting_s=1)
    wait_until("nobody there", lambda: lab.feed.counters().get("connections") == 0, 5.0)
    with contextlib.ExitStack() as stack:
        for _ in range(2):
            sock = stack.enter_context(lab.connect())
            sock.sendall(ASK)
            read_answer(sock)
        three = stack.enter_context(lab.connect())
        three.sendall(ASK)
        elsewhere = socket.create_connection(("127.0.0.1", lab.http), 5, ("127.0.0.2", 0))
        with elsewhere:
            elsewhere.sendall(ASK)
            assert read_answer(elsewhere)[1] == b"repomd"
        assert is_closed_without_a_word(three)  # after waiting_s
    wait_hit(lab, "per_address")
    wait_hit(lab, "waiting")


def test_a_balancer_has_no_share(running: Start) -> None:
    lab = running(per_address=2, balancers=["127.0.0.1"])
    with contextlib.ExitStack() as stack:
        for _ in range(20):
            sock = stack.enter_context(lab.connect())
            sock.sendall(lab.preface + ASK)
            assert read_answer(sock)[1] == b"repomd"
    assert not hits(lab, "per_address")


def test_a_thousand_wait_beyond_the_cap_then_the_backlog_and_none_is_refused(
    running: Start,
) -> None:
    lab = running(connections=8)
    with contextlib.ExitStack() as stack:
        inside = [stack.enter_context(lab.connect()) for _ in range(8)]
        for sock in inside:
            sock.sendall(ASK)
            read_answer(sock)
        waiting = [stack.enter_context(lab.connect(timeout=20)) for _ in range(WAITING - 1)]
        for sock in waiting:
            sock.sendall(ASK)
        assert lab.get("/health/ready")[1] == b"ok\n"  # the last place
        beyond = [stack.enter_context(lab.connect(timeout=20)) for _ in range(50)]
        for sock in beyond:
            sock.sendall(ASK)
        wait_hit(lab, "backlog")
        wait_hit(lab, "connections", WAITING)
        for sock in inside:
            sock.close()
        for sock in [*waiting, *beyond]:
            head, body = read_answer(sock)
            assert (status(head), body) == (200, b"repomd")
            sock.close()


def test_who_waits_for_room_does_not_wait_for_one_who_has_a_file_and_does_not_close(
    running: Start,
) -> None:
    lab = running(connections=8, linger_s=1)
    with contextlib.ExitStack() as stack:
        inside = [stack.enter_context(lab.connect()) for _ in range(8)]
        for sock in inside:
            sock.sendall(get("/repo/demo/a.rpm"))
            read_answer(sock)
        waiting = stack.enter_context(lab.connect())
        waiting.sendall(ASK)
        wait_hit(lab, "connections")
        inside[0].sendall(get("/repo/demo/a.rpm"))
        assert header(read_answer(inside[0])[0], "Connection") == "close"
        assert read_answer(waiting)[1] == b"repomd"


def test_a_worker_without_descriptors_rests_and_comes_back(running: Start) -> None:
    lab = running()
    there = len(list(Path(f"/proc/{lab.process.pid}/fd").iterdir()))
    with contextlib.ExitStack() as stack:
        set_descriptors(lab.process.pid, there + 4)
        socks = [stack.enter_context(lab.connect()) for _ in range(20)]
        wait_hit(lab, "descriptors")
        set_descriptors(lab.process.pid, 8192)
        for sock in socks:
            sock.sendall(LAST)
        began = time.monotonic()
        for sock in socks:
            assert read_answer(sock)[1] == b"repomd"
        assert time.monotonic() - began < 2.5
    assert hits(lab, "descriptors") <= 5, "a loop over accept's error"


def set_descriptors(pid: int, count: int) -> None:
    command = ["prlimit", f"--pid={pid}", f"--nofile={count}:8192"]
    subprocess.run(command, check=True, timeout=5)


def test_who_lingers_after_an_error_is_ended(running: Start) -> None:
    lab = running(linger_s=1)
    with lab.connect() as sock:
        sock.sendall(b"GET / HTTP/1.1\r\n\r\n")
        read_answer(sock)
        wait_hit(lab, "linger")
        time.sleep(0.1)
        with pytest.raises(OSError):
            for _ in range(3):
                sock.sendall(b"x" * 100_000)
                time.sleep(0.1)


def test_an_idle_connection_is_counted_when_it_is_ended(running: Start) -> None:
    lab = running(idle_s=1)
    with lab.connect() as sock:
        sock.sendall(ASK)
        read_answer(sock)
        assert sock.recv(1) == b""
    wait_hit(lab, "idle")


def test_control_is_asked_by_so_many_at_one_time_and_not_for_ever(running: Start) -> None:
    lab = running(relays=1, relay_idle_s=1)
    silent = Origin(lambda conn: time.sleep(4), lab.directory / "http.sock")
    with contextlib.closing(silent), lab.connect() as first:
        first.sendall(get("/instances"))
        wait_until("the relay is there", lambda: silent.accepted, 5.0)
        assert status(lab.get("/instances")[0]) == 503
        assert is_closed_without_a_word(first)
    wait_hit(lab, "relays")
    wait_hit(lab, "relay_idle")


def test_files_that_are_not_here_are_asked_for_so_many_at_one_time_and_waited_for(
    running: Start,
) -> None:
    lab = running("a.rpm", "b.rpm", wants=1, fill_start_s=1)
    with lab.connect() as first, lab.connect() as second:
        first.sendall(get("/repo/demo/a.rpm"))
        wait_until("a want", lab.feed.wants, 5.0)
        second.sendall(get("/repo/demo/b.rpm"))
        head, _ = read_answer(first)
        assert (status(head), header(head, "Connection")) == (503, "close")
    wait_hit(lab, "fill_start")
    wait_hit(lab, "wants")


def test_a_fill_that_stands_still_is_reset(running: Start) -> None:
    lab = running("a.rpm", fill_stall_s=1)
    with lab.connect() as sock:
        sock.sendall(get("/repo/demo/a.rpm"))
        wait_until("a want", lab.feed.wants, 5.0)
        growing = lab.directory / "growing"
        growing.write_bytes(FILES["a.rpm"][:100_000])
        told = {"size": 200_000, "mtime": 0, "file": str(growing), "done": False, "error": ""}
        lab.feed.send({"fill": {**lab.feed.wants()[0], "sha256": "", **told}})
        with pytest.raises(ConnectionResetError):
            while sock.recv(65536):
                pass
    wait_hit(lab, "fill_stall")


def test_what_is_not_published_or_not_known_here_is_held_for_a_while(running: Start) -> None:
    lab = running(manifest_hold_s=1, unpublished_hold_s=1)
    head, _ = lab.get(f"/repo/demo/@{'0' * 64}/repodata/repomd.xml")
    assert status(head) == 404
    wait_hit(lab, "manifest_hold")
    lab.feed.show(lab.snapshot(2, listed=frozenset({"soon"})))
    wait_until("the snapshot", lambda: status(lab.get("/repo/demo/a.rpm")[0]) == 404, 5.0)
    assert status(lab.get("/repo/soon/repodata/repomd.xml")[0]) == 503
    wait_hit(lab, "unpublished_hold")


def test_while_control_is_silent_what_depends_on_it_is_held_then_dropped(running: Start) -> None:
    lab = running(stale_s=1, stale_hold_s=1)
    members = (MemberView("A", "127.0.0.11"), MemberView("B", "127.0.0.12"))
    revision = lab.storage.add("demo", FILES)
    view = SourceView(live=Publication(1, 1, revision), revisions=(revision,), key="")
    lab.feed.show(
        lab.snapshot(3, members=members, sources={"demo": view}, listed=frozenset({"demo"}))
    )
    lab.wait_ready()
    lab.feed.is_beating = False
    time.sleep(1.2)
    with lab.connect() as sock:
        sock.sendall(ASK)
        assert is_closed_without_a_word(sock)
    wait_hit(lab, "stale_hold")


def test_each_limit_of_the_proxy_is_counted(proxy: Proxy) -> None:
    target = f"127.0.0.1:{proxy.origin(echo).port}"
    limits = {"tunnels": 2, "tunnels_per_client": 1, "head_s": 1, "linger_s": 1, "answer_s": 1}
    silent = f"127.0.0.1:{proxy.origin(lambda conn: time.sleep(3)).port}"
    proxy.start(snapshot=snapshot(proxy_destinations=(target, silent)), limits=limits)
    eventually(lambda: proxy.status(b"GET /health/ready HTTP/1.1\r\n\r\n") == 200)
    control = proxy.control
    assert control is not None
    # The others first: a client of the proxy that waits for an answer has a tunnel.
    assert proxy.ask(f"GET http://{silent}/ HTTP/1.1\r\n\r\n".encode()).startswith(b"HTTP/1.1 504 ")
    with proxy.connect() as nothing, proxy.connect() as lingering:
        lingering.sendall(b"nonsense\r\n\r\n")
        nothing.settimeout(5)
        assert nothing.recv(1) == b""
        wanted = {"limit_answer", "limit_head", "limit_linger"}
        eventually(lambda: wanted <= control.counters.keys())
    with proxy.tunnel(target), proxy.tunnel(target, source="127.0.0.2"):
        assert proxy.status(connect(target)) == 429
        assert proxy.ask(connect(target), "127.0.0.3").startswith(b"HTTP/1.1 503 ")
        eventually(lambda: {"limit_tunnels_per_client", "limit_tunnels"} <= control.counters.keys())


def test_a_proxy_without_descriptors_rests_and_comes_back(proxy: Proxy) -> None:
    target = f"127.0.0.1:{proxy.origin(echo).port}"
    proxy.start(snapshot=snapshot(proxy_destinations=(target,)))
    eventually(lambda: proxy.status(b"GET /health/ready HTTP/1.1\r\n\r\n") == 200)
    assert proxy.process is not None and proxy.control is not None
    pid, counters = proxy.process.pid, proxy.control.counters
    there = len(list(Path(f"/proc/{pid}/fd").iterdir()))
    with contextlib.ExitStack() as stack:
        set_descriptors(pid, there + 4)
        for _ in range(20):
            stack.enter_context(proxy.connect())
        eventually(lambda: "limit_descriptors" in counters)
        set_descriptors(pid, 8192)
        began = time.monotonic()
        with proxy.tunnel(target, b"x") as sock:
            assert sock.recv(1) == b"x"
        assert time.monotonic() - began < 2.5
    assert counters["limit_descriptors"] <= 5, "a loop over accept's error"
