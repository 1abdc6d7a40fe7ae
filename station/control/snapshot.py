"""What the workers are told, put together from the registry, the storage and the barrier. Pure."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from itertools import chain, zip_longest
from urllib.parse import urlsplit

from station.control.changes import Records
from station.control.own_report import complete_here
from station.control.storage_view import StorageView
from station.model.identity import Revision
from station.model.mirror_list import MirrorListEntry
from station.model.publication import Publication
from station.model.report import StationReport
from station.model.snapshot import MemberView, Snapshot, SourceView

# A worker waits for the manifests of these before it says 404: what stations differ in, not their whole history.
ANNOUNCED_MAX = 32


@dataclass(frozen=True, slots=True)
class Shown:
    """What the barrier has decided to show of one source."""

    live: Publication | None = None
    next: Publication | None = None
    flip_at: float = 0.0  # boot clock


@dataclass(frozen=True, slots=True)
class OwnFacts:
    """What this station knows of itself alone."""

    station: str
    ca_pem: str
    proxy_hosts: tuple[str, ...]
    proxy_destinations: tuple[str, ...]  # configured; empty: derived
    is_ready: bool
    reason: str
    https: bool = True  # the public certificate covers this station's own address


def build_snapshot(
    own: OwnFacts,
    records: Records,
    mirror_list: Mapping[str, MirrorListEntry],
    storage: StorageView,
    manifests: Mapping[str, Collection[Revision]],
    shown: Mapping[str, Shown],
    peers: Mapping[str, tuple[bool, StationReport]],
) -> Snapshot:
    """One picture. `manifests`: those that workers can open, by source, on the storage or as copies on the local disk.

    `peers`: name → (is present, last report), without this station.
    """
    assert records.group is not None, "a station without a group does not start"
    known = sorted(set(mirror_list) | set(storage.sources) | set(shown))
    return Snapshot(
        is_ready=own.is_ready,
        reason=own.reason,
        station=own.station,
        hostname=records.group.hostname,
        former_hostnames=records.group.former_hostnames,
        port_proxy=records.group.ports.proxy,
        port_http=records.group.ports.http,
        port_https=records.group.ports.https,
        storage_id=storage.storage_id,
        sources={
            s: _source(
                s,
                records,
                storage,
                manifests.get(s, ()),
                shown.get(s, Shown()),
                _retained(s, peers),
            )
            for s in known
        },
        listed=frozenset(mirror_list),
        frozen={
            name: {source: Revision(revision) for source, revision in profile.frozen.items()}
            for name, profile in records.profiles.items()
            if profile.frozen
        },
        profiles=frozenset(records.profiles),
        members=_members(own, records, peers),
        ca_pem=own.ca_pem,
        proxy_hosts=own.proxy_hosts,
        proxy_destinations=own.proxy_destinations or _upstreams(mirror_list),
    )


def _source(
    source: str,
    records: Records,
    storage: StorageView,
    manifests: Collection[Revision],
    shown: Shown,
    retained: Iterable[Revision],
) -> SourceView:
    here = set(manifests)
    named = dict.fromkeys(p.revision for p in (shown.live, shown.next) if p)
    if publication := records.publications.get(source):
        named[Revision(publication.revision)] = None
    named |= dict.fromkeys(retained)
    record = records.sources.get(source)
    return SourceView(
        live=shown.live,
        next=shown.next,
        flip_at=shown.flip_at,
        revisions=tuple(sorted(here)),
        announced=tuple(revision for revision in named if revision not in here)[:ANNOUNCED_MAX],
        key=record.gpgkey if record else "",
        is_complete=shown.live is not None
        and shown.live.revision in complete_here(source, storage),
    )


def _retained(source: str, peers: Mapping[str, tuple[bool, StationReport]]) -> dict[Revision, None]:
    """What present stations showed before and can still answer from, newest first, the stations by turns."""
    told = [
        report.sources[source].retained
        for is_present, report in peers.values()
        if is_present and source in report.sources
    ]
    by_turns = chain.from_iterable(zip_longest(*told))
    return dict.fromkeys(revision for revision in by_turns if revision is not None)


def _members(
    own: OwnFacts, records: Records, peers: Mapping[str, tuple[bool, StationReport]]
) -> tuple[MemberView, ...]:
    views = []
    for name, record in sorted(records.stations.items(), key=lambda item: item[0] != own.station):
        is_present, report = peers.get(name, (False, StationReport()))
        is_ready = own.is_ready if name == own.station else is_present and report.is_ready
        https = own.https if name == own.station else report.https
        views.append(MemberView(name, record.address, is_ready, https))
    return tuple(views)


def _upstreams(mirror_list: Mapping[str, MirrorListEntry]) -> tuple[str, ...]:
    found = set()
    for entry in mirror_list.values():
        url = urlsplit(entry.source.url)
        host = f"[{url.hostname}]" if ":" in str(url.hostname) else url.hostname
        found.add(f"{host}:{url.port or (443 if url.scheme == 'https' else 80)}")
    return tuple(sorted(found))
