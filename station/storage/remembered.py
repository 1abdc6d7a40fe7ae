"""The id of the storage that belongs to this station, on its own disk: another one in its place is noticed."""

from contextlib import suppress
from pathlib import Path

from station.runtime.durable import replace_local

FILE_NAME = "storage-id"
_LENGTH_MAX = 200


def remembered_storage(state_directory: Path) -> str:
    """The id, empty when none was seen yet. Raises OSError when that cannot be told."""
    with suppress(FileNotFoundError):
        return (state_directory / FILE_NAME).read_text(encoding="ascii").strip()[:_LENGTH_MAX]
    return ""


def remember_storage(state_directory: Path, storage_id: str) -> None:
    """From now on this storage belongs here. Durable when this returns. Raises OSError."""
    replace_local(state_directory / FILE_NAME, storage_id.encode("ascii") + b"\n", 0o644)
