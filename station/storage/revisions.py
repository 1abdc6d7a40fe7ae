"""Revisions on the storage: a manifest each, and `complete` once every object it names was there."""

import hashlib
import os
import secrets
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

from station.model.identity import InvalidName, Revision, SourceId
from station.repo.errors import RepoError
from station.repo.manifest import Summary, check_manifest, iterate
from station.runtime.durable import Differs, failpoint, make_directory, move_away, write_new
from station.runtime.lines import line
from station.storage.errors import StorageError
from station.storage.layout import Layout
from station.storage.pool import Pool

MISSING_SHOWN_MAX = 10


@dataclass(frozen=True, slots=True)
class StoredRevision:
    """What lies on the storage of one revision."""

    summary: Summary
    is_complete: bool


class Revisions:
    """The revisions as one station reads and writes them. The caller has checked the marker."""

    def __init__(self, layout: Layout, station: str) -> None:
        self._layout = layout
        self._station = station
        self._known: dict[Path, tuple[tuple[int, int, int], tuple[Summary, bytes] | None]] = {}

    def add_manifest(self, source: str, revision: str, manifest: bytes) -> bool:
        """Store it. True: made; False: the same was there. Damage under this name is taken away first.

        Raises RepoError when it is no manifest, FsyncFailed, OSError.
        """
        check_manifest(manifest)
        final = self._layout.manifest(source, revision)
        make_directory(final.parent, self._layout.sources)
        return self._write(final, manifest)

    def read_manifest(self, source: str, revision: str) -> bytes:
        """Raises OSError."""
        return self._layout.manifest(source, revision).read_bytes()

    def complete(self, source: str, revision: str, tolerated: Collection[str] = ()) -> Summary:
        """Look at every object once more, make all names durable, then say so. Repeating it is harmless.

        `tolerated`: paths that may be missing, because upstream lacks them and the source allows for it.

        Raises StorageError (incomplete: the detail counts and names what is missing), RepoError, FsyncFailed, OSError.
        """
        manifest = self.read_manifest(source, revision)
        summary = check_manifest(manifest)
        pool = Pool(self._layout, self._station)
        lacking = {e.path: e.sha256 for e in iterate(manifest) if not pool.has(e.sha256, e.size)}
        missing = [path for path in lacking if path not in tolerated]
        if missing:
            shown = ", ".join(missing[:MISSING_SHOWN_MAX])
            raise StorageError("incomplete", f"{len(missing)} files are missing: {shown}")
        failpoint("revisions.before_settle")
        pool.settle(e.sha256 for e in iterate(manifest) if e.path not in lacking)
        failpoint("revisions.before_complete")
        self._write(self._layout.complete(source, revision), _seal(manifest))
        return summary

    def is_complete(self, source: str, revision: str) -> bool:
        """Whether `complete` was said of exactly this manifest. Raises OSError."""
        found = self.stored(source, revision)
        return found is not None and found.is_complete

    def stored(self, source: str, revision: str) -> StoredRevision | None:
        """What lies there; None when there is no manifest, or a damaged one (which is logged). Raises OSError."""
        path = self._layout.manifest(source, revision)
        try:
            stat = path.stat()
        except (FileNotFoundError, NotADirectoryError):
            self._known.pop(path, None)
            return None
        identity = (stat.st_ino, stat.st_size, stat.st_mtime_ns)
        known = self._known.get(path)
        if known is None or known[0] != identity:
            known = self._known[path] = (identity, _read_summary(path))
        if known[1] is None:
            return None
        summary, seal = known[1]
        try:
            is_complete = self._layout.complete(source, revision).read_bytes() == seal
        except FileNotFoundError:
            is_complete = False
        return StoredRevision(summary, is_complete)

    def sources(self) -> list[SourceId]:
        """Every source with a directory, sorted. Raises OSError."""
        return [SourceId(n) for n in _names(self._layout.sources) if _is_name(n, SourceId)]

    def revisions(self, source: str) -> list[Revision]:
        """Every revision with a directory, sorted. Raises OSError."""
        names = _names(self._layout.source(source))
        return [Revision(name) for name in names if _is_name(name, Revision)]

    def inventory(self) -> Iterator[tuple[SourceId, dict[Revision, StoredRevision]]]:
        """Source by source what is stored. Reads only manifests that are new since the last time. Raises OSError."""
        for source in self.sources():
            found = {}
            for revision in self.revisions(source):
                stored = self.stored(source, revision)
                if stored is not None:
                    found[revision] = stored
            yield source, found

    def _write(self, final: Path, content: bytes) -> bool:
        partial = self._layout.partial(self._station)
        make_directory(partial, self._layout.staging_directory)
        temp = partial / f"{final.name}-{secrets.token_hex(8)}"
        try:
            return write_new(final, content, temp=temp)
        except Differs:
            # Both are functions of the metadata, so other bytes under this name are damage.
            trash = self._layout.trash(self._station)
            make_directory(trash, self._layout.staging_directory)
            move_away(final, trash / f"damaged-{final.name}-{secrets.token_hex(8)}")
            return write_new(final, content, temp=temp)


def _seal(manifest: bytes) -> bytes:
    """The content of `complete`: which manifest it is about."""
    return hashlib.sha256(manifest).hexdigest().encode() + b"\n"


def _read_summary(path: Path) -> tuple[Summary, bytes] | None:
    try:
        manifest = path.read_bytes()
        return check_manifest(manifest), _seal(manifest)
    except FileNotFoundError:
        return None
    except RepoError as error:
        line("error", "storage.damaged_manifest", path=path, error=error)
        return None


def _names(directory: Path) -> list[str]:
    try:
        return sorted(os.listdir(directory))
    except (FileNotFoundError, NotADirectoryError):
        return []


def _is_name(name: str, kind: type[SourceId] | type[Revision]) -> bool:
    try:
        kind.parse(name)
    except InvalidName:
        return False
    return True
