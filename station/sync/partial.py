"""One object on its way: a growing file in staging, hashed as it is written, and resumed after a crash.

The bytes that are already there are hashed again when a download resumes: nothing that a crash left is believed.
"""

import errno
import hashlib
import os
from pathlib import Path

from station.sync.failure import SyncFailed

RESUME_BYTES_MIN = 256 * 1024  # below, asking for the rest costs more than fetching it again
READ_BYTES = 1024 * 1024  # hashing is fastest in pieces of this size
VALIDATOR_BYTES_MAX = 512  # an ETag; longer ones are not kept


class TooLong(Exception):
    """More bytes than the metadata says; nothing beyond size + 1 was read."""


class Partial:
    """The file at `path`, wanted to become `size` bytes with this sha256. Not shared between processes."""

    def __init__(self, path: Path, sha256: str, size: int) -> None:
        self.path = path
        self.sha256 = sha256
        self.size = size
        self.received = 0  # bytes written and hashed
        self.validator = ""  # ETag under which the bytes so far were sent
        self._hash = hashlib.sha256()
        self._sidecar = path.with_name(path.name + ".etag")
        self._fd = -1

    def open(self, *, resume: bool) -> None:
        """Create the file, or continue the one that is there. Raises OSError."""
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        if not resume:
            # A new inode: whoever still has the old one open cannot change what we hash.
            self.path.unlink(missing_ok=True)
            self._sidecar.unlink(missing_ok=True)
            flags |= os.O_EXCL
        self._fd = os.open(self.path, flags, 0o644)
        length = os.fstat(self._fd).st_size
        if not length:
            return
        if (length < RESUME_BYTES_MIN and length < self.size) or length > self.size:
            self.restart()
            return
        while piece := os.read(self._fd, READ_BYTES):
            self._hash.update(piece)
            self.received += len(piece)
        try:
            self.validator = self._sidecar.read_text()[:VALIDATOR_BYTES_MAX]
        except (OSError, ValueError):
            self.validator = ""

    def restart(self) -> None:
        """Forget what is there. Raises OSError."""
        os.ftruncate(self._fd, 0)
        os.lseek(self._fd, 0, os.SEEK_SET)
        self._hash = hashlib.sha256()
        self.received = 0
        self.validator = ""

    def keep_validator(self, etag: str) -> None:
        """Remember under which strong ETag the bytes come, for If-Range after a crash. Large objects only."""
        self.validator = etag
        if self.size >= RESUME_BYTES_MIN and etag and len(etag) <= VALIDATOR_BYTES_MAX:
            self._sidecar.write_text(etag)

    def write(self, piece: bytes) -> None:
        """Append. Raises TooLong at size + 1 bytes, OSError."""
        self.received += len(piece)
        if self.received > self.size:
            raise TooLong
        self._hash.update(piece)
        view = memoryview(piece)
        while view:
            view = view[os.write(self._fd, view) :]

    def is_right(self) -> bool:
        """Whether all bytes are there and are the right ones."""
        return self.received == self.size and self._hash.hexdigest() == self.sha256

    def digest(self) -> str:
        """The sha256 of what is there."""
        return self._hash.hexdigest()

    def sync(self) -> None:
        """fsync. A failure is final: the bytes may be lost although a second fsync would succeed. Raises OSError."""
        os.fsync(self._fd)

    def close(self) -> None:
        """Close; the file stays."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def discard(self) -> None:
        """Close and remove."""
        self.close()
        self.path.unlink(missing_ok=True)
        self._sidecar.unlink(missing_ok=True)


def storage_failure(error: OSError, what: str) -> SyncFailed:
    """The failure that an error of the storage means."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return SyncFailed(
            "no-space",
            f"{what}: {os.strerror(error.errno)}: free space or inodes on the storage path",
            retriable=True,
        )
    return SyncFailed("storage", f"{what}: {error.strerror or error}", retriable=True)
