"""Durable writes: temp → write → fsync → link to the final name → fsync the directory. Nothing is ever replaced.

A file that is there under its final name is whole and was made durable before it got the name. A failed fsync is
final for its file: the kernel may have dropped the pages and say yes the next time.

Each step passes a named failpoint. STATION_FAILPOINT=name[:kill|sleep|eio][@N] arms one (the N-th time it is passed;
default kill, first time); tests end the process, or the disk, at each of them.
"""

import errno
import os
import signal
import time
from pathlib import Path

COMPARE_BYTES = 1024 * 1024
SLEEP_S = 3600.0  # as good as a hung mount: longer than any deadline


class FsyncFailed(OSError):
    """The bytes may be lost. The temporary file is gone and nothing has the final name: make it anew."""


class Differs(OSError):
    """Other content has the final name. It was left as it is, and the temporary file too."""

    def __init__(self, final: Path) -> None:
        super().__init__(errno.EEXIST, "other content has this name", str(final))
        self.final = final


class _Armed:
    """The one failpoint of this process that is armed."""

    def __init__(self, spec: str) -> None:
        spec, _, count = spec.partition("@")
        self.name, _, action = spec.partition(":")
        self.action = action or "kill"
        self.left = int(count or "1")
        if self.action not in ("kill", "sleep", "eio"):
            raise ValueError(f"STATION_FAILPOINT: {self.action!r}: one of kill, sleep, eio")


_armed = _Armed(os.environ.get("STATION_FAILPOINT", ""))


def failpoint(name: str) -> None:
    """A place where tests let the process die, hang, or its disk fail. Raises OSError (EIO) when armed so."""
    if name != _armed.name:
        return
    _armed.left -= 1
    if _armed.left != 0:
        return
    match _armed.action:
        case "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        case "sleep":
            time.sleep(SLEEP_S)
        case _:
            raise OSError(errno.EIO, f"failpoint {name}")


def make_directory(path: Path, root: Path) -> None:
    """`path` and what is missing of its parents below `root`, each durable. `root` itself must exist.

    Raises FileNotFoundError when `root` is gone: an unmounted storage path is never filled from above.
    """
    if path.is_dir():
        return
    if path == root:
        raise FileNotFoundError(errno.ENOENT, "not there; it is never created here", str(root))
    make_directory(path.parent, root)
    failpoint("durable.mkdir")
    try:
        path.mkdir()
    except FileExistsError:
        return
    sync_directory(path.parent)


def sync_directory(path: Path) -> None:
    """Make the names in this directory durable. Raises FsyncFailed."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        failpoint("durable.fsync_directory")
        os.fsync(fd)
    except OSError as error:
        raise FsyncFailed(
            error.errno, f"fsync of directory: {error.strerror}", str(path)
        ) from error
    finally:
        os.close(fd)


def sync_file(path: Path) -> None:
    """Make the bytes of a finished temporary file durable. On failure it is removed; raises FsyncFailed."""
    fd = os.open(path, os.O_RDONLY)
    try:
        _fsync(fd, path)
    except FsyncFailed:
        path.unlink(missing_ok=True)
        raise
    finally:
        os.close(fd)


def _fsync(fd: int, path: Path) -> None:
    try:
        failpoint("durable.fsync")
        os.fsync(fd)
    except OSError as error:
        raise FsyncFailed(error.errno, f"fsync: {error.strerror}", str(path)) from error


def place(temp: Path, final: Path, *, settle: bool = True, is_synced: bool = False) -> bool:
    """Give a finished temporary file its final name. True: made; False: the same content was there already.

    With `settle` False the caller fsyncs the final directory later (many files, one fsync) before it relies on them;
    `is_synced` True: the bytes are durable already.
    Afterwards the temporary name is gone. Raises Differs, FsyncFailed, OSError; the final name is then as before.
    """
    if not is_synced:
        sync_file(temp)
    failpoint("durable.before_link")
    made = True
    try:
        os.link(temp, final)
    except FileExistsError:
        # A retransmitted request may say EEXIST for our own success: the content decides.
        if not has_same_content(temp, final):
            raise Differs(final) from None
        made = False
    failpoint("durable.after_link")
    if settle:
        sync_directory(final.parent)
    failpoint("durable.before_unlink")
    temp.unlink(missing_ok=True)
    failpoint("durable.done")
    return made


def write_new(final: Path, content: bytes, *, temp: Path) -> bool:
    """A whole small file under `final`, by way of `temp` (same file system). True: made; False: it was there.

    Raises Differs, FsyncFailed, OSError. A leftover `temp` of a process that died is overwritten: its name belongs
    to the caller alone.
    """
    failpoint("durable.before_write")
    temp.unlink(missing_ok=True)
    write_temp(temp, content)
    try:
        return place(temp, final, is_synced=True)
    except OSError:
        temp.unlink(missing_ok=True)
        raise


def write_temp(temp: Path, content: bytes, mode: int = 0o644) -> None:
    """The bytes in a new file, durable (its name is not). Raises FsyncFailed, OSError; nothing is then left of it."""
    fd = os.open(temp, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    try:
        view = memoryview(content)
        while view:
            failpoint("durable.write")
            view = view[os.write(fd, view) :]
        failpoint("durable.after_write")
        _fsync(fd, temp)
    except OSError:
        temp.unlink(missing_ok=True)
        raise
    finally:
        os.close(fd)


def has_same_content(one: Path, other: Path) -> bool:
    """Whether both files have the same bytes. Raises OSError."""
    with one.open("rb") as left, other.open("rb") as right:
        if os.path.sameopenfile(left.fileno(), right.fileno()):
            return True
        if os.fstat(left.fileno()).st_size != os.fstat(right.fileno()).st_size:
            return False
        while piece := left.read(COMPARE_BYTES):
            if piece != right.read(COMPARE_BYTES):
                return False
    return True


def move_away(path: Path, place_away: Path) -> None:
    """Rename `path` to a name that nobody uses. The one rename below the storage path: it takes away, never puts.

    Raises OSError; FileExistsError when the name is in use after all.
    """
    if place_away.exists():
        raise FileExistsError(errno.EEXIST, "in use", str(place_away))
    failpoint("durable.before_move")
    os.rename(path, place_away)
    failpoint("durable.after_move")


def replace_local(path: Path, content: bytes, mode: int = 0o600) -> None:
    """A whole small file in the *local state directory*, old or new after a crash. Never below the storage path.

    Raises FsyncFailed, OSError; the old file is then untouched.
    """
    temp = path.with_name(f".{path.name}.{os.getpid()}.new")
    temp.unlink(missing_ok=True)
    write_temp(temp, content, mode)
    try:
        os.replace(temp, path)
    except OSError:
        temp.unlink(missing_ok=True)
        raise
    sync_directory(path.parent)
