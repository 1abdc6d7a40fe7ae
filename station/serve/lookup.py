"""From a path of a source to its manifest entry, in whichever revision has it. No client-named path touches a disk.

Manifests are only mapped; a few stay open. The copy in the state directory answers while the storage is missing.
"""

import mmap
import os
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from station.repo.errors import RepoError
from station.repo.manifest import Entry, lookup
from station.runtime.lines import line
from station.storage.layout import Layout, manifest_copy


@dataclass(frozen=True, slots=True)
class Found:
    """An entry, and the revision whose manifest has it."""

    entry: Entry
    revision: str


class Library:
    """The manifests that this station can open."""

    def __init__(self, storage: Path, copies: Path, *, open_max: int) -> None:
        self.layout = Layout(storage)
        self._copies = copies
        self._open: OrderedDict[tuple[str, str], mmap.mmap] = OrderedDict()
        self._open_max = open_max

    def has(self, source: str, revision: str) -> bool:
        """Whether the manifest can be opened here."""
        return self._manifest(source, revision) is not None

    def find(self, source: str, revisions: Iterable[str], path: bytes) -> Found | None:
        """The first of `revisions` whose manifest is here and has `path`."""
        for revision in revisions:
            manifest = self._manifest(source, revision)
            if manifest is None:
                continue
            try:
                entry = lookup(manifest, path)
            except RepoError as error:
                line(
                    "error", "manifest.damaged", source=source, revision=revision, error=str(error)
                )
                self._drop((source, revision))
                continue
            if entry is not None:
                return Found(entry, revision)
        return None

    def close(self) -> None:
        """Close all manifests."""
        for key in list(self._open):
            self._drop(key)

    def _manifest(self, source: str, revision: str) -> mmap.mmap | None:
        key = (source, revision)
        manifest = self._open.get(key)
        if manifest is not None:
            self._open.move_to_end(key)
            return manifest
        for path in (
            self.layout.manifest(source, revision),
            manifest_copy(self._copies, source, revision),
        ):
            manifest = _map(path)
            if manifest is not None:
                break
        else:
            return None
        self._open[key] = manifest
        if len(self._open) > self._open_max:
            self._drop(next(iter(self._open)))
        return manifest

    def _drop(self, key: tuple[str, str]) -> None:
        self._open.pop(key).close()


def _map(path: Path) -> mmap.mmap | None:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        return None
    try:
        return mmap.mmap(fd, 0, prot=mmap.PROT_READ)
    except (OSError, ValueError):  # empty, or no regular file
        return None
    finally:
        os.close(fd)
