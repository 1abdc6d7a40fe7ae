"""What is sent at once to a client depends on who decides when its segments leave."""

import os
import socket
from pathlib import Path

import pytest

from station.serve.pacing import FILE_STEP_BYTES, is_paced
from station.serve.transfer import STEP_BYTES, FileTransfer, Progress

LOOPBACK_SEGMENT_BYTES = 65_483


class KernelWithBbr(socket.socket):
    """Not every kernel has bbr; this is what one says that has."""

    def getsockopt(self, *_: int) -> bytes:  # type: ignore[override]
        return b"bbr".ljust(16, b"\0")


def test_bbr_paces() -> None:
    with KernelWithBbr() as listener:
        assert is_paced(listener)


def test_reno_does_not_pace() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, b"reno")
        assert not is_paced(listener)


def test_a_unix_socket_is_not_paced(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "a.sock"))
        assert not is_paced(listener)


def test_a_paced_step_does_not_end_in_a_runt() -> None:
    assert FILE_STEP_BYTES % LOOPBACK_SEGMENT_BYTES > LOOPBACK_SEGMENT_BYTES / 2


@pytest.mark.parametrize("most", [FILE_STEP_BYTES, STEP_BYTES])
def test_no_step_sends_more_than_it_may(tmp_path: Path, most: int) -> None:
    path = tmp_path / "file"
    path.write_bytes(os.urandom(3 * most))
    ours, theirs = socket.socketpair()
    for end in (ours, theirs):
        end.setblocking(False)
    transfer = FileTransfer(b"head", os.open(path, os.O_RDONLY), 0, 3 * most, most)
    got = bytearray()
    progress = Progress.MORE
    while progress is Progress.MORE:
        before = transfer.sent
        try:
            progress = transfer.step(ours)
        except BlockingIOError:
            assert transfer.sent == before
        assert transfer.sent - before <= most + len(b"head")
        while len(got) < transfer.sent:
            got += theirs.recv(most)
    transfer.close()
    ours.close()
    theirs.close()
    assert bytes(got) == b"head" + path.read_bytes()
