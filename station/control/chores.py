"""What has to be done on the storage now and then: reclaim, recognise who shares it, copy manifests, purge, collect.

Nothing is deleted while a member is out of contact, and nothing by a registry that was wiped; who deletes is the
collector of the storage, one of the stations that share it.
"""

import asyncio
from collections.abc import Awaitable, Callable

from station.control import leaving, retention
from station.control.changes import BadChange
from station.control.copies import worth_copying
from station.control.station import Station
from station.control.storage_view import StoredSource
from station.model.identity import Revision
from station.model.records import Kind
from station.model.states import StorageState
from station.publish import duty
from station.runtime.lines import line
from station.storage.client import StorageError

LOOK_EVERY_S = 1.0
RECOGNISE_EVERY_S = 10.0
# While a present station with our storage id is not recognised: it has just started, or so have we.
RECOGNISE_SOON_S = 2.0
LEAVING_EVERY_S = 5.0
COLLECT_EVERY_S = 3600.0
# A start is no time for reading every manifest.
FIRST_COLLECT_S = 600.0
# Long work answers between its steps, and is only ended when it is silent; this bounds the whole.
LONG_DEADLINE_S = 6 * 3600.0
FAILED_PAUSE_S = 10.0


class Chores:
    """Three loops; `run` them as tasks. What a failed storage does not let happen is tried again."""

    def __init__(self, station: Station) -> None:
        self._station = station
        self._is_reclaimed = False
        self._leaving_due = 0.0
        self._collect_due: float | None = None
        self._complained = ""

    async def recognise_for_ever(self) -> None:
        """Write our word and read those of the others, every few seconds."""
        await _for_ever(self._recognise)

    async def copy_for_ever(self) -> None:
        """Copy the manifests that are shown, staged or were shown, each once."""
        await _for_ever(self._copy)

    async def tidy_for_ever(self) -> None:
        """Reclaim after the start; then purge what left the mirror list, and collect each hour."""
        await _for_ever(self._tidy)

    def why_not_remove(self) -> str:
        """Why nothing may be taken away from our storage now; empty when it may."""
        station = self._station
        if station.storage.view.state is not StorageState.READY:
            return f"the storage is {station.storage.view.state.value}"
        gossip, stored = station.registry.gossip, station.storage.view.sources
        left = leaving.left_sources(station.registry.settings())
        return retention.why_not_remove(
            station.records(),
            stored,
            station.present_reports(),
            has_exchanged=station.has_exchanged,
            is_new_epoch=gossip.is_new_epoch,
            is_known={s: s in left or gossip.is_known(Kind.SOURCE, s) for s in stored},
        )

    # Recognising.

    async def _recognise(self) -> float:
        station = self._station
        view = station.storage.view
        if view.state is not StorageState.READY:
            if station.sharing.word:
                station.sharing.lost()
                station.ask_for_turn()
            return LOOK_EVERY_S
        found = await station.storage.call("recognise")
        if station.sharing.looked(str(found["mine"]), found["others"]):
            station.ask_for_turn()
        is_settled = station.sharing.is_settled(station.name, view.storage_id, station.peers())
        return RECOGNISE_EVERY_S if is_settled else RECOGNISE_SOON_S

    # Copying.

    async def _copy(self) -> float:
        station = self._station
        if not station.storage.is_readable:
            return LOOK_EVERY_S
        wanted: dict[str, list[Revision]] = {}
        for source, stored in station.storage.view.sources.items():
            coming = station.flips.barrier.next(source)
            shown = [station.flips.barrier.live(source), coming[0] if coming else None]
            wanted[source] = worth_copying(stored, shown, station.source_report(source))
        for source, revision in station.copies.missing(wanted):
            await station.storage.call("copy_manifest", source=source, revision=str(revision))
            station.copies.made(source, revision)
        return LOOK_EVERY_S

    # Tidying.

    async def _tidy(self) -> float:
        station, boot = self._station, self._station.now().boot
        if self._collect_due is None:
            self._collect_due = boot + FIRST_COLLECT_S
        if station.storage.view.state is not StorageState.READY:
            return LOOK_EVERY_S
        if not self._is_reclaimed:
            found = await station.storage.call("reclaim", deadline_s=LONG_DEADLINE_S)
            self._is_reclaimed = True
            line("info", "storage.reclaimed", **found)
        if boot >= self._leaving_due and station.has_exchanged:
            self._leaving_due = boot + LEAVING_EVERY_S
            await self._note_leaving()
            await self._purge()
            await self._forget()
        if boot >= self._collect_due:
            self._collect_due = boot + COLLECT_EVERY_S
            await self._collect()
        return LOOK_EVERY_S

    async def _note_leaving(self) -> None:
        """One station tells the registry; which, does not matter."""
        station = self._station
        reports, records = station.present_reports(), station.records()
        able = [name for name, report in reports.items() if report.may_write]
        if not able or duty.holder("sources that left", able) != station.name:
            return
        stored = {
            s for report in reports.values() for s, r in report.sources.items() if r.revisions
        }
        steps = leaving.leaving_changes(
            station.mirror_list(),
            stored,
            [s for s in stored if station.registry.gossip.is_known(Kind.SOURCE, s)],
            leaving.left_sources(station.registry.settings()),
            are_all_present=set(records.stations) <= set(reports),
            wall=station.now().wall,
        )
        if steps:
            try:
                await station.write(steps)
            except BadChange as error:
                line("warning", "leaving.not_written", error=str(error))

    async def _purge(self) -> None:
        station = self._station
        due = leaving.purges_due(
            station.records(),
            station.mirror_list(),
            [s for s, stored in station.storage.view.sources.items() if stored != StoredSource()],
            leaving.left_sources(station.registry.settings()),
            wall=station.now().wall,
        )
        if not due or not self._is_collector() or self._is_refused("purge"):
            return
        for source in due:
            found = await station.storage.call("purge", deadline_s=LONG_DEADLINE_S, source=source)
            line("info", "storage.purged", source=source, **found)
        await station.storage.refresh()

    async def _forget(self) -> None:
        """What stations that left the group have staged here goes."""
        station = self._station
        gossip = station.registry.gossip
        gone = leaving.stations_that_left(
            station.sharing.found,
            station.records().stations,
            lambda name: gossip.is_known(Kind.STATION, name),
        )
        if not gone or not self._is_collector() or self._is_refused("forget"):
            return
        for name in gone:
            found = await station.storage.call("forget", deadline_s=LONG_DEADLINE_S, station=name)
            line("info", "storage.station_forgotten", station=name, **found)
        station.sharing.found = ()  # until the next look

    async def _collect(self) -> None:
        station = self._station
        if not self._is_collector() or self._is_refused("collect"):
            return
        records, stored = station.records(), station.storage.view.sources
        frozen = retention.frozen_revisions(records)
        for source in stored:
            if not station.registry.gossip.is_known(Kind.SOURCE, source):
                frozen[source] = set(stored[source].revisions)  # nobody here may judge it
        staged = retention.staged_revisions(records, station.present_reports().values())
        found = await station.storage.call(
            "collect",
            deadline_s=LONG_DEADLINE_S,
            retain_s=retention.RETAIN_S,
            frozen={source: sorted(revisions) for source, revisions in frozen.items()},
            staged={source: sorted(revisions) for source, revisions in staged.items()},
        )
        line("info", "storage.collected", **found)
        await station.storage.refresh()

    def _is_collector(self) -> bool:
        station = self._station
        sharing = [station.name, *station.partners()]
        return duty.collector(station.storage.view.storage_id, sharing) == station.name

    def _is_refused(self, what: str) -> bool:
        why = self.why_not_remove()
        if why and why != self._complained:
            line("warning", f"{what}.waits", why=why)
        self._complained = why
        return bool(why)


async def _for_ever(work: Callable[[], Awaitable[float]]) -> None:
    """`work` gives the seconds until it wants to be called again."""
    while True:
        try:
            pause = await work()
        except StorageError as error:
            line("debug", "chore.failed", chore=work.__name__, code=error.code, detail=error.detail)
            pause = FAILED_PAUSE_S if error.code != "died" else LOOK_EVERY_S
        await asyncio.sleep(pause)
