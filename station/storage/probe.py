"""The probe: does the storage path do what everything here relies on? It names the property that is missing."""

import errno
import os
import secrets
from dataclasses import dataclass
from pathlib import Path

from station.model.states import StorageState
from station.runtime.durable import failpoint, make_directory
from station.storage.errors import StorageError, from_os_error
from station.storage.layout import Layout
from station.storage.marker import require_marker
from station.storage.space import measure_space

_STATES = {state.value: state for state in StorageState}


@dataclass(frozen=True, slots=True)
class ProbeResult:
    """What the storage is able to do now; figures in bytes, 0 while it is missing."""

    state: StorageState
    detail: str = ""
    storage_id: str = ""
    capacity: int = 0
    free: int = 0


def probe_storage(
    layout: Layout,
    station: str,
    *,
    group_id: str = "",
    storage_id: str = "",
    is_writing: bool = True,
) -> ProbeResult:
    """Read the marker, measure and, if `is_writing`, write, link and fsync one small file.

    Never raises for what a storage does: that is the result.
    """
    marker_id, capacity, free = "", 0, 0
    try:
        failpoint("probe")
        marker_id = require_marker(layout, group_id=group_id, storage_id=storage_id).storage_id
        space = measure_space(layout.root)
        capacity, free = space.capacity, space.free
        if space.is_read_only:
            raise StorageError("read-only", "mounted read-only")
        if is_writing:
            _try_writing(layout, station)
        if space.is_full:
            detail = f"{free} bytes free, {space.floor} stay free"
            return ProbeResult(StorageState.FULL, detail, marker_id, capacity, free)
    except StorageError as error:
        return ProbeResult(_state(error.code), error.detail, marker_id, capacity, free)
    except OSError as error:
        told = from_os_error(error)
        detail = told.detail + (_whose(error, layout.root) if told.code == "denied" else "")
        return ProbeResult(_state(told.code), detail, marker_id, capacity, free)
    return ProbeResult(StorageState.READY, "", marker_id, capacity, free)


def _whose(error: OSError, root: Path) -> str:
    """Stations that share a storage must run as one user: who we are, and to whom belongs what refused us."""
    path = Path(os.fsdecode(error.filename)) if error.filename else root
    while not os.path.lexists(path) and path != path.parent:
        path = path.parent
    try:
        owner = str(path.stat().st_uid)
    except OSError:
        owner = "somebody whom we may not know"
    return f": {path} belongs to uid {owner}, this station runs as uid {os.geteuid()}"


def _state(code: str) -> StorageState:
    # A damaged marker is not ours to write on; a disk with I/O errors is read as long as it answers.
    return _STATES.get(code, StorageState.FOREIGN if code == "damaged" else StorageState.READ_ONLY)


def _try_writing(layout: Layout, station: str) -> None:
    for directory in (layout.partial(station), layout.pool_directory, layout.sources):
        make_directory(directory, layout.root)
    name = f"Probe-{secrets.token_hex(8)}"
    temp = layout.partial(station) / name
    linked = layout.pool_directory / f".{name}"  # across directories, as every object is
    try:
        _write(temp)
        if temp.with_name(name.lower()).exists():
            raise StorageError("denied", "the file system does not tell upper from lower case")
        _link(temp, linked)
        _sync_directory(layout.pool_directory)
    finally:
        for path in (linked, temp):
            path.unlink(missing_ok=True)


def _write(temp: Path) -> None:
    fd = os.open(temp, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
    try:
        os.write(fd, b"probe")
        os.fsync(fd)
        owner = os.fstat(fd).st_uid
    finally:
        os.close(fd)
    if owner != os.geteuid():
        raise StorageError(
            "denied",
            f"files made by uid {os.geteuid()} belong to uid {owner}: root_squash, or a mapped user",
        )


def _link(temp: Path, linked: Path) -> None:
    try:
        os.link(temp, linked)
    except OSError as error:
        if error.errno == errno.EXDEV:
            raise StorageError(
                "denied", "staging and pool are on different file systems"
            ) from error
        if error.errno in (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK):
            raise StorageError("denied", "the file system has no hard links") from error
        raise
    if os.stat(linked).st_nlink != 2:
        raise StorageError("denied", "the file system does not count hard links")


def _sync_directory(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    except OSError as error:
        if error.errno in (errno.EINVAL, errno.EOPNOTSUPP, errno.ENOSYS):
            raise StorageError("denied", "the file system cannot fsync a directory") from error
        raise
    finally:
        os.close(fd)
