"""What control tells the workers: one immutable picture, sent whole. Plain dataclasses: workers load no pydantic.

A worker answers mutable names (repomd.xml, .asc, .key, mirrorlist) from the newest snapshot, and flips to `next`
by its own boot clock at `flip_at` without being told again.
"""

from dataclasses import asdict, dataclass, field
from typing import Any

from station.model.identity import Revision
from station.model.publication import Publication


@dataclass(frozen=True, slots=True)
class SourceView:
    """One source as workers serve it."""

    live: Publication | None = None
    next: Publication | None = None
    flip_at: float = 0.0  # boot-clock seconds at which `next` becomes live
    revisions: tuple[
        Revision, ...
    ] = ()  # every revision with a manifest here: live, retained, staged, frozen
    key: str = ""  # armoured OpenPGP key served under /keys/<source>
    announced: tuple[
        Revision, ...
    ] = ()  # revisions that the registry or a peer names and whose manifest is not here yet, newest first
    is_complete: bool = False  # every byte of `live` is on the storage


@dataclass(frozen=True, slots=True)
class MemberView:
    """A station that mirrorlist clients may be sent to."""

    name: str
    address: str
    is_ready: bool = True
    https: bool = True  # its public certificate covers its address


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Everything a worker knows of the world."""

    number: int = 0
    is_ready: bool = False
    reason: str = "starting"  # why not ready, for /health/ready
    station: str = ""
    hostname: str = ""
    former_hostnames: tuple[str, ...] = ()
    port_proxy: int = 16080
    port_http: int = 17080
    port_https: int = 17443
    storage_id: str = ""
    # On the mirror list, or still retained.
    sources: dict[str, SourceView] = field(default_factory=dict)
    listed: frozenset[str] = frozenset()  # on the mirror list now
    # Profile → source → revision.
    frozen: dict[str, dict[str, Revision]] = field(default_factory=dict)
    profiles: frozenset[str] = frozenset()
    members: tuple[MemberView, ...] = ()  # this station first
    ca_pem: str = ""
    proxy_destinations: tuple[
        str, ...
    ] = ()  # effective: configured, or upstreams of the mirrored sources
    proxy_hosts: tuple[str, ...] = ()

    def other_ready_members(self) -> int:
        """How many other stations could answer instead of this one."""
        return sum(m.is_ready for m in self.members if m.name != self.station)


def to_wire(snapshot: Snapshot) -> dict[str, Any]:
    """The snapshot as JSON values."""
    wire = asdict(snapshot)
    wire["listed"] = sorted(snapshot.listed)
    wire["profiles"] = sorted(snapshot.profiles)
    return wire


def from_wire(wire: dict[str, Any]) -> Snapshot:
    """The inverse of to_wire. Raises KeyError, TypeError or ValueError on anything else."""
    fields = dict(wire)
    fields["sources"] = {key: _source_view(value) for key, value in wire["sources"].items()}
    fields["listed"] = frozenset(wire["listed"])
    fields["profiles"] = frozenset(wire["profiles"])
    fields["frozen"] = {
        profile: {source: Revision.parse(revision) for source, revision in frozen.items()}
        for profile, frozen in wire["frozen"].items()
    }
    fields["members"] = tuple(MemberView(**member) for member in wire["members"])
    for name in ("former_hostnames", "proxy_destinations", "proxy_hosts"):
        fields[name] = tuple(wire[name])
    return Snapshot(**fields)


def _source_view(wire: dict[str, Any]) -> SourceView:
    return SourceView(
        live=_publication(wire["live"]),
        next=_publication(wire["next"]),
        flip_at=float(wire["flip_at"]),
        revisions=tuple(Revision(r) for r in wire["revisions"]),
        key=wire["key"],
        announced=tuple(Revision(r) for r in wire["announced"]),
        is_complete=bool(wire["is_complete"]),
    )


def _publication(wire: dict[str, Any] | None) -> Publication | None:
    if wire is None:
        return None
    return Publication(wire["number"], wire["order"], Revision.parse(wire["revision"]))
