"""The operations of the storage child. Quick ones return; long ones yield, so that a probe never waits for them."""

import contextlib
import re
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from station.model.identity import Revision, SourceId
from station.model.publication import Publication
from station.model.states import StorageState
from station.repo.retention import GRACE_S, RETAIN_S_MIN
from station.runtime.clock import system_clock
from station.storage.collect import (
    Collector,
    CollectPolicy,
    CollectReport,
    purge_source,
    source_bytes,
)
from station.storage.errors import StorageError
from station.storage.intents import reclaim_intents
from station.storage.layout import Layout
from station.storage.manifest_copies import copy_manifest
from station.storage.marker import Marker, init_storage, require_marker
from station.storage.probe import ProbeResult, probe_storage
from station.storage.publications import Publications
from station.storage.recognise import read_words, refresh_word
from station.storage.revisions import Revisions
from station.storage.trash import judge_trash, remove_tree

# Temporary files of ours that a killed process left. What syncs download has other names, and is resumed.
_LEFTOVER = re.compile(r"(manifest|complete|live|intent|seen)-.*|[Pp]robe-.*")

# A probe comes each second; while all is well it also writes, with two fsyncs, no more often than this.
WRITE_EVERY_S = 30.0

Steps = Iterator[Any]  # the last value yielded is the result


@dataclass(frozen=True, slots=True)
class Settings:
    """What the child is started with: STATION_SETTINGS as JSON. Empty ids expect nothing in particular."""

    storage: str
    station: str
    state: str
    group: str = ""
    storage_id: str = ""


class Operations:
    """Every public method but `find` is an operation; its parameters are the arguments on the wire."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._layout = Layout(Path(settings.storage))
        self._station = settings.station
        self._state = Path(settings.state)
        self._revisions = Revisions(self._layout, self._station)
        self._publications = Publications(self._layout, self._station)
        self._clock = system_clock()
        self._write_due = 0.0

    def find(self, name: str) -> Callable[..., Any]:
        """The operation called `name`. Raises StorageError (unknown-op)."""
        if name not in _NAMES:
            raise StorageError("unknown-op", name)
        found: Callable[..., Any] = getattr(self, name)
        return found

    def init(self, group: str, storage_id: str = "") -> dict[str, str]:
        """Make an empty directory a storage of `group`."""
        marker = init_storage(self._layout, group, storage_id)
        return {"storage_id": marker.storage_id, "group": marker.group_id}

    def probe(self) -> dict[str, Any]:
        """What the storage is able to do now."""
        settings, now = self._settings, self._clock.boot()
        is_writing = now >= self._write_due
        result: ProbeResult = probe_storage(
            self._layout,
            self._station,
            group_id=settings.group,
            storage_id=settings.storage_id,
            is_writing=is_writing,
        )
        if result.state is not StorageState.READY:
            self._write_due = 0.0
        elif is_writing:
            self._write_due = now + WRITE_EVERY_S
        return asdict(result) | {"state": result.state.value}

    def inventory(self) -> Steps:
        """Every source with its publications and revisions."""
        self._require_marker()
        found: dict[str, Any] = {}
        yield found
        for source, stored in self._revisions.inventory():
            found[source] = {
                "live": [p.file_name() for p in self._publications.all(source)],
                "revisions": {
                    revision: {
                        "complete": facts.is_complete,
                        "packages": facts.summary.packages,
                        "size": facts.summary.size,
                        "order": facts.summary.order,
                    }
                    for revision, facts in stored.items()
                },
            }
            yield found

    def publish(self, source: str, number: int, order: int, revision: str) -> dict[str, bool]:
        """Link a publication."""
        self._require_marker()
        publication = Publication(number, order, Revision.parse(revision))
        return {"made": self._publications.publish(SourceId.parse(source), publication)}

    def add_manifest(self, source: str, revision: str, manifest: str) -> dict[str, bool]:
        """Store a manifest that came from a peer, verified by the caller."""
        self._require_marker()
        return {"made": self._revisions.add_manifest(source, revision, manifest.encode())}

    def copy_manifest(self, source: str, revision: str) -> dict[str, bool]:
        """Copy a manifest to the state directory, or say that the copy is still wanted."""
        return {"made": copy_manifest(self._layout, self._state, source, revision)}

    def recognise(self) -> dict[str, Any]:
        """Refresh our word and read those of the others: {"mine": word, "others": {station: [words]}}."""
        self._require_marker()
        mine = refresh_word(self._layout, self._station)
        words = read_words(self._layout)
        words.pop(self._station, None)
        return {"mine": mine, "others": words}

    def collect(
        self,
        retain_s: float = RETAIN_S_MIN,
        wait_s: float = GRACE_S,
        frozen: dict[str, list[str]] | None = None,
        staged: dict[str, list[str]] | None = None,
        dry_run: bool = False,
    ) -> Steps:
        """One turn of collection."""
        marker = self._require_marker()
        policy = CollectPolicy(
            retain_s, wait_s, _revisions_by_source(frozen), _revisions_by_source(staged), dry_run
        )
        report = CollectReport()
        for step in self._collector(marker).collect(policy):
            report = step
            yield None
        yield asdict(report)

    def purge(self, source: str, dry_run: bool = False) -> Steps:
        """Take away a source. Its objects go by collection. In bytes: all that it names, shared with others or not."""
        self._require_marker()
        count = len(self._revisions.revisions(source))
        total = 0
        for so_far in source_bytes(self._revisions, source):
            total = so_far
            yield None
        if not dry_run:
            count = purge_source(self._layout, self._station, source)
        yield {"revisions": count, "bytes": total}

    def sweep(self) -> dict[str, int]:
        """Remove what ended processes of this station left behind; before the first of the new ones starts."""
        self._require_marker()
        intents = reclaim_intents(self._layout, self._station)
        partial = self._layout.partial(self._station)
        leftovers = 0
        with contextlib.suppress(FileNotFoundError):
            for path in partial.iterdir():
                if _LEFTOVER.fullmatch(path.name):
                    path.unlink(missing_ok=True)
                    leftovers += 1
        return {"intents": intents, "leftovers": leftovers}

    def reclaim(self) -> Steps:
        """After a start: end the collection that the last run began."""
        marker = self._require_marker()
        self._collector(marker).recover()
        removed = back = 0
        for step in judge_trash(self._layout, self._station, self._revisions):
            removed, _, back = step
            yield None
        yield {"objects_removed": removed, "objects_linked_back": back}

    def forget(self, station: str) -> dict[str, bool]:
        """Remove the staging directory of a station that has left the group."""
        self._require_marker()
        if station == self._station:
            raise StorageError("bad-request", "a station does not forget itself")
        staging = self._layout.staging(station)
        existed = staging.exists()
        for _ in judge_trash(self._layout, self._station, self._revisions):
            pass  # what it took away and has not judged may be wanted
        remove_tree(staging)
        return {"existed": existed}

    def _collector(self, marker: Marker) -> Collector:
        boot = self._clock.boot
        return Collector(self._layout, self._station, self._state, marker.storage_id, boot)

    def _require_marker(self) -> Marker:
        settings = self._settings
        return require_marker(self._layout, group_id=settings.group, storage_id=settings.storage_id)


_NAMES = frozenset(
    "init probe inventory publish add_manifest copy_manifest recognise collect purge sweep reclaim forget".split()
)


def _revisions_by_source(wire: dict[str, list[str]] | None) -> dict[str, frozenset[Revision]]:
    return {
        source: frozenset(Revision.parse(revision) for revision in revisions)
        for source, revisions in (wire or {}).items()
    }
