"""The order that a sync child gets: one JSON line. Plain dataclasses: the child loads no pydantic."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Literal, Self

from station.model.identity import Revision, SourceId, StationName
from station.repo.checksum import Checksum
from station.repo.plan import Wanted
from station.sync.egress import host_and_port
from station.sync.failure import SyncFailed
from station.sync.limits import Limits

OBJECTS_MAX = 100_000  # of one fill order; a fill is normally one object
KINDS = ("sync", "copy", "manifest", "fill", "relay")


@dataclass(frozen=True, slots=True)
class Peer:
    """A station of the group: its name and `https://ADDRESS:17946`."""

    name: str
    url: str


@dataclass(frozen=True, slots=True)
class PeerTls:
    """PEM files: our peer certificate, its key, and the only anchor for theirs."""

    cert: str
    key: str
    ca: str


@dataclass(frozen=True, slots=True)
class Order:
    """One job.

    `kind` "sync": bring the source up to date from upstream; "copy": take the whole of `revision` from the peers;
    "manifest": its metadata only; "fill": the file `path` of `revision` (or of `live`), or `objects`, now. With a
    storage that takes nothing (`is_away`) the manifest goes to the state directory; "relay" then stands for "fill":
    the way to files of the peers.
    """

    kind: Literal["sync", "copy", "manifest", "fill", "relay"]
    source: SourceId
    url: str  # ends with a slash
    storage: Path
    station: StationName
    state: Path  # what this station alone remembers
    gpgkey: str = ""
    is_repo_gpg_check_enabled: bool = False
    is_sslverify_enabled: bool = True
    tolerate_missing: int = 0
    peers: tuple[Peer, ...] = ()
    peer_tls: PeerTls | None = None
    live: Revision | None = None
    allow_rollback: bool = False
    floor_bytes: int | None = None  # stay free on the storage; None: the storage's own floor
    accepted_order: int = 0  # of what was ever live; an older one is a rollback
    objects: tuple[Wanted, ...] = ()
    path: str = ""
    is_away: bool = False
    revision: Revision | None = None
    limits: Limits = field(default_factory=Limits)

    @classmethod
    def parse(cls, line: str | bytes) -> Self:
        """The order in one line of JSON. Raises SyncFailed "job" naming what is wrong with it."""
        try:
            wire = json.loads(line)
            return cls._from_wire(wire)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            what = f"{type(error).__name__}: {error}"
            raise SyncFailed("job", f"the order is malformed: {what}", retriable=False) from error

    @classmethod
    def _from_wire(cls, wire: Mapping[str, Any]) -> Self:
        kind = wire["kind"]
        if kind not in KINDS:
            raise ValueError(f"kind {kind!r}: one of {', '.join(KINDS)}")
        source = wire["source"]
        host_and_port(source["url"])
        tls = wire.get("peer_tls")
        return cls(
            kind=kind,
            source=SourceId.parse(source["id"]),
            url=source["url"].rstrip("/") + "/",
            storage=Path(wire["storage"]),
            station=StationName.parse(wire["station"]),
            state=Path(wire["state"]),
            gpgkey=source.get("gpgkey", ""),
            is_repo_gpg_check_enabled=bool(source.get("is_repo_gpg_check_enabled", False)),
            is_sslverify_enabled=bool(source.get("is_sslverify_enabled", True)),
            tolerate_missing=int(source.get("tolerate_missing", 0)),
            peers=tuple(
                Peer(peer["name"], _peer_url(peer["url"])) for peer in wire.get("peers", ())
            ),
            peer_tls=PeerTls(tls["cert"], tls["key"], tls["ca"]) if tls else None,
            live=_revision(wire.get("live")),
            allow_rollback=bool(wire.get("allow_rollback", False)),
            floor_bytes=int(wire["floor_bytes"]) if "floor_bytes" in wire else None,
            accepted_order=int(wire.get("order", 0)),
            objects=_objects(wire.get("objects", ())),
            path=str(wire.get("path", "")),
            is_away=bool(wire.get("is_away", False)),
            revision=_revision(wire.get("revision")),
            limits=_limits(wire.get("limits", {})),
        ).checked()

    def checked(self) -> Self:
        """Itself. Raises ValueError for a kind without what it is about."""
        if self.kind in ("copy", "manifest", "relay") and self.revision is None:
            raise ValueError(f"{self.kind} without a revision")
        if self.kind == "fill" and not (self.path or self.objects):
            raise ValueError("fill without a path or objects")
        return self


def _revision(text: str | None) -> Revision | None:
    return Revision.parse(text) if text else None


def _peer_url(url: str) -> str:
    host_and_port(url)
    return url.rstrip("/")


def _objects(rows: Any) -> tuple[Wanted, ...]:
    if len(rows) > OBJECTS_MAX:
        raise ValueError(f"{len(rows)} objects, at most {OBJECTS_MAX}")
    found = []
    for row in rows:
        sha256 = Revision.parse(row["sha256"])  # the same 64 digits
        found.append(Wanted(str(row["path"]), Checksum("sha256", str(sha256)), int(row["size"]), 0))
    return tuple(found)


def _limits(wire: Mapping[str, Any]) -> Limits:
    known = {row.name for row in fields(Limits)}
    if not known.issuperset(wire):
        raise ValueError(f"unknown limits {sorted(set(wire) - known)}")
    return Limits(**wire)
