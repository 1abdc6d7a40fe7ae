"""What a station says of itself to its peers, many times a minute: never persisted, only the owner writes it."""

from dataclasses import asdict, dataclass, field
from typing import Any, Self

from station.model.identity import Revision
from station.model.publication import Publication


@dataclass(frozen=True, slots=True)
class SourceReport:
    """One source on one station."""

    live: Publication | None = None
    greatest: int = 0  # greatest publication number its storage or registry ever saw
    revisions: dict[Revision, int] = field(default_factory=dict)  # with a manifest there → order
    complete: frozenset[Revision] = frozenset()  # every byte there
    retained: tuple[
        Revision, ...
    ] = ()  # with a manifest there, once live and now not, newest first
    candidate: str = ""  # revision that its barrier prepares
    activity: str = ""  # "", queued, syncing
    bytes_done: int = 0
    bytes_total: int = 0
    upstream: str = ""  # revision last seen upstream
    checked_at: float = 0.0  # wall time of the last good look at upstream, seconds
    checked: str = ""  # revision that this look found
    next_at: float = (
        0.0  # wall time of the next look, where this station has the duty; 0: another one looks
    )
    # Wall time of the last wish for a sync, by an operator on that station.
    requested_at: float = 0.0
    error: str = ""  # why the last run failed: `code: detail`


@dataclass(frozen=True, slots=True)
class StationReport:
    """One station."""

    is_ready: bool = False
    is_draining: bool = False
    may_write: bool = False  # its registry accepts its writes
    reason: str = ""
    storage_id: str = ""
    storage_state: str = ""
    capacity: int = 0
    free: int = 0
    seen: str = ""  # the word it wrote into its storage last, to recognise shared storage
    sees: tuple[str, ...] = ()  # stations whose newest words it found on its storage
    https: bool = True  # its public certificate covers its own address
    version: str = ""
    sources: dict[str, SourceReport] = field(default_factory=dict)

    def to_wire(self) -> dict[str, Any]:
        """As JSON values."""
        wire = asdict(self)
        wire["sees"] = list(self.sees)
        for source in wire["sources"].values():
            source["complete"] = sorted(source["complete"])
        return wire

    @classmethod
    def from_wire(cls, wire: dict[str, Any]) -> Self:
        """The inverse, lenient: what an older or newer station does not say or says more keeps its default.

        Raises ValueError, TypeError or KeyError on nonsense.
        """
        known = {name: wire[name] for name in cls.__dataclass_fields__ if name in wire}
        known["sees"] = tuple(str(name) for name in wire.get("sees", ()))
        known["sources"] = {key: _source(value) for key, value in wire.get("sources", {}).items()}
        return cls(**known)


def _source(wire: dict[str, Any]) -> SourceReport:
    known = {name: wire[name] for name in SourceReport.__dataclass_fields__ if name in wire}
    live = wire.get("live")
    known["live"] = (
        Publication(live["number"], live["order"], Revision.parse(live["revision"]))
        if live
        else None
    )
    known["complete"] = frozenset(Revision.parse(r) for r in wire.get("complete", ()))
    known["retained"] = tuple(Revision.parse(r) for r in wire.get("retained", ()))
    known["revisions"] = {Revision.parse(r): int(o) for r, o in wire.get("revisions", {}).items()}
    return SourceReport(**known)
