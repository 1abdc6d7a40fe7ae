"""Drives the barrier: shows it the world, carries out what it decides.

The barrier is stepped on each change, each second, and at the instant of a flip. Its publications go to the registry,
its links to the storage; the snapshot reads `shown`.
"""

from collections.abc import Callable, Coroutine, Mapping
from typing import Any, assert_never

from station.control.snapshot import Shown
from station.control.storage_view import StorageView
from station.model.identity import Revision
from station.model.now import Now
from station.model.publication import Publication
from station.model.records import PublicationRecord, SourceRecord
from station.model.report import SourceReport, StationReport
from station.model.states import StorageState
from station.publish.barrier import Barrier
from station.publish.effects import Alarm, Announce, Effect, Flip, LinkLive, WritePublication
from station.publish.view import Freeze, Holdings, Member, Registered, SourceState, View
from station.runtime.lines import line
from station.runtime.tasks import Tasks


class Flips:
    """What is live here, and what comes next.

    `write`, `link` and `keep` carry decisions out: to the registry, the storage, the state directory.
    """

    def __init__(
        self,
        tasks: Tasks,
        *,
        write: Callable[[str, PublicationRecord], Coroutine[Any, Any, None]],
        link: Callable[[str, Publication], Coroutine[Any, Any, None]],
        keep: Callable[[str, Publication], Coroutine[Any, Any, None]],
        station: str,
    ) -> None:
        self.barrier = Barrier()
        self.flips = 0
        self._tasks = tasks
        self._write = write
        self._link = link
        self._keep = keep
        self._station = station

    def step(self, view: View, *, now: Now) -> None:
        """One look at the world, and all that follows from it."""
        for effect in self.barrier.step(view, now=now):
            self._do(effect)

    def shown(self, sources: Mapping[str, SourceState]) -> dict[str, Shown]:
        """Live and next of each source, for the snapshot."""
        return {source: self._shown(source) for source in sources}

    def _shown(self, source: str) -> Shown:
        coming = self.barrier.next(source)
        live = self.barrier.live(source)
        return Shown(live, *coming) if coming else Shown(live)

    def _do(self, effect: Effect) -> None:
        match effect:
            case WritePublication(source, publication, at_wall):
                record = PublicationRecord(
                    number=publication.number,
                    order=publication.order,
                    revision=publication.revision,
                    at=at_wall,
                    by=self._station,
                )
                self._tasks.start(self._write(source, record), name=f"publish {source}")
            case LinkLive(source, publication):
                self._tasks.start(self._link(source, publication), name=f"link {source}")
            case Announce(source, publication, flip_at_boot):
                line(
                    "debug",
                    "flip.announced",
                    source=source,
                    number=publication.number,
                    at=flip_at_boot,
                )
            case Flip(source, publication):
                self.flips += 1
                self._tasks.start(self._keep(source, publication), name=f"keep {source}")
                line(
                    "info",
                    "flip.done",
                    source=source,
                    number=publication.number,
                    revision=publication.revision[:12],
                )
            case Alarm(code, subject, detail):
                line("warning", "alarm", code=code, subject=subject, detail=detail)
            case _:
                assert_never(effect)


def own_member(name: str, report: StationReport) -> Member:
    """This station as the barrier sees it."""
    return _member(name, report, heartbeat_age=0.0, offset=0.0)


def other_member(
    name: str, report: StationReport, heartbeat_age: float, offset: float | None
) -> Member:
    """A peer as the barrier sees it. Seconds; `offset`: its wall clock minus ours."""
    return _member(name, report, heartbeat_age, offset)


def source_state(
    source: str,
    record: SourceRecord | None,
    publication: PublicationRecord | None,
    storage: StorageView,
    own: SourceReport,
    upstream: tuple[Revision, float] | None,
    kept: Publication | None,
) -> SourceState:
    """What this station knows of one source. `upstream`: revision and boot time of our last good look."""
    stored = storage.sources.get(source)
    is_here = upstream is not None and upstream[0] in own.revisions
    return SourceState(
        registered=_registered(publication),
        stored=stored.greatest if stored else None,
        kept=kept,
        upstream=upstream[0] if upstream and is_here else None,
        upstream_at=upstream[1] if upstream and is_here else float("-inf"),
        freeze=_freeze(record),
    )


def _member(name: str, report: StationReport, heartbeat_age: float, offset: float | None) -> Member:
    return Member(
        name=name,
        heartbeat_age=heartbeat_age,
        holdings={source: _holdings(said) for source, said in report.sources.items()},
        by_fill=report.storage_state != StorageState.READY,
        may_write=report.may_write,
        clock_offset_s=offset,
    )


def _holdings(report: SourceReport) -> Holdings:
    return Holdings(
        orders=report.revisions,
        complete=report.complete,
        staged=report.complete,
        candidate=Revision(report.candidate) if report.candidate else None,
        progress=float(report.bytes_done),
        live=report.live,
        greatest=report.greatest,
    )


def _registered(record: PublicationRecord | None) -> Registered | None:
    if record is None:
        return None
    publication = Publication(record.number, record.order, Revision(record.revision))
    return Registered(publication, record.at, record.by)


def _freeze(record: SourceRecord | None) -> Freeze | None:
    if record is None or not record.is_frozen:
        return None
    revision = Revision(record.frozen_revision) if record.frozen_revision else None
    return Freeze(revision, record.frozen_until)
