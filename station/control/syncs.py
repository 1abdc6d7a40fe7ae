"""The sync desk: starts, follows and remembers the sync children. One run per source, a few at a time."""

from collections.abc import AsyncIterator, Awaitable, Callable, Container, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from station.control.storage_view import StoredSource
from station.control.sync_plan import (
    AskUpstream,
    Attempts,
    CopyFromPeers,
    FetchManifest,
    Work,
    choose_manifest,
    choose_work,
)
from station.model.identity import Revision
from station.model.mirror_list import MirrorListEntry
from station.model.records import SourceRecord
from station.model.report import SourceReport
from station.runtime.clock import Clock
from station.runtime.lines import line
from station.runtime.tasks import Tasks

# Each child may hold a core while it parses; the data plane keeps the other.
RUNS_MAX = 2


class Launcher(Protocol):
    """Starts one job as a child process and yields its events; closing the iterator ends the child."""

    def start(self, job: dict[str, Any]) -> AsyncIterator[dict[str, Any]]: ...


@dataclass(slots=True)
class _Desk:
    """What is remembered of one source."""

    report: SourceReport = field(default_factory=SourceReport)
    attempts: Attempts = field(default_factory=Attempts)
    queued: Work | None = None
    is_running: bool = False
    look_began: float = 0.0  # boot clock
    # What upstream showed us last, and when that look began.
    look: tuple[Revision, float] | None = None


class SyncDesk:
    """Decides by `choose_work`, acts by child processes, reports by SourceReport.

    `on_end(source, is_good, is_retriable)` tells the schedule; `on_stored`: something new lies on the storage;
    `on_kept(source, revision)`: a manifest lies in the state directory. `recall(source)`: what is known of an earlier
    run of this station's.
    """

    def __init__(
        self,
        launcher: Launcher,
        clock: Clock,
        tasks: Tasks,
        *,
        make_job: Callable[[Work, SourceRecord], dict[str, Any]],
        on_change: Callable[[], None],
        on_stored: Callable[[], Awaitable[None]],
        on_end: Callable[[str, bool, bool], None],
        on_kept: Callable[[str, str], None],
        recall: Callable[[str], SourceReport],
    ) -> None:
        self._launcher = launcher
        self._clock = clock
        self._tasks = tasks
        self._make_job = make_job
        self._on_change = on_change
        self._on_stored = on_stored
        self._on_end = on_end
        self._on_kept = on_kept
        self._recall = recall
        self._desks: dict[str, _Desk] = {}
        self._listed: Mapping[str, MirrorListEntry] = {}

    def report(self, source: str) -> SourceReport:
        """What this station does and knows about `source`, without what lies on the storage."""
        return self._desks[source].report if source in self._desks else SourceReport()

    def last_look(self, source: str) -> tuple[Revision, float] | None:
        """What upstream showed us last, verified, and the boot time at which that look began."""
        return self._desks[source].look if source in self._desks else None

    def request(self, source: str) -> None:
        """An operator wants `source` synced now; whoever is on duty sees it."""
        self._change(source, requested_at=self._clock.wall())

    def due(self, source: str) -> None:
        """The schedule says it is time."""
        desk = self._desk(source)
        desk.attempts = replace(desk.attempts, is_due=True)

    def consider(
        self,
        listed: Mapping[str, MirrorListEntry],
        stored: Mapping[str, StoredSource],
        peers: Callable[[str], Mapping[str, SourceReport]],
        is_on_duty: Callable[[str], bool],
        *,
        sharing: Container[str],
        may_work: bool,
        kept: Callable[[str], Container[Revision]] | None,
    ) -> None:
        """Queue what is to be done now and start as much of it as may run.

        `kept`: while the storage takes nothing, the manifests in the state directory; only further ones are fetched.
        """
        self._listed = listed
        for source in list(self._desks):
            if source not in listed and not self._desks[source].is_running:
                del self._desks[source]
        if not may_work:
            return
        for source in listed:
            desk = self._desk(source)
            if desk.is_running:
                continue
            work: Work | None
            if kept is not None:
                work = choose_manifest(
                    source, kept(source), peers(source), desk.attempts, wall=self._clock.wall()
                )
            else:
                work = choose_work(
                    source,
                    stored.get(source, StoredSource()),
                    desk.report,
                    peers(source),
                    desk.attempts,
                    sharing=sharing,
                    is_on_duty=is_on_duty(source),
                    wall=self._clock.wall(),
                )
            desk.queued = work
            activity = "queued" if work else ""
            if desk.report.activity != activity:
                self._change(source, activity=activity)
        self._start_queued()

    def _start_queued(self) -> None:
        running = sum(desk.is_running for desk in self._desks.values())
        for source, desk in self._desks.items():
            if running >= RUNS_MAX:
                return
            if desk.queued and not desk.is_running:
                desk.is_running = True
                running += 1
                self._tasks.start(self._run(source, desk.queued), name=f"sync {source}")

    async def _run(self, source: str, work: Work) -> None:
        desk = self._desk(source)
        desk.queued = None
        line("info", "sync.started", source=source, why=_why(work))
        desk.look_began = self._clock.boot()
        self._change(source, activity="syncing", bytes_done=0, bytes_total=0)
        job = self._make_job(work, self._listed[source].source)
        end: dict[str, Any] = {"event": "failed", "code": "died", "detail": "the sync child died"}
        try:
            async for event in self._launcher.start(job):
                if _is_end(event, work):
                    end = event
                else:
                    await self._follow(source, work, event)
            if job.get("is_away") and end["event"] == "metadata":
                self._on_kept(source, end["revision"])
            elif end["event"] != "failed":
                await self._on_stored()  # or the next decision would be about what lay there before
        finally:
            desk.is_running = False
            self._ended(source, work, end)

    async def _follow(self, source: str, work: Work, event: dict[str, Any]) -> None:
        if event["event"] == "progress":
            self._change(source, bytes_done=event["bytes"], bytes_total=event["bytes_total"])
        elif event["event"] == "metadata":
            await self._on_stored()
            self._saw(source, work, event["revision"])

    def _ended(self, source: str, work: Work, end: dict[str, Any]) -> None:
        desk = self._desk(source)
        wall = self._clock.wall()
        if end["event"] == "failed":
            text = f"{end['code']}: {end['detail']}"
            line("warning", "sync.failed", source=source, error=text)
            desk.attempts = Attempts(desk.attempts.failures + 1, wall)
            self._change(source, activity="", error=text)
            self._on_end(source, False, bool(end.get("retriable", True)))
            return
        line("info", f"sync.{end['event']}", source=source, revision=end["revision"])
        desk.attempts = Attempts()
        is_look = isinstance(work, AskUpstream)
        checked = {"checked_at": wall, "checked": end["revision"]} if is_look else {}
        self._change(source, activity="", error="", **checked)
        self._on_end(source, True, False)
        self._saw(source, work, end["revision"])

    def _saw(self, source: str, work: Work, revision: str) -> None:
        desk = self._desk(source)
        if isinstance(work, AskUpstream):
            desk.look = (Revision(revision), desk.look_began)
            self._change(source, upstream=revision)

    def _desk(self, source: str) -> _Desk:
        if source not in self._desks:
            self._desks[source] = _Desk(self._recall(source))
        return self._desks[source]

    def _change(self, source: str, **fields: Any) -> None:
        desk = self._desk(source)
        desk.report = replace(desk.report, **fields)
        self._on_change()


def _is_end(event: Mapping[str, Any], work: Work) -> bool:
    name = event["event"]
    is_manifest = isinstance(work, FetchManifest) and name == "metadata"
    return name in ("staged", "unchanged", "failed") or is_manifest


def _why(work: Work) -> str:
    if isinstance(work, AskUpstream):
        return work.why
    return "copy from peers" if isinstance(work, CopyFromPeers) else "manifest from peers"
