"""What each means against failing commands is good for: its scenario succeeds with it and fails without it.

Real files workers; the test plays control and the client, to the millisecond.
"""

import os
import signal
import socket
import time
from contextlib import ExitStack
from pathlib import Path

import pytest

from station.model.identity import Revision
from station.model.publication import Publication
from station.model.snapshot import SourceView
from tests.integration.files_lab import FilesLab, boot, read_answer, status

SOURCE = "never"
LIVE = f"/repo/{SOURCE}/"
REPOMD, SIGNATURE = "repodata/repomd.xml", "repodata/repomd.xml.asc"
OLD_PRIMARY = f"repodata/{'a' * 64}-primary.xml.gz"
OLD = {REPOMD: b"old", SIGNATURE: b"old", OLD_PRIMARY: b"old primary"}
NEW = {REPOMD: b"new", SIGNATURE: b"new", f"repodata/{'b' * 64}-primary.xml.gz": b"new primary"}
LIMITS = {"manifest_hold_s": 0.5}


class Pair:
    """Two stations, A and B; the faults are injected into both."""

    def __init__(self, directory: Path, stack: ExitStack) -> None:
        self.labs = []
        for name in ("A", "B"):
            (directory / name).mkdir()
            self.labs.append(stack.enter_context(FilesLab(directory / name, limits=LIMITS)))
        self.a, self.b = self.labs

    def publish_everywhere(self) -> tuple[Revision, Revision]:
        """Both revisions lie on both stations, the old one is live."""
        for lab in self.labs:
            old, new = lab.storage.add(SOURCE, OLD), lab.storage.add(SOURCE, NEW)
            lab.publish(SOURCE, old, new)
        return old, new


def show(
    lab: FilesLab, live: Revision, *others: Revision, then: Revision | None = None, at: float = 0.0
) -> None:
    view = SourceView(
        live=Publication(1, 1, live),
        next=Publication(2, 2, then) if then else None,
        flip_at=at,
        revisions=(live, *others),
    )
    lab.feed.show(lab.snapshot(2, sources={SOURCE: view}, listed=frozenset({SOURCE})))


def sleep_until(instant: float) -> None:
    time.sleep(max(0.0, instant - boot()))


@pytest.mark.parametrize("is_on", [True, False])
def test_hold_keeps_repomd_and_its_signature_together(
    is_on: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A signed baseurl client asks A at T - 20 ms, and B for the signature, at T + 20 ms at the earliest."""
    monkeypatch.setenv("STATION_FAULTS", "" if is_on else "hold-off")
    with ExitStack() as stack:
        pair = Pair(tmp_path, stack)
        old, new = pair.publish_everywhere()
        at = boot() + 1.0
        for lab in pair.labs:
            show(lab, old, new, then=new, at=at)
        sleep_until(at - 0.02)
        repomd = pair.a.get(LIVE + REPOMD)[1]
        sleep_until(at + 0.02)
        signature = pair.b.get(LIVE + SIGNATURE)[1]
    assert (repomd == signature) is is_on, (repomd, signature)


@pytest.mark.parametrize("is_on", [True, False])
def test_hold_is_as_long_as_a_second_request_may_be_cut_off(
    is_on: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A signed baseurl client asks at T - 1.5 s; its second request meets a frozen station, and its next try comes 2 s
    later. (tests/integration/test_frozen_station.py measures how long that takes with haproxy.)"""
    monkeypatch.setenv("STATION_FAULTS", "" if is_on else "hold-off")
    with ExitStack() as stack:
        pair = Pair(tmp_path, stack)
        old, new = pair.publish_everywhere()
        at = boot() + 2.0
        for lab in pair.labs:
            show(lab, old, new, then=new, at=at)
        sleep_until(at - 1.5)
        repomd = pair.a.get(LIVE + REPOMD)[1]
        sleep_until(at + 0.5)
        signature = pair.b.get(LIVE + SIGNATURE)[1]
    assert (repomd == signature) is is_on, (repomd, signature)


@pytest.mark.parametrize("is_on", [True, False])
def test_union_serves_what_a_client_of_the_old_revision_still_asks_for(
    is_on: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STATION_FAULTS", "" if is_on else "union-off")
    with ExitStack() as stack:
        pair = Pair(tmp_path, stack)
        old, new = pair.publish_everywhere()
        assert pair.a.get(LIVE + REPOMD)[1] == b"old"
        for lab in pair.labs:
            lab.publish(SOURCE, new, old)
        head, body = pair.b.get(LIVE + OLD_PRIMARY)
    assert (status(head) == 200 and body == b"old primary") is is_on, head


@pytest.mark.parametrize("is_on", [True, False])
def test_pinned_urls_keep_one_conversation_to_one_revision_while_stations_cannot_agree(
    is_on: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A and B are cut off from each other; B has gone on. Each file is asked of B first, then of A."""
    monkeypatch.setenv("STATION_FAULTS", "" if is_on else "pins-off")
    with ExitStack() as stack:
        pair = Pair(tmp_path, stack)
        pair.a.publish(SOURCE, pair.a.storage.add(SOURCE, OLD))
        pair.b.publish(SOURCE, pair.b.storage.add(SOURCE, NEW))
        urls = pair.a.get(f"/mirrorlist/{SOURCE}")[1].decode().split()
        view = urls[0].partition(":17080")[2]
        answers = []
        for first, name in ((pair.a, REPOMD), (pair.b, SIGNATURE)):
            head, body = first.get(view + name)
            if status(head) != 200:  # the next mirror of the list
                head, body = pair.a.get(view + name)
            assert status(head) == 200
            answers.append(body)
    assert (answers[0] == answers[1]) is is_on, answers


@pytest.mark.parametrize("is_on", [True, False])
def test_thawed_station_does_not_answer_from_the_past(
    is_on: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A request waits in the socket of a station that is stopped, control and workers alike, over a flip."""
    monkeypatch.setenv("STATION_FAULTS", "" if is_on else "freshness-off")
    with ExitStack() as stack:
        pair = Pair(tmp_path, stack)
        old, new = pair.publish_everywhere()
        frozen = pair.a
        with frozen.connect(timeout=15) as sock:
            frozen.feed.is_beating = False
            os.kill(frozen.process.pid, signal.SIGSTOP)
            try:
                send(sock, LIVE + REPOMD)
                pair.b.publish(SOURCE, new, old)  # the group goes on
                time.sleep(2.5)
            finally:
                os.kill(frozen.process.pid, signal.SIGCONT)
            time.sleep(0.5)  # until control has asked the others what is true now
            frozen.feed.is_beating = True
            show(frozen, new, old)
            body = read_answer(sock)[1]
    assert body == (b"new" if is_on else b"old")


def send(sock: socket.socket, path: str) -> None:
    sock.sendall(f"GET {path} HTTP/1.1\r\nHost: h\r\n\r\n".encode())
