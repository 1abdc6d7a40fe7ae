"""The trash: what the collector took away, until it has looked once more whether somebody names it."""

import contextlib
import os
import secrets
from collections.abc import Iterator
from pathlib import Path

from station.runtime.durable import failpoint, make_directory, move_away, sync_directory
from station.storage.layout import Layout
from station.storage.revisions import Revisions
from station.storage.roots import Roots, gather_roots

_HEX = frozenset("0123456789abcdef")


def take_object(layout: Layout, station: str, sha256: str) -> bool:
    """Rename an object into our trash. False: somebody else did. Raises OSError."""
    trash = layout.trash(station)
    make_directory(trash, layout.staging_directory)
    try:
        move_away(layout.pool(sha256), trash / sha256)
    except FileExistsError:
        # Taken before and judged by nobody yet: the one in the pool is a second copy.
        layout.pool(sha256).unlink(missing_ok=True)
    except FileNotFoundError:
        return False
    return True


def take_directory(layout: Layout, station: str, directory: Path, label: str) -> Path | None:
    """Rename a directory into our trash; where it is now. None: somebody else did. Raises OSError."""
    trash = layout.trash(station)
    make_directory(trash, layout.staging_directory)
    taken = trash / f"{label}-{secrets.token_hex(8)}"
    try:
        move_away(directory, taken)
    except FileNotFoundError:
        return None
    return taken


def judge_trash(
    layout: Layout, station: str, revisions: Revisions
) -> Iterator[tuple[int, int, int]]:
    """Link back the objects that a manifest or an intent names, remove the rest, in every station's trash (its owner
    may be gone). Of our own trash also remove purged sources and damaged files.

    Yields now and then (removed, bytes removed, linked back) so far. Raises StorageError, OSError.
    """
    taken = sorted(_objects(layout), key=lambda path: path.name)  # before looking at who names them
    removed = freed = back = 0
    if taken:
        roots = Roots()
        for _ in gather_roots(layout, revisions, roots):
            yield removed, freed, back
        for path in taken:
            if roots.has(path.name):
                _link_back(layout, path)
                back += 1
            else:
                failpoint("trash.before_unlink")
                with contextlib.suppress(FileNotFoundError):
                    freed += path.stat().st_size
                    path.unlink()
                    removed += 1
            yield removed, freed, back
    for path in trash_entries(layout.trash(station)):
        if path.name.startswith(("source-", "damaged-")):
            remove_tree(path)
            yield removed, freed, back


def remove_tree(path: Path) -> None:
    """A directory or file that lies in the trash, whoever else is at it. Links are not followed. Raises OSError."""
    for directory, below, files in os.walk(path, topdown=False):
        for name in files:
            Path(directory, name).unlink(missing_ok=True)
        for name in below:
            _remove_directory(Path(directory, name))
    _remove_directory(path)


def _remove_directory(path: Path) -> None:
    with contextlib.suppress(FileNotFoundError):
        if path.is_dir() and not path.is_symlink():
            path.rmdir()
        else:
            path.unlink()


def _link_back(layout: Layout, path: Path) -> None:
    final = layout.pool(path.name)
    make_directory(final.parent, layout.pool_directory)
    failpoint("trash.before_link_back")
    try:
        with contextlib.suppress(FileExistsError):  # a writer has made it anew
            os.link(path, final)
    except FileNotFoundError:
        return  # another collector has judged it
    sync_directory(final.parent)
    path.unlink(missing_ok=True)


def trash_entries(trash: Path) -> list[Path]:
    """What lies in one station's trash, sorted by name. Raises OSError."""
    return [trash / name for name in _names(trash)]


def _objects(layout: Layout) -> Iterator[Path]:
    for station in _names(layout.staging_directory):
        for path in trash_entries(layout.staging_directory / station / "trash"):
            if len(path.name) == 64 and _HEX.issuperset(path.name):
                yield path


def _names(directory: Path) -> list[str]:
    try:
        return sorted(name for name in os.listdir(directory) if not name.startswith("."))
    except (FileNotFoundError, NotADirectoryError):
        return []
