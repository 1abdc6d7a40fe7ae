"""One object on its way: a growing file in staging, hashed as it is written, and resumed after a crash.

The bytes that are already there are hashed again when a download resumes: nothing that a crash left is believed.
"""

import contextlib
import errno
import itertools
import os
from collections.abc import Iterator
from pathlib import Path

from station.repo.checksum import Checksum, VerifyingHasher
from station.repo.errors import RepoError
from station.sync.failure import SyncFailed

RESUME_BYTES_MIN = 256 * 1024  # below, asking for the rest costs more than fetching it again
READ_BYTES = 1024 * 1024  # hashing is fastest in pieces of this size
VALIDATOR_CHARS_MAX = 512  # an ETag; a longer one is not kept
UNKNOWN_BYTES_MAX = 1024**3  # a metadata file of which repomd.xml does not say the size

_numbers = itertools.count()


def name_of_sync(source: str, digits: str) -> str:
    """The name of a partial that a later run of this source goes on with. `digits`: its checksum, or a pattern."""
    return f"object-{source}~{digits[:64]}"


def name_of_fill(digits: str) -> str:
    """The name of a partial of this process alone, also where a sync is fetching the same object at this moment.

    Two that wrote into one file would go on writing when the first has given it its name in the pool.
    """
    return f"fill-{os.getpid()}-{next(_numbers)}~{digits[:64]}"


class Partial:
    """The file at `path`, wanted to have this checksum and `size` bytes. Written by one process only."""

    def __init__(self, path: Path, checksum: Checksum, size: int | None) -> None:
        self.path = path
        self.checksum = checksum
        self.size = size
        self.validator = ""  # ETag under which the bytes so far were sent
        self._hasher = self._new_hasher()
        self._sidecar = path.with_name(path.name + ".etag")
        self._fd = -1

    @property
    def received(self) -> int:
        """Bytes written and hashed."""
        return self._hasher.size

    @property
    def limit(self) -> int:
        """The most bytes it can have."""
        return UNKNOWN_BYTES_MAX if self.size is None else self.size

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
        if length > self.limit or (length < RESUME_BYTES_MIN and length != self.size):
            self.restart()
            return
        while piece := os.read(self._fd, READ_BYTES):
            self._hasher.update(piece)
        try:
            self.validator = self._sidecar.read_text()[:VALIDATOR_CHARS_MAX]
        except (OSError, ValueError):
            self.validator = ""

    @property
    def position(self) -> int:
        """Where the next piece of the answer that is being read belongs."""
        return self.received

    def begin(self, at: int) -> None:
        """The next answer brings the bytes from `at` on: from 0, or from where we are. Raises OSError."""
        assert at in (0, self.received)
        if at == 0 and self.received:
            self.restart()

    def restart(self) -> None:
        """Forget what is there. Raises OSError."""
        os.ftruncate(self._fd, 0)
        os.lseek(self._fd, 0, os.SEEK_SET)
        self._hasher = self._new_hasher()
        self.validator = ""

    def keep_validator(self, etag: str) -> None:
        """Remember under which strong ETag the bytes come, for If-Range after a crash. Raises OSError."""
        self.validator = etag if len(etag) <= VALIDATOR_CHARS_MAX else ""
        if self.validator and self.limit >= RESUME_BYTES_MIN:
            self._sidecar.write_text(self.validator)

    def write(self, piece: bytes) -> None:
        """Append. Raises RepoError when there are more bytes than announced or allowed, OSError."""
        self._hasher.update(piece)
        if self.received > self.limit:
            raise RepoError("size", self.received, f"at most {self.limit} bytes")
        view = memoryview(piece)
        while view:
            view = view[os.write(self._fd, view) :]

    def finish(self) -> str:
        """The sha256 of the whole. Raises RepoError when size or checksum are not the announced ones."""
        return self._hasher.finish()

    def close(self) -> None:
        """Close; the file stays."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def forget_validator(self) -> None:
        """Remove what only a download under way needs."""
        self._sidecar.unlink(missing_ok=True)

    def discard(self) -> None:
        """Close and remove."""
        self.close()
        self.path.unlink(missing_ok=True)
        self.forget_validator()

    def _new_hasher(self) -> VerifyingHasher:
        return VerifyingHasher(self.checksum, self.size, self.path.name)


class Growing(Partial):
    """A file that others send from while it grows: what is written stays.

    When a download has to begin anew, its bytes are compared with those that are there instead of replacing them.
    """

    def __init__(self, path: Path, checksum: Checksum, size: int) -> None:
        super().__init__(path, checksum, size)
        self._replayed: int | None = None  # bytes compared so far; None: at the end of the file

    @property
    def position(self) -> int:
        return self.received if self._replayed is None else self._replayed

    def begin(self, at: int) -> None:
        self._replayed = 0 if at < self.received else None

    def restart(self) -> None:
        """Not needed: `begin` compares."""

    def write(self, piece: bytes) -> None:
        """Append, or compare. Raises RepoError also when the bytes differ from those sent before."""
        if self._replayed is not None:
            known = piece[: self.received - self._replayed]
            if os.pread(self._fd, len(known), self._replayed) != known:
                raise RepoError(self.path.name, "other bytes", "the bytes that were sent before")
            self._replayed += len(known)
            piece = piece[len(known) :]
            if self._replayed == self.received:
                self._replayed = None
        if piece:
            super().write(piece)


def storage_failure(error: OSError) -> SyncFailed:
    """The failure that an error of the storage means."""
    where = error.filename or "storage path"
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return SyncFailed(
            "no-space",
            f"{where}: {os.strerror(error.errno)}: free space or inodes on the storage path",
            retriable=True,
        )
    return SyncFailed("storage", f"{where}: {error.strerror or error}", retriable=True)


@contextlib.contextmanager
def writing() -> Iterator[None]:
    """What the storage does not let happen in here is a SyncFailed "no-space" or "storage"."""
    try:
        yield
    except OSError as error:
        raise storage_failure(error) from error
