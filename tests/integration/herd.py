"""Many clients that ask for files at the same moment, in one thread; and a look at a station's memory meanwhile.

Some of them hash what they get. Of the others the kernel drops the bytes unread (MSG_TRUNC): they only count them.
"""

import hashlib
import itertools
import selectors
import socket
import threading
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Self

from tests.integration.lab import descendants, pss_mib

PIECE = 1024 * 1024
SAMPLE_S = 0.25
EVERY_NTH_HASHES = 20


@dataclass
class HerdResult:
    """What the clients got. `slowest_s`: the last of them."""

    statuses: Counter[int] = field(default_factory=Counter)
    whole: int = 0
    sha256s: set[str] = field(default_factory=set)
    slowest_s: float = 0.0


class _Client:
    def __init__(self, sock: socket.socket, is_hashing: bool) -> None:
        self.sock = sock
        self.head = b""
        self.left: int | None = None
        self.status = 0
        self.hasher = hashlib.sha256() if is_hashing else None

    def read(self, buffer: bytearray) -> bool:
        """Take what is there; False at the end."""
        if self.left is None:
            piece = self.sock.recv(1)
            self.head += piece
            if self.head.endswith(b"\r\n\r\n"):
                self.status = int(self.head.split(b" ")[1])
                fields = self.head.decode("latin-1").lower().split("content-length: ")
                self.left = int(fields[1].split("\r\n")[0]) if len(fields) > 1 else 0
            return bool(piece) and self.left != 0
        if self.hasher is None:
            count = self.sock.recv_into(buffer, min(PIECE, self.left), socket.MSG_TRUNC)
        else:
            count = self.sock.recv_into(buffer, min(PIECE, self.left))
            self.hasher.update(memoryview(buffer)[:count])
        self.left -= count
        return bool(count and self.left)


def stampede(
    host: str, paths: Sequence[str], count: int, deadline_s: float, port: int = 17080
) -> HerdResult:
    """`count` clients connect, then all ask, for one path after the other; wait for the last.

    Those that end early are not whole.
    """
    selector = selectors.DefaultSelector()
    clients = []
    for number in range(count):
        sock = socket.create_connection((host, port), timeout=10)
        clients.append(_Client(sock, number % EVERY_NTH_HASHES == 0))
    began = time.monotonic()
    for client, path in zip(clients, itertools.cycle(paths), strict=False):
        client.sock.sendall(f"GET {path} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n".encode())
        client.sock.setblocking(False)
        selector.register(client.sock, selectors.EVENT_READ, client)
    result, buffer, open_count = HerdResult(), bytearray(PIECE), count
    while open_count and time.monotonic() < began + deadline_s:
        for key, _ in selector.select(1.0):
            client = key.data
            try:
                is_open = client.read(buffer)
            except BlockingIOError:
                continue
            except ConnectionError:
                is_open = False
            if not is_open:
                selector.unregister(client.sock)
                open_count -= 1
                result.slowest_s = time.monotonic() - began
    for client in clients:
        client.sock.close()
        result.statuses[client.status] += 1
        result.whole += client.status == 200 and client.left == 0
        if client.hasher and client.left == 0:
            result.sha256s.add(client.hasher.hexdigest())
    selector.close()
    return result


class MemoryWatch(threading.Thread):
    """PSS of all processes of a station (MiB): at the start, and the greatest since. A context manager."""

    def __init__(self, pid: int) -> None:
        super().__init__(name="memory", daemon=True)
        self._pid = pid
        self._stop_asked = threading.Event()
        self.before = self.greatest = self._look()

    @property
    def growth(self) -> float:
        """MiB."""
        return self.greatest - self.before

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop_asked.set()
        self.join()

    def run(self) -> None:
        while not self._stop_asked.wait(SAMPLE_S):
            self.greatest = max(self.greatest, self._look())

    def _look(self) -> float:
        while True:
            try:
                return pss_mib([self._pid, *descendants(self._pid)])
            except (FileNotFoundError, ProcessLookupError):
                continue  # one of them has just ended
