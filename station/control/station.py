"""This station: what control owns, and the one turn that brings all of it in line.

Whatever changes (a record, a peer's report, the storage, a sync) asks for a turn; turns are coalesced, and one comes
each second anyway. A turn only decides; what takes time runs in tasks of its own.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from station.config.schema import Config
from station.control.changes import BadChange
from station.control.copies import Copies
from station.control.feed import Feed, Worker
from station.control.flips import Flips
from station.control.kept import Kept
from station.control.picture import Peers, Picture
from station.control.public_certificate import PublicCertificate
from station.control.snapshot import OwnFacts, build_snapshot
from station.control.storage_watch import StorageWatch
from station.control.syncs import SyncDesk
from station.gossip.replica import WriteRefused
from station.model.identity import Revision, SourceId
from station.model.last_seen import Sightings
from station.model.mirror_list import MirrorListEntry
from station.model.now import Now
from station.model.report import SourceReport
from station.model.states import StorageState
from station.peering.changes import Change
from station.peering.registry import Registry
from station.publish.skew import SkewMeter, SkewRow
from station.runtime.clock import Clock
from station.storage.layout import manifest_copy

TURN_EVERY_S = 1.0
# At most so long after a change: many changes in one packet are one turn.
COALESCE_S = 0.005
# For the storage, before workers are told anything. One that hangs is told as that by then.
FIRST_LOOK_S = 3.0


class Station(Picture):
    """Control's own picture, and its ways to change it. The parts are given; `main` puts them together."""

    feed: Feed

    def __init__(
        self,
        config: Config,
        clock: Clock,
        registry: Registry,
        storage: StorageWatch,
        *,
        kept: Kept,
        copies: Copies,
        certificate: PublicCertificate,
        ca_pem: str,
    ) -> None:
        super().__init__(
            config, clock, registry, storage, kept=kept, copies=copies, certificate=certificate
        )
        self.ca_pem = ca_pem
        self.sightings = Sightings()
        self.skew: tuple[SkewRow, ...] = ()
        self._skew_meter = SkewMeter()
        self._turn_asked: asyncio.TimerHandle | None = None
        self._flip_timer: asyncio.TimerHandle | None = None

    def assemble(
        self,
        syncs: SyncDesk,
        flips: Flips,
        feed: Feed,
        next_looks: Callable[[], Mapping[str, float]],
    ) -> None:
        """The parts that call back into this object."""
        self.syncs, self.flips, self.feed, self.next_looks = syncs, flips, feed, next_looks

    def workers(self) -> frozenset[Worker]:
        """The connected workers."""
        return self.feed.workers

    def alarms(self) -> list[str]:
        """See Picture; and what the workers alone know."""
        bad = sorted(w.name for w in self.workers() if w.counters.get("tls_bad_pair"))
        said = "the certificate and key on the disk are no pair; the ones before are in use"
        return super().alarms() + ([f"tls {', '.join(bad)}: {said}"] if bad else [])

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
        self.sharing.heard({name: report for name, (_, report) in peers.items()})
        self._step_barrier(peers, now)
        partners = self.partners()
        self.syncs.consider(
            mirror_list,
            self.storage.view.sources,
            lambda source: _others(source, peers),
            self.flips.barrier.has_duty,
            sharing=partners,
            may_work=self.has_exchanged and self.storage.view.was_asked,
            kept=None if self.storage.view.state is StorageState.READY else self.copies.of,
        )
        if any(self._lies_there_unseen(peers[name][1].sources) for name in partners):
            self.storage.look_again()
        self._step_barrier(peers, now)
        if self.has_exchanged and self._may_tell(now):
            self.publish_snapshot(mirror_list, peers)
        seen = self.sightings.to_wire(self._clock.wall())
        self.registry.set_status({**self.report().to_wire(), **seen})

    def publish_snapshot(self, mirror_list: Mapping[str, MirrorListEntry], peers: Peers) -> None:
        """Tell the workers."""
        report, config = self.report(), self._config
        own = OwnFacts(
            self.name,
            self.ca_pem,
            config.proxy.hosts,
            config.proxy.destinations,
            report.is_ready,
            report.reason,
            report.https,
        )
        shown = self.flips.shown(self.source_states(report))
        records, storage = self.records(), self.storage.view
        here = self.manifests_here()
        self.feed.publish(build_snapshot(own, records, mirror_list, storage, here, shown, peers))

    async def turn_for_ever(self) -> None:
        """One turn each second, whatever happens."""
        while True:
            self.turn()
            await asyncio.sleep(TURN_EVERY_S)

    async def catch_up(self) -> None:
        """Ask every member what is true now; before the first snapshot, and after a pause."""
        self.has_exchanged = False
        await self.registry.first_exchange()
        self.has_exchanged = True
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
        """A copy of a manifest on the local disk, for a peer. The file may not exist. Raises StorageError."""
        if revision not in self.copies.of(source):
            await self.storage.call("copy_manifest", source=source, revision=revision)
            self.copies.made(source, revision)
        return manifest_copy(Path(self._config.state_directory) / "manifests", source, revision)

    def kept_manifest(self, source: str, revision: str) -> None:
        """A sync child has put this manifest into the state directory."""
        self.copies.made(source, Revision(revision))
        self.ask_for_turn()

    # Details.

    def _may_tell(self, now: Now) -> bool:
        """Not before the storage was looked at: else a reload sends clients away, as if it were gone."""
        return self.storage.is_known or now.boot - self._began >= FIRST_LOOK_S

    def _step_barrier(self, peers: Peers, now: Now) -> None:
        view = self.view(peers)
        self.flips.step(view, now=now)
        self.skew = self._skew_meter.step(view, now.boot)
        self._arm_flip(now)

    def _arm_flip(self, now: Now) -> None:
        if self._flip_timer is not None:
            self._flip_timer.cancel()
            self._flip_timer = None
        deadline = self.flips.barrier.next_deadline()
        if deadline is not None:
            loop = asyncio.get_running_loop()
            self._flip_timer = loop.call_later(max(deadline - now.boot, 0.0), self.turn)

    def _lies_there_unseen(self, said: Mapping[str, SourceReport]) -> bool:
        """Whether a station on our storage has completed what our last listing does not show."""
        return any(not r.complete <= self.complete_here(source) for source, r in said.items())


def _others(source: str, peers: Peers) -> dict[str, SourceReport]:
    """Present peers that know `source`."""
    return {
        name: report.sources[source]
        for name, (is_present, report) in peers.items()
        if is_present and source in report.sources
    }
