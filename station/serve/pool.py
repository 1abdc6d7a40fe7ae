"""Opens objects of the pool by their sha256, and keeps small ones in memory: bytes named by a hash never change."""

import errno
import os
from collections import OrderedDict
from collections.abc import Callable
from functools import partial
from pathlib import Path

from station.runtime.lines import line
from station.storage.layout import Layout

_READ = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW
STALE_TRIES = 3  # a network file system may know a name by a handle that its server forgot: looked up anew, it is there


class ObjectMissing(Exception):
    """The pool has no such object, or one of another size: it has to be filled."""


class Pool:
    """Reads only. `hits` and `misses` count what was and was not in memory."""

    def __init__(self, layout: Layout, *, small_bytes: int, cache_bytes: int) -> None:
        self.small_bytes = small_bytes
        self.hits = 0
        self.misses = 0
        self._layout = layout
        self._bodies: OrderedDict[str, bytes] = OrderedDict()
        self._room = cache_bytes

    def body(self, sha256: str, size: int) -> bytes:
        """All of a small object. Raises ObjectMissing, OSError when the storage fails."""
        body = self._bodies.get(sha256)
        if body is not None:
            self._bodies.move_to_end(sha256)
            self.hits += 1
            return body
        self.misses += 1
        fd = self.open(sha256, size)
        try:
            body = os.pread(fd, size, 0) if size else b""
        finally:
            os.close(fd)
        if len(body) != size:
            raise OSError(f"object {sha256} is cut short")
        self._keep(sha256, body)
        return body

    def open(self, sha256: str, size: int | None) -> int:
        """A descriptor of an object, for the caller to close. Raises ObjectMissing, OSError when the storage fails."""
        try:
            fd = _open(self._layout.pool(sha256))
        except (FileNotFoundError, NotADirectoryError) as error:
            raise ObjectMissing(sha256) from error
        found = os.fstat(fd).st_size
        if size is not None and found != size:
            os.close(fd)
            line("error", "pool.wrong_size", sha256=sha256, size=size, found=found)
            raise ObjectMissing(sha256)
        return fd

    def opener(self, sha256: str) -> Callable[[], int]:
        """Opens an object whose size `open` has just found right, as often as it is called. That raises OSError."""
        return partial(_open, str(self._layout.pool(sha256)))

    def size(self, sha256: str) -> int:
        """The size of an object in bytes. Raises ObjectMissing, OSError."""
        fd = self.open(sha256, None)
        try:
            return os.fstat(fd).st_size
        finally:
            os.close(fd)

    def _keep(self, sha256: str, body: bytes) -> None:
        self._bodies[sha256] = body
        self._room -= len(body)
        while self._room < 0:
            self._room += len(self._bodies.popitem(last=False)[1])


def _open(path: Path | str) -> int:
    for _ in range(STALE_TRIES - 1):
        try:
            return os.open(path, _READ)
        except OSError as error:
            if error.errno != errno.ESTALE:
                raise
    return os.open(path, _READ)
