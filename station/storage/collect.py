"""Collection: what no manifest and no intent names, after it waited, is taken away, judged once more, and removed.

Mark; wait; take away (rename into the trash); look at all intents and manifests again; link back what they name,
remove the rest. A writer declares its intent before it looks, so one of the two always sees the other. Revisions go
the same way when retention has no reason for them. Two collectors at once do each other no harm.
"""

import os
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from station.model.identity import Revision, SourceId
from station.repo.manifest import iterate
from station.repo.retention import GRACE_S, RevisionFacts, advance_idle, judge_revisions
from station.runtime.durable import failpoint, move_away
from station.storage.intents import boot_id, read_intents
from station.storage.layout import Layout
from station.storage.publications import Publications
from station.storage.revisions import Revisions
from station.storage.roots import YIELD_EVERY, Roots, gather_roots
from station.storage.trash import (
    judge_trash,
    remove_tree,
    take_directory,
    take_object,
    trash_entries,
)
from station.storage.waiting import OBJECTS_MAX, Waiting, load_waiting, save_waiting

_HEX = frozenset("0123456789abcdef")
_REVISION_LABEL = "revision-"


@dataclass(frozen=True, slots=True)
class CollectPolicy:
    """What the registry knows and the storage does not. Seconds; revisions by source."""

    retain_s: float
    wait_s: float = GRACE_S
    frozen: Mapping[str, Collection[Revision]] = field(default_factory=dict)
    staged: Mapping[str, Collection[Revision]] = field(default_factory=dict)
    is_dry_run: bool = False


@dataclass(slots=True)
class CollectReport:
    """What happened so far. In a dry run: what would be taken."""

    revisions_removed: int = 0
    objects_waiting: int = 0
    objects_removed: int = 0
    bytes_removed: int = 0
    objects_linked_back: int = 0


class Collector:
    """One station's collector. The caller has checked the marker."""

    def __init__(
        self, layout: Layout, station: str, state: Path, storage_id: str, boot: Callable[[], float]
    ) -> None:
        self._layout = layout
        self._station = station
        self._waiting_path = state / "collect.json"
        self._storage_id = storage_id
        self._boot = boot
        self._revisions = Revisions(layout, station)
        self._publications = Publications(layout, station)

    def collect(self, policy: CollectPolicy) -> Iterator[CollectReport]:
        """One turn, yielding now and then; the last value yielded is the result.

        A turn that is interrupted anywhere is continued by the next. Raises StorageError, FsyncFailed, OSError.
        """
        report = CollectReport()
        if not policy.is_dry_run:
            self.recover()
        old = load_waiting(self._waiting_path, self._storage_id)
        now_boot, this_boot = self._boot(), boot_id()
        elapsed = old.elapsed(this_boot, now_boot)
        new = Waiting(self._storage_id, this_boot, now_boot)
        for _ in self._retire(policy, old, new, elapsed, report):
            yield report
        roots = Roots()
        for _ in gather_roots(self._layout, self._revisions, roots):
            yield report
        for _ in self._mark(roots, old, new, elapsed):
            yield report
        report.objects_waiting = len(new.objects)
        due = [sha256 for sha256, waited in new.objects.items() if waited >= policy.wait_s]
        if policy.is_dry_run:
            report.objects_removed = len(due)
            yield report
            return
        save_waiting(self._waiting_path, new)
        for sha256 in due:
            failpoint("collect.before_take")
            take_object(self._layout, self._station, sha256)
            yield report
        failpoint("collect.taken")
        for removed, freed, back in judge_trash(self._layout, self._station, self._revisions):
            report.objects_removed, report.bytes_removed = removed, freed
            report.objects_linked_back = back
            yield report
        yield report

    def _mark(self, roots: Roots, old: Waiting, new: Waiting, elapsed: float) -> Iterator[None]:
        """Every object that nothing names, with the time it has waited."""
        seen = 0
        for shard in _names(self._layout.pool_directory):
            for sha256 in _names(self._layout.pool_directory / shard):
                seen += 1
                if seen % YIELD_EVERY == 0:
                    yield
                if len(sha256) != 64 or not _HEX.issuperset(sha256) or roots.has(sha256):
                    continue
                waited = old.objects.get(sha256)
                new.objects[sha256] = 0.0 if waited is None else waited + elapsed
                if len(new.objects) >= OBJECTS_MAX:
                    return
            yield

    def _retire(
        self,
        policy: CollectPolicy,
        old: Waiting,
        new: Waiting,
        elapsed: float,
        report: CollectReport,
    ) -> Iterator[None]:
        """Take away the revisions that retention has no reason for."""
        in_use_by_source = self._in_use()
        for source, stored in self._revisions.inventory():
            yield
            publications = self._publications.all(source)
            live = {max(publications).revision} if publications else set()
            frozen = frozenset(policy.frozen.get(source, ()))
            staged = frozenset(policy.staged.get(source, ()))
            in_use = in_use_by_source.get(source, set())
            busy = {f"{source}/{revision}" for revision in frozen | staged | in_use | live}
            idle = advance_idle(old.revisions, busy, [f"{source}/{r}" for r in stored], elapsed)
            new.revisions.update(idle)
            kept = judge_revisions(
                [
                    RevisionFacts(r, s.summary.order, s.is_complete, idle.get(f"{source}/{r}", 0.0))
                    for r, s in stored.items()
                ],
                publications,
                frozen=frozen,
                staged=staged,
                in_use=in_use,
                retain_s=policy.retain_s,
            )
            for revision in stored:
                if revision not in kept:
                    report.revisions_removed += 1
                    if not policy.is_dry_run:
                        self._take_revision(source, revision)
                        yield

    def _take_revision(self, source: SourceId, revision: Revision) -> None:
        directory = self._layout.revision(source, revision)
        failpoint("collect.before_take_revision")
        label = f"{_REVISION_LABEL}{revision}-{source}"
        taken = take_directory(self._layout, self._station, directory, label)
        if taken is not None:
            failpoint("collect.taken_revision")
            self._judge_revision(taken, source, revision)

    def _judge_revision(self, taken: Path, source: SourceId, revision: Revision) -> None:
        """Look again; put it back if it was wanted meanwhile, else remove it.

        Intents are read before publications: whoever has withdrawn its intent has by then linked its publication.
        """
        is_wanted = revision in self._in_use().get(source, ())
        live = self._publications.live(source)
        directory = self._layout.revision(source, revision)
        if is_wanted or (live and live.revision == revision):
            if not directory.exists():
                move_away(taken, directory)
                return
        else:
            for publication in self._publications.all(source):
                if publication.revision == revision:
                    self._publications.drop(source, publication)
        remove_tree(taken)

    def recover(self) -> None:
        """Judge the revisions that an interrupted turn of ours left in the trash. Raises StorageError, OSError."""
        for taken in trash_entries(self._layout.trash(self._station)):
            if taken.name.startswith(_REVISION_LABEL):
                revision, _, rest = taken.name.removeprefix(_REVISION_LABEL).partition("-")
                source = SourceId.parse(rest.rpartition("-")[0])
                self._judge_revision(taken, source, Revision.parse(revision))

    def _in_use(self) -> dict[str, set[Revision]]:
        found: dict[str, set[Revision]] = {}
        for intent in read_intents(self._layout):
            if intent.revision:
                found.setdefault(intent.source, set()).add(Revision(intent.revision))
        return found


def source_bytes(revisions: Revisions, source: str) -> Iterator[int]:
    """The sizes of all objects that the source's manifests name, each once; yields the sum so far. Raises OSError."""
    seen: set[str] = set()
    total = 0
    for revision in revisions.revisions(source):
        if revisions.stored(source, revision) is None:
            continue
        for entry in iterate(revisions.read_manifest(source, revision)):
            if entry.sha256 not in seen:
                seen.add(entry.sha256)
                total += entry.size
        yield total


def purge_source(layout: Layout, station: str, source: str) -> int:
    """Take away a source with its publications and revisions; how many revisions it had. Raises OSError.

    The objects it alone used are removed by collection, after they waited.
    """
    count = len(Revisions(layout, station).revisions(source))
    taken = take_directory(layout, station, layout.source(source), "source")
    if taken is not None:
        remove_tree(taken)
    return count


def _names(directory: Path) -> list[str]:
    try:
        return sorted(name for name in os.listdir(directory) if not name.startswith("."))
    except (FileNotFoundError, NotADirectoryError):
        return []
