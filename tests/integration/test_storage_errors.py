"""What clients see of a file system's errors, and of a collector at work: a whole answer or a broken connection."""

import hashlib
import os
import shutil
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from station.storage.collect import Collector, CollectPolicy
from tests.integration.files_lab import FilesLab, boot, read_answer, status

SOURCE = "s"
SMALL, LARGE = os.urandom(20_000), os.urandom(20_000_000)
FILES = {"repodata/repomd.xml": b"repomd", "small.rpm": SMALL, "large.rpm": LARGE}
READERS = 100

needs_strace = pytest.mark.skipif(not shutil.which("strace"), reason="strace")


@contextmanager
def failing(tmp_path: Path, content: bytes, *injected: str) -> Iterator[FilesLab]:
    """A worker whose system calls about one object of the pool fail as told (man strace, inject=)."""
    sha256 = hashlib.sha256(content).hexdigest()
    path = tmp_path / "storage/pool" / sha256[:2] / sha256
    words = [word for each in injected for word in ("-e", f"inject={each}")]
    command = ("strace", "-D", "-f", "-o", str(tmp_path / "strace.log"), "-P", str(path), *words)
    with FilesLab(tmp_path, command=command) as lab:
        lab.publish(SOURCE, lab.storage.add(SOURCE, FILES))
        yield lab


@needs_strace
@pytest.mark.parametrize("name", ["small.rpm", "large.rpm"])
def test_a_stale_handle_is_looked_up_again_and_the_answer_is_whole(
    name: str, tmp_path: Path
) -> None:
    with failing(tmp_path, FILES[name], "openat:error=ESTALE:when=1..2") as lab:
        head, body = lab.get(f"/repo/{SOURCE}/{name}")
        assert (status(head), body) == (200, FILES[name])


@needs_strace
@pytest.mark.parametrize(
    "injected",
    ["openat:error=EIO", "openat:error=ESTALE", "pread64:error=EIO"],
)
def test_an_object_that_cannot_be_read_ends_the_connection_without_an_answer(
    injected: str, tmp_path: Path
) -> None:
    with failing(tmp_path, SMALL, injected) as lab:
        with pytest.raises((EOFError, ConnectionResetError)):
            lab.get(f"/repo/{SOURCE}/small.rpm")
        assert status(lab.get(f"/repo/{SOURCE}/large.rpm")[0]) == 200, "others are served"


@needs_strace
def test_a_disk_that_fails_in_the_middle_of_a_file_breaks_the_connection_there(
    tmp_path: Path,
) -> None:
    with failing(tmp_path, LARGE, "sendfile:error=EIO:when=4+") as lab, lab.connect() as sock:
        sock.sendall(f"GET /repo/{SOURCE}/large.rpm HTTP/1.1\r\nHost: h\r\n\r\n".encode())
        received = bytearray()
        with pytest.raises(ConnectionResetError):
            while piece := sock.recv(65536):
                received += piece
            raise AssertionError(f"ended in order after {len(received)} bytes")
        body = bytes(received).partition(b"\r\n\r\n")[2]
        assert body and LARGE.startswith(body) and len(body) < len(LARGE)


def test_readers_of_what_the_collector_removes_end_whole(tmp_path: Path) -> None:
    with FilesLab(tmp_path) as lab:
        old = lab.storage.add(SOURCE, FILES)
        new = lab.storage.add(SOURCE, {"repodata/repomd.xml": b"new", "small.rpm": SMALL})
        lab.publish(SOURCE, new, old)
        readers = [reader(lab) for _ in range(READERS)]
        try:
            layout = lab.storage.layout
            large = layout.pool(hashlib.sha256(LARGE).hexdigest())
            shutil.rmtree(layout.revision(SOURCE, old))
            for directory in (tmp_path / "state", layout.staging_directory):
                directory.mkdir()
            collector = Collector(layout, "A", tmp_path / "state", "storage-1", boot)
            for _ in range(3):  # seen, waited for, judged
                for _ in collector.collect(CollectPolicy(0.0, 0.0, {}, {}, False)):
                    pass
            assert not large.exists()
            kept = layout.pool(hashlib.sha256(SMALL).hexdigest())
            assert kept.exists(), "the live revision names it"
            assert all_read(readers) == {hashlib.sha256(LARGE).hexdigest()}
        finally:
            for sock in readers:
                sock.close()


def reader(lab: FilesLab) -> socket.socket:
    """Asked, and reading slowly: 20 MB are more than two sockets hold."""
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 * 1024)
    sock.settimeout(30)
    sock.connect(("127.0.0.1", lab.http))
    sock.sendall(f"GET /repo/{SOURCE}/large.rpm HTTP/1.1\r\nHost: h\r\n\r\n".encode())
    assert sock.recv(1, socket.MSG_PEEK)
    return sock


def all_read(readers: list[socket.socket]) -> set[str]:
    return {hashlib.sha256(read_answer(sock)[1]).hexdigest() for sock in readers}
