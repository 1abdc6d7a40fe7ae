"""Which manifests have a copy on the local disk: workers answer from them while the storage is away.

The copies are made by the storage child; this only remembers which there are and says which are wanted.
"""

from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path

from station.control.storage_view import StoredSource
from station.model.identity import InvalidName, Revision
from station.model.publication import Publication
from station.model.report import SourceReport

# Per source: what is live, what comes next, what was live before. Older ones are answered from the storage alone.
COPIES_PER_SOURCE_MAX = 8


class Copies:
    """The copies below `state_directory/manifests`. Reads the names once, at start."""

    def __init__(self, state_directory: Path) -> None:
        self._root = state_directory / "manifests"
        self._made: dict[str, set[Revision]] = {}
        with suppress(FileNotFoundError):
            for directory in self._root.iterdir():
                names = [path.name for path in directory.iterdir()]
                self._made[directory.name] = {r for r in map(_parse, names) if r is not None}

    def of(self, source: str) -> frozenset[Revision]:
        """The revisions of `source` with a copy."""
        return frozenset(self._made.get(source, ()))

    def made(self, source: str, revision: Revision) -> None:
        """The storage child made this one."""
        self._made.setdefault(source, set()).add(revision)

    def missing(self, wanted: Mapping[str, Iterable[Revision]]) -> list[tuple[str, Revision]]:
        """Those of `wanted` that have no copy yet, in this order."""
        return [
            (source, revision)
            for source, revisions in wanted.items()
            for revision in revisions
            if revision not in self._made.get(source, ())
        ]


def worth_copying(
    stored: StoredSource, shown: Iterable[Publication | None], own: SourceReport
) -> list[Revision]:
    """The manifests on the storage that a client may need while it is away: shown, staged, newest first."""
    first = [publication.revision for publication in shown if publication]
    if own.candidate:
        first.append(Revision(own.candidate))
    if stored.greatest:
        first.append(stored.greatest.revision)
    rest = sorted(stored.revisions, key=lambda r: (stored.revisions[r].order, r), reverse=True)
    wanted = dict.fromkeys([*first, *rest])
    return [revision for revision in wanted if revision in stored.revisions][:COPIES_PER_SOURCE_MAX]


def _parse(name: str) -> Revision | None:
    with suppress(InvalidName):
        return Revision.parse(name)
    return None
