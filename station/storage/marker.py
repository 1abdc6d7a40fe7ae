"""The marker: a storage path is ours only where `station.storage` says so. Without it nothing is written there.

An unmounted path is an empty directory on the root disk; only `init` makes a marker, and only where nothing is.
"""

import contextlib
import json
import os
import secrets
from dataclasses import dataclass

from station.runtime.durable import Differs, make_directory, write_new
from station.storage.errors import StorageError
from station.storage.layout import MARKER, Layout

FORMAT = 1
MARKER_BYTES_MAX = 4096
_TEMP_PREFIX = f".{MARKER}."


@dataclass(frozen=True, slots=True)
class Marker:
    """`storage_id` is this storage for ever, `group_id` the HA group it belongs to."""

    storage_id: str
    group_id: str


def read_marker(layout: Layout) -> Marker | None:
    """The marker, or None when there is none. Raises StorageError (damaged), OSError."""
    try:
        with layout.marker.open("rb") as file:
            content = file.read(MARKER_BYTES_MAX)
    except (FileNotFoundError, NotADirectoryError):
        return None
    try:
        wire = json.loads(content)
        if wire["format"] != FORMAT:
            raise StorageError("foreign", f"format {wire['format']!r} of a newer version")
        return Marker(str(wire["storage_id"]), str(wire["group_id"]))
    except (ValueError, KeyError, TypeError) as error:
        raise StorageError("damaged", f"{layout.marker} is no marker: {error}") from error


def require_marker(layout: Layout, *, group_id: str = "", storage_id: str = "") -> Marker:
    """The marker, if it is the expected one; empty strings expect nothing. Every writer asks first.

    Raises StorageError: missing, foreign, damaged. Raises OSError.
    """
    marker = read_marker(layout)
    if marker is None:
        raise StorageError(
            "missing", f"no {MARKER} in {layout.root}: not mounted, or never initialised"
        )
    if group_id and marker.group_id != group_id:
        raise StorageError("foreign", f"it belongs to group {marker.group_id}, we are {group_id}")
    if storage_id and marker.storage_id != storage_id:
        raise StorageError(
            "foreign", f"another storage is mounted: {marker.storage_id} instead of {storage_id}"
        )
    return marker


def init_storage(layout: Layout, group_id: str, storage_id: str = "") -> Marker:
    """Make an empty directory a storage of this group. One that is already ours is left as it is.

    Raises StorageError: not-empty, foreign, missing (no such directory). Raises OSError.
    """
    if not layout.root.is_dir():
        raise StorageError("missing", f"{layout.root} is not there; make it, or mount it, first")
    marker = read_marker(layout)
    if marker is None:
        others = [name for name in os.listdir(layout.root) if not _may_precede_us(name)]
        if others:
            raise StorageError(
                "not-empty", f"{layout.root} contains {sorted(others)[0]!r} and no {MARKER}"
            )
        wanted = Marker(storage_id or secrets.token_hex(16), group_id)
        text = {"format": FORMAT, "storage_id": wanted.storage_id, "group_id": wanted.group_id}
        temp = layout.root / f"{_TEMP_PREFIX}{secrets.token_hex(16)}"
        with contextlib.suppress(Differs):  # another station was first
            write_new(layout.marker, json.dumps(text).encode() + b"\n", temp=temp)
    marker = require_marker(layout, group_id=group_id, storage_id=storage_id)
    for directory in (layout.pool_directory, layout.sources, layout.staging_directory):
        make_directory(directory, layout.root)
    return marker


def _may_precede_us(name: str) -> bool:
    return name == "lost+found" or name.startswith(_TEMP_PREFIX)
