"""This station: what control owns, and the one turn that brings all of it in line.

Whatever changes (a record, a peer's report, the storage, a sync) asks for a turn; turns are coalesced, and one comes
each second anyway. A turn only decides; what takes time runs in tasks of its own.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from station import __version__
from station.config.schema import Config
from station.control.changes import BadChange, Records
from station.control.feed import Feed, Worker
from station.control.flips import Flips, other_member, own_member, source_state
from station.control.kept import Kept
from station.control.snapshot import OwnFacts, build_snapshot
from station.control.storage_view import StoredSource
from station.control.storage_watch import StorageWatch
from station.control.syncs import SyncDesk
from station.gossip.replica import WriteRefused
from station.model.identity import Revision, SourceId
from station.model.mirror_list import MirrorListEntry, derive_mirror_list
from station.model.now import Now
from station.model.report import SourceReport, StationReport
from station.model.states import StorageState
from station.peering.changes import Change
from station.peering.registry import Registry
from station.publish.view import SourceState, View
from station.runtime.clock import Clock
from station.storage.layout import manifest_copy

TURN_EVERY_S = 1.0
# At most so long after a change: many changes in one packet are one turn.
COALESCE_S = 0.005
# Half of what the hold around a flip forgives; a peer that was busy while it answered is measured again soon.
OFFSET_ERROR_MAX_S = 0.125


class Station:
    """Control's own picture, and its ways to change it. The parts are given; `main` puts them together."""

    def __init__(
        self,
        config: Config,
        clock: Clock,
        registry: Registry,
        storage: StorageWatch,
        kept: Kept,
        *,
        ca_pem: str,
    ) -> None:
        self.name = config.name
        self._kept = kept
        self.storage = storage
        self.registry = registry
        self.is_draining = False
        self._config = config
        self._clock = clock
        self.ca_pem = ca_pem
        self._turn_asked: asyncio.TimerHandle | None = None
        self._flip_timer: asyncio.TimerHandle | None = None
        self._has_exchanged = False
        self._derived_from: tuple[object, ...] = (
            None,
        ) * 4  # mappings of the registry never change
        self._derived: dict[str, MirrorListEntry] = {}
        self.syncs: SyncDesk
        self.flips: Flips
        self.feed: Feed

    def assemble(self, syncs: SyncDesk, flips: Flips, feed: Feed) -> None:
        """The parts that call back into this object."""
        self.syncs, self.flips, self.feed = syncs, flips, feed

    # The picture.

    def records(self) -> Records:
        """The registry as it is now."""
        registry = self.registry
        return Records(
            registry.group(),
            registry.stations(),
            registry.sources(),
            registry.profiles(),
            registry.instances(),
            registry.references(),
            registry.publications(),
        )

    def mirror_list(self) -> dict[str, MirrorListEntry]:
        """What this group mirrors, and why. Derived anew only when a record of one of the kinds changed."""
        records = self.records()
        kinds = (records.sources, records.profiles, records.instances, records.references)
        if any(new is not old for new, old in zip(kinds, self._derived_from, strict=True)):
            self._derived_from = kinds
            self._derived = derive_mirror_list(*kinds[:3], records.references.values())
        return self._derived

    def peers(self) -> dict[str, tuple[bool, StationReport]]:
        """The other stations that ever reported: whether present, and the last report."""
        return {
            name: (status.is_present, _report(status.payload))
            for name, status in self.registry.statuses().items()
            if name != self.name
        }

    def reports_of_our_storage(self) -> dict[str, list[SourceReport]]:
        """By source: what the stations on our storage say, this one first."""
        own = self.report()
        sharing = [own] + [
            report
            for is_present, report in self.peers().values()
            if is_present and report.storage_id and report.storage_id == own.storage_id
        ]
        sources = {source for report in sharing for source in report.sources}
        return {s: [r.sources[s] for r in sharing if s in r.sources] for s in sources}

    def report(self) -> StationReport:
        """What this station says of itself."""
        is_ready, reason = self.readiness()
        storage = self.storage.view
        known = set(self.mirror_list()) | set(storage.sources)
        return StationReport(
            is_ready=is_ready,
            is_draining=self.is_draining,
            may_write=self._has_exchanged
            and not self.registry.gossip.write_refusal(now=self.now()),
            reason=reason,
            storage_id=storage.storage_id,
            storage_state=storage.state.value,
            capacity=storage.capacity,
            free=storage.free,
            version=__version__,
            sources={source: self._source_report(source) for source in sorted(known)},
        )

    def readiness(self) -> tuple[bool, str]:
        """Whether a balancer may send clients, and why not."""
        storage = self.storage.view
        if self.is_draining:
            return False, "draining"
        if not self._has_exchanged:
            return False, "asking the other stations what is true now"
        if storage.state in (StorageState.STALLED, StorageState.FOREIGN, StorageState.DENIED):
            return False, f"storage {storage.state.value}: {storage.detail}"
        if self.registry.group() is None:
            return False, "no word from the group yet"
        return True, ""

    def alarms(self) -> list[str]:
        """What an operator should know now."""
        return [f"{a.code} {a.subject}: {a.detail}" for a in self.flips.barrier.alarms]

    def warnings(self) -> list[str]:
        """Where the configuration file and the group record differ, both values named."""
        group, config = self.registry.group(), self._config
        if group is None:
            return []
        pairs = [
            ("compartment", config.compartment, group.compartment),
            ("hostname", config.hostname, group.hostname),
            ("proxy.port", config.proxy.port, group.ports.proxy),
            ("mirror.port", config.mirror.port, group.ports.http),
            ("mirror.sslport", config.mirror.sslport, group.ports.https),
        ]
        return [
            f"{key}: the file says {ours}, the group {theirs}; the group's holds"
            for key, ours, theirs in pairs
            if ours != theirs
        ]

    def workers(self) -> frozenset[Worker]:
        """The connected workers."""
        return self.feed.workers

    def last_seen(self) -> dict[str, float]:
        """Seconds since each other station's heartbeat last moved."""
        statuses = self.registry.statuses()
        return {name: status.age_s for name, status in statuses.items() if name != self.name}

    def clock_offsets(self) -> dict[str, float]:
        """The wall clocks of the others minus ours, seconds."""
        found = {name: self._offset(name) for name in self.registry.stations()}
        return {name: offset for name, offset in found.items() if offset is not None}

    def now(self) -> Now:
        """Both clocks."""
        return Now(wall=self._clock.wall(), boot=self._clock.boot())

    # The turn.

    def ask_for_turn(self) -> None:
        """Something changed."""
        if self._turn_asked is None:
            loop = asyncio.get_running_loop()
            self._turn_asked = loop.call_later(COALESCE_S, self.turn)

    def turn(self) -> None:
        """Bring everything in line with what is known now."""
        self._turn_asked = None
        if self.registry.group() is None:
            return
        mirror_list, peers = self.mirror_list(), self.peers()
        now = self.now()
        self._step_barrier(peers, now)
        self.syncs.consider(
            mirror_list,
            self.storage.view.sources,
            lambda source: self._others(source, peers),
            self.flips.barrier.has_duty,
            may_write=self.storage.view.state is StorageState.READY and self._has_exchanged,
        )
        self._step_barrier(peers, now)
        if self._has_exchanged:
            self.publish_snapshot(mirror_list, peers)
        self.registry.set_status(self.report().to_wire())

    def publish_snapshot(
        self,
        mirror_list: Mapping[str, MirrorListEntry],
        peers: Mapping[str, tuple[bool, StationReport]],
    ) -> None:
        """Tell the workers."""
        is_ready, reason = self.readiness()
        config = self._config
        own = OwnFacts(
            self.name,
            self.ca_pem,
            config.proxy.hosts,
            config.proxy.destinations,
            is_ready,
            reason,
        )
        shown = self.flips.shown(self._source_states())
        records, storage = self.records(), self.storage.view
        self.feed.publish(build_snapshot(own, records, mirror_list, storage, shown, peers))

    async def turn_for_ever(self) -> None:
        """One turn each second, whatever happens."""
        while True:
            self.turn()
            await asyncio.sleep(TURN_EVERY_S)

    async def catch_up(self) -> None:
        """Ask every member what is true now; before the first snapshot, and after a pause."""
        self._has_exchanged = False
        await self.registry.first_exchange()
        self._has_exchanged = True
        self.turn()

    # Changes.

    async def write(self, changes: Sequence[Change]) -> int:
        """Durably change records; how many peers hold the change already. Raises BadChange: nothing was changed."""
        try:
            result = await self.registry.write(changes)
        except WriteRefused as error:
            status = 400 if error.code in ("invalid", "quota") else 503
            raise BadChange(status, error.code, f"not written: {error.reason}") from None
        self.ask_for_turn()
        return result.held_by

    def request_sync(self, sources: Sequence[str]) -> float:
        """An operator wants these synced now. Returns the wall time of the wish."""
        for source in sources:
            self.syncs.request(source)
        self.turn()
        return self._clock.wall()

    async def manifest_path(self, source: SourceId, revision: Revision) -> Path:
        """A copy of a manifest on the local disk, for a peer. The file may not exist."""
        await self.storage.call("copy_manifest", source=source, revision=revision)
        copies = Path(self._config.state_directory) / "manifests"
        return manifest_copy(copies, source, revision)

    # Details.

    def _offset(self, name: str) -> float | None:
        """A peer's wall clock minus ours, unless the measurement is too rough to set a flip by."""
        measured = self.registry.offset(name)
        is_good = measured is not None and measured[1] <= OFFSET_ERROR_MAX_S
        return measured[0] if measured and is_good else None

    def _step_barrier(self, peers: Mapping[str, tuple[bool, StationReport]], now: Now) -> None:
        statuses, members = self.registry.statuses(), []
        own = own_member(self.name, self.report())
        for name in self.registry.stations():
            if name == self.name:
                members.append(own)
            elif name in peers:
                offset = self._offset(name)
                age = statuses[name].age_s
                members.append(other_member(name, peers[name][1], age, offset))
            else:
                members.append(other_member(name, StationReport(), float("inf"), None))
        view = View(self.name, tuple(members), self._source_states())
        self.flips.step(view, now=now)
        self._arm_flip(now)

    def _arm_flip(self, now: Now) -> None:
        if self._flip_timer is not None:
            self._flip_timer.cancel()
            self._flip_timer = None
        deadline = self.flips.barrier.next_deadline()
        if deadline is not None:
            loop = asyncio.get_running_loop()
            self._flip_timer = loop.call_later(max(deadline - now.boot, 0.0), self.turn)

    def _source_states(self) -> dict[str, SourceState]:
        records, storage = self.records(), self.storage.view
        known = set(self.mirror_list()) | set(storage.sources)
        return {
            source: source_state(
                source,
                records.sources.get(source),
                records.publications.get(source),
                storage,
                self._source_report(source),
                self.syncs.last_look(source),
                self._kept.of(source),
            )
            for source in sorted(known)
        }

    def _source_report(self, source: str) -> SourceReport:
        stored = self.storage.view.sources.get(source, StoredSource())
        record = self.registry.publications().get(source)
        barrier = self.flips.barrier
        numbers = [p.number for p in (stored.greatest, self._kept.of(source)) if p]
        fields = {
            "live": barrier.live(source),
            "greatest": max([record.number if record else 0, *numbers]),
            "revisions": {r: facts.order for r, facts in stored.revisions.items()},
            "complete": frozenset(r for r, f in stored.revisions.items() if f.is_complete),
            "candidate": str(barrier.candidate(source) or ""),
        }
        return _with(self.syncs.report(source), fields)

    def _others(
        self, source: str, peers: Mapping[str, tuple[bool, StationReport]]
    ) -> dict[str, SourceReport]:
        """Present peers that know `source`."""
        return {
            name: report.sources[source]
            for name, (is_present, report) in peers.items()
            if is_present and source in report.sources
        }


def _with(report: SourceReport, fields: Mapping[str, Any]) -> SourceReport:
    return replace(report, **fields)


def _report(payload: Mapping[str, Any]) -> StationReport:
    try:
        return StationReport.from_wire(dict(payload))
    except (ValueError, TypeError, KeyError):
        return StationReport(reason="its report cannot be read here")
