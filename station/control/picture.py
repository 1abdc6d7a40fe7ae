"""What this station knows at the moment, put together from the registry, the peers' reports and the storage.

Only reads: `station.Station` decides and acts on it.
"""

from collections.abc import Callable, Mapping
from typing import Any

from station import __version__
from station.config.schema import Config
from station.control import health
from station.control.changes import Records
from station.control.copies import Copies
from station.control.flips import Flips, other_member, own_member, source_state
from station.control.group_checks import group_warnings
from station.control.kept import Kept
from station.control.own_report import complete_here, manifests_here, orders_known, source_report
from station.control.public_certificate import PublicCertificate
from station.control.sharing import Sharing
from station.control.storage_watch import StorageWatch
from station.control.syncs import SyncDesk
from station.model.identity import Revision
from station.model.mirror_list import MirrorListEntry, derive_mirror_list
from station.model.now import Now
from station.model.publication import Publication
from station.model.report import SourceReport, StationReport
from station.peering.registry import Registry
from station.publish.view import SourceState, View
from station.runtime.clock import Clock

# Half of what the hold around a flip forgives; a peer that was busy while it answered is measured again soon.
OFFSET_ERROR_MAX_S = 0.125
# A starting station waits so long for the manifests of what is live; if nobody has them, serving the rest is better.
MANIFESTS_WAIT_S = 10.0

Peers = Mapping[str, tuple[bool, StationReport]]  # name → is present, last report


class Picture:
    """The reading half of a station. The parts are given; `syncs`, `flips` and `next_looks` (by source, wall time) come
    when all is assembled.
    """

    syncs: SyncDesk
    flips: Flips
    next_looks: Callable[[], Mapping[str, float]]

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
    ) -> None:
        self.name = config.name
        self.registry = registry
        self.storage = storage
        self.copies = copies
        self.sharing = Sharing()
        self.is_draining = False
        self.has_exchanged = False
        self._config = config
        self._clock = clock
        self._kept = kept
        self.certificate = certificate
        self._derived_from: tuple[object, ...] = (None,) * 4  # the registry's mappings never change
        self._derived: dict[str, MirrorListEntry] = {}
        # Of each other station: its payload, and what that says.
        self._read: dict[str, tuple[Mapping[str, Any], StationReport]] = {}
        self._began = clock.boot()
        self._was_ready = False

    def now(self) -> Now:
        """Both clocks."""
        return Now(wall=self._clock.wall(), boot=self._clock.boot())

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
        sources, profiles = self.registry.sources(), self.registry.profiles()
        instances, references = self.registry.instances(), self.registry.references()
        kinds = (sources, profiles, instances, references)
        if any(new is not old for new, old in zip(kinds, self._derived_from, strict=True)):
            self._derived_from = kinds
            self._derived = derive_mirror_list(sources, profiles, instances, references.values())
        return self._derived

    # The others.

    def peers(self) -> dict[str, tuple[bool, StationReport]]:
        """The other stations that ever reported: whether present, and the last report."""
        return {
            name: (status.is_present, self._report_of(name, status.payload))
            for name, status in self.registry.statuses().items()
            if name != self.name
        }

    def _report_of(self, name: str, payload: Mapping[str, Any]) -> StationReport:
        """Parsed once until it changes: many ask in one turn, for each source."""
        if name not in self._read or self._read[name][0] is not payload:
            self._read[name] = payload, _parse(payload)
        return self._read[name][1]

    def present_reports(self) -> dict[str, StationReport]:
        """The reports of all present stations, this one first."""
        others = {name: report for name, (is_here, report) in self.peers().items() if is_here}
        return {self.name: self.report()} | others

    def partners(self) -> frozenset[str]:
        """The present stations that share our storage, this one not among them."""
        return self.sharing.partners(self.name, self.storage.view.storage_id, self.peers())

    def reports_of_our_storage(self) -> dict[str, list[SourceReport]]:
        """By source: what the stations on our storage say. Of the same reports on each of them, in the same order."""
        here = {self.name, *self.partners()}
        return _by_source({n: r for n, r in self.present_reports().items() if n in here})

    def reports_of_all(self) -> dict[str, list[SourceReport]]:
        """By source: what all present stations say."""
        return _by_source(self.present_reports())

    def last_seen(self) -> dict[str, float]:
        """Seconds since each other station's heartbeat last moved."""
        statuses = self.registry.statuses()
        return {name: status.age_s for name, status in statuses.items() if name != self.name}

    def clock_offsets(self) -> dict[str, float]:
        """The wall clocks of the others minus ours, seconds."""
        found = {name: self._offset(name) for name in self.registry.stations()}
        return {name: offset for name, offset in found.items() if offset is not None}

    # Ourselves.

    def report(self) -> StationReport:
        """What this station says of itself."""
        is_ready, reason = self.readiness()
        storage, own = self.storage.view, self.registry.stations().get(self.name)
        known = set(self.mirror_list()) | set(storage.sources)
        return StationReport(
            is_ready=is_ready,
            is_draining=self.is_draining,
            may_write=self.has_exchanged and not self.registry.gossip.write_refusal(now=self.now()),
            reason=reason,
            storage_id=storage.storage_id,
            storage_state=storage.state.value,
            capacity=storage.capacity,
            free=storage.free,
            seen=self.sharing.word,
            sees=self.sharing.sees,
            https=own is None or health.covers(self.certificate.names() or (), own.address),
            version=__version__,
            sources={source: self.source_report(source) for source in sorted(known)},
        )

    def readiness(self) -> tuple[bool, str]:
        """Whether a balancer may send clients, and why not."""
        if self.is_draining:
            return False, "draining"
        if not self.has_exchanged:
            return False, "asking the other stations what is true now"
        if self.registry.group() is None:
            return False, "no word from the group yet"
        shown = {source: self.flips.barrier.live(source) for source in self.mirror_list()}
        refusal = health.storage_refusal(self.storage.view, shown)
        if not refusal and not self._was_ready:
            refusal = self._start_refusal(shown)
        self._was_ready = self._was_ready or not refusal
        return not refusal, refusal

    def _start_refusal(self, shown: Mapping[str, Publication | None]) -> str:
        """A station that starts gets no clients before it can open what the group shows, if that is to be had."""
        lacking = health.lacks_manifest(self.manifests_here(), shown)
        is_over = self._clock.boot() - self._began >= MANIFESTS_WAIT_S
        return f"no manifest yet of what is live of {lacking}" if lacking and not is_over else ""

    def alarms(self) -> list[str]:
        """What an operator should know now."""
        return [f"{a.code} {a.subject}: {a.detail}" for a in self.flips.barrier.alarms]

    def warnings(self) -> list[str]:
        """Where this host's configuration does not fit the group."""
        group, own = self.registry.group(), self.registry.stations().get(self.name)
        if group is None:
            return []
        address = own.address if own else ""
        names = self.certificate.names()
        found = health.certificate_warnings(names, group.hostname, address)
        found += group_warnings(group, self.registry.stations())
        return health.differences(self._config, group) + found

    def source_report(self, source: str) -> SourceReport:
        """What this station says of one source."""
        has_duty = self.flips.barrier.has_duty(source)
        return source_report(
            self.syncs.report(source),
            source,
            self.storage.view,
            next_at=self.next_looks().get(source, 0.0) if has_duty else 0.0,
            live=self.flips.barrier.live(source),
            candidate=self.flips.barrier.candidate(source),
            record=self.registry.publications().get(source),
            kept=self._kept.of(source),
            copies=self._copied(source),
        )

    def manifests_here(self) -> dict[str, dict[Revision, int]]:
        """By source: every revision that workers can look up here now, with its order."""
        storage = self.storage.view
        known = set(self.mirror_list()) | set(storage.sources)
        return {source: manifests_here(source, storage, self._copied(source)) for source in known}

    def complete_here(self, source: str) -> frozenset[Revision]:
        """The revisions of which every byte can be read here now."""
        return complete_here(source, self.storage.view)

    def source_states(self, own: StationReport) -> dict[str, SourceState]:
        """What the barrier has to know of each source; `own` is what this station says at the moment."""
        records, storage = self.records(), self.storage.view
        return {
            source: source_state(
                source,
                records.sources.get(source),
                records.publications.get(source),
                storage,
                said,
                self.syncs.last_look(source),
                self._kept.of(source),
            )
            for source, said in own.sources.items()
        }

    def view(self, peers: Peers) -> View:
        """One look at the world, for the barrier and for the skew."""
        statuses = self.registry.statuses()
        # We are there whatever the registry says: it may not have our record yet, or no more.
        own = self.report()
        members = [own_member(self.name, own)]
        for name in self.registry.stations():
            if name == self.name:
                continue
            if name in peers:
                age, offset = statuses[name].age_s, self._offset(name)
                members.append(other_member(name, peers[name][1], age, offset))
            else:
                members.append(other_member(name, StationReport(), float("inf"), None))
        return View(self.name, tuple(members), self.source_states(own))

    def _copied(self, source: str) -> dict[Revision, int]:
        copies = self.copies.of(source)
        if not copies:
            return {}
        record, kept = self.registry.publications().get(source), self._kept.of(source)
        publications = [kept] if kept else []
        if record:
            publications.append(Publication(record.number, record.order, Revision(record.revision)))
        others = [r.sources[source] for _, r in self.peers().values() if source in r.sources]
        return orders_known(copies, self.storage.view, source, publications, others)

    def _offset(self, name: str) -> float | None:
        """A peer's wall clock minus ours, unless the measurement is too rough to set a flip by."""
        measured = self.registry.offset(name)
        is_good = measured is not None and measured[1] <= OFFSET_ERROR_MAX_S
        return measured[0] if measured and is_good else None


def _by_source(said: Mapping[str, StationReport]) -> dict[str, list[SourceReport]]:
    sources = {source for report in said.values() for source in report.sources}
    return {
        source: [said[n].sources[source] for n in sorted(said) if source in said[n].sources]
        for source in sources
    }


def _parse(payload: Mapping[str, Any]) -> StationReport:
    try:
        return StationReport.from_wire(dict(payload))
    except (ValueError, TypeError, KeyError):
        return StationReport(reason="its report cannot be read here")
