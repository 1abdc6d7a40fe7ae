"""What a request changes in the registry: records in, one durable step of changes out. No I/O.

Deleting a record takes its references with it, in the same step, so that no station ever sees one without the other.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from station.model.records import (
    FORMER_HOSTNAMES_MAX,
    RECORDS,
    GroupRecord,
    InstanceRecord,
    Kind,
    ProfileRecord,
    PublicationRecord,
    Record,
    ReferenceRecord,
    SourceRecord,
    StationRecord,
)
from station.peering.changes import Change

# A profile of more is a mistake in a script; the largest vendor catalogues have some hundreds.
SOURCES_PER_HOLDER_MAX = 2000


class BadChange(Exception):
    """The request cannot be carried out. Nothing was changed. `field` names what is wrong."""

    def __init__(self, status: int, code: str, message: str, field: str = "") -> None:
        super().__init__(message)
        self.status, self.code, self.field = status, code, field


@dataclass(frozen=True, slots=True)
class Records:
    """The registry's records as they are now."""

    group: GroupRecord | None
    stations: Mapping[str, StationRecord]
    sources: Mapping[str, SourceRecord]
    profiles: Mapping[str, ProfileRecord]
    instances: Mapping[str, InstanceRecord]
    references: Mapping[str, ReferenceRecord]
    publications: Mapping[str, PublicationRecord]

    def of(self, kind: Kind) -> Mapping[str, Record]:
        """The records of one kind, by key."""
        table: dict[Kind, Mapping[str, Record]] = {
            Kind.STATION: self.stations,
            Kind.SOURCE: self.sources,
            Kind.PROFILE: self.profiles,
            Kind.INSTANCE: self.instances,
            Kind.REFERENCE: self.references,
            Kind.PUBLICATION: self.publications,
        }
        return table[kind]

    def sources_of(self, holder_kind: str, holder: str) -> list[str]:
        """The sources a profile or an instance refers to, sorted."""
        return sorted(
            r.source
            for r in self.references.values()
            if r.holder_kind == holder_kind and r.holder == holder
        )


def create(records: Records, kind: Kind, body: Mapping[str, Any]) -> list[Change]:
    """A new source, profile or instance; the latter two with `sources`. Raises BadChange."""
    fields = dict(body)
    wanted = fields.pop("sources", []) if kind in (Kind.PROFILE, Kind.INSTANCE) else []
    record = parse(kind, fields)
    key = _key_of(record)
    if key in records.of(kind):
        raise BadChange(
            409, "exists", f"{kind} {key} exists already; delete it first or choose another name"
        )
    changes = [Change.put(kind, key, record)]
    if isinstance(record, ProfileRecord | InstanceRecord):
        _require_station(records, record.station)
        changes += _refer(records, kind, key, _source_list(wanted))
    return changes


def update(records: Records, kind: Kind, key: str, body: Mapping[str, Any]) -> list[Change]:
    """Some fields of a record; `sources` replaces the whole list of a profile or instance."""
    old = existing(records, kind, key)
    fields = dict(body)
    wanted = fields.pop("sources", None) if kind in (Kind.PROFILE, Kind.INSTANCE) else None
    record = parse(kind, {**old.model_dump(mode="json"), **fields})
    if _key_of(record) != key:
        raise BadChange(400, "key", f"{kind} {key} cannot be renamed", "name")
    changes = [Change.put(kind, key, record)]
    if isinstance(record, ProfileRecord | InstanceRecord):
        _require_station(records, record.station)
        if wanted is not None:
            keep = _source_list(wanted)
            changes += _refer(records, kind, key, keep)
            changes += _unrefer(records, lambda r: _holds(r, kind, key) and r.source not in keep)
    return changes


def delete(records: Records, kind: Kind, key: str) -> list[Change]:
    """Delete a record and every reference from or to it. Raises BadChange."""
    existing(records, kind, key)
    changes = [Change.delete(kind, key)]
    if kind is Kind.SOURCE:
        changes += _unrefer(records, lambda r: r.source == key)
    else:
        changes += _unrefer(records, lambda r: _holds(r, kind, key))
    return changes


def forget_station(records: Records, name: str, move_to: str | None) -> list[Change]:
    """Remove a station; its profiles and instances move to `move_to` in the same step."""
    existing(records, Kind.STATION, name)
    holders: list[tuple[Kind, str, Record]] = [
        (kind, key, record)
        for kind in (Kind.PROFILE, Kind.INSTANCE)
        for key, record in records.of(kind).items()
        if getattr(record, "station", None) == name
    ]
    if holders and move_to is None:
        listed = ", ".join(f"{kind} {key}" for kind, key, _ in holders[:20])
        raise BadChange(
            409, "referenced", f"station {name} is referred to by {listed}; give --move-to STATION"
        )
    changes = [Change.delete(Kind.STATION, name)]
    if move_to is not None:
        _require_station(records, move_to)
        if move_to == name:
            raise BadChange(400, "station", f"{name} is the station to be removed", "move_to")
        changes += [
            Change.put(kind, key, record.model_copy(update={"station": move_to}))
            for kind, key, record in holders
        ]
    return changes


def switch_instances(records: Records, body: Mapping[str, Any]) -> list[Change]:
    """Instances refer to the station `to` from now on; what refers to it already is not written again.

    Which: `instances` (a list of ids), `from` (a station), `profile`; those that all of the given ones hold for.
    Raises BadChange, and then none is switched.
    """
    unknown = set(body) - {"to", "instances", "from", "profile"}
    to, ids = body.get("to"), body.get("instances")
    if unknown or not isinstance(to, str) or not set(body) - {"to"}:
        raise BadChange(
            400, "invalid", "give `to`, and at least one of `instances`, `from`, `profile`", "to"
        )
    _require_station(records, to)
    if ids is not None and (not isinstance(ids, list) or not all(isinstance(i, str) for i in ids)):
        raise BadChange(400, "invalid", "instances: expected a list of ids", "instances")
    if "profile" in body:
        existing(records, Kind.PROFILE, str(body["profile"]))
    for instance in ids or ():
        existing(records, Kind.INSTANCE, instance)
    wanted = set(records.instances if ids is None else ids)
    return [
        Change.put(Kind.INSTANCE, key, record.model_copy(update={"station": to}))
        for key, record in sorted(records.instances.items())
        if key in wanted
        and record.station == body.get("from", record.station) != to
        and record.profile == body.get("profile", record.profile)
    ]


def update_group(records: Records, body: Mapping[str, Any], now: float) -> GroupRecord:
    """The group under another hostname or compartment, or with other times. Raises BadChange, also for ports.

    The old name is kept: certificates of the group's CA are good for both. `now`: wall clock, seconds.
    """
    if records.group is None:
        raise BadChange(503, "starting", "no word from the group yet; try again")
    unknown = set(body) - {"hostname", "compartment", "age_out_days", "sync_every_h", "ports"}
    if unknown or not body:
        raise BadChange(
            400,
            "invalid",
            "only hostname, compartment, ports, age_out_days and sync_every_h of a running group can change",
            "ports",
        )
    old, wire = records.group, records.group.model_dump(mode="json")
    ports = body.get("ports", {})
    fields = {**wire, **body, "ports": wire["ports"] | ports if isinstance(ports, dict) else ports}
    changed = parse(Kind.GROUP, fields)
    assert isinstance(changed, GroupRecord)
    _require_served(old, changed, records.stations)
    if not changed.hostname or not changed.compartment:
        raise BadChange(400, "invalid", "neither may be empty", "hostname")
    if changed.hostname == old.hostname:
        return changed
    former = [h for h in (*old.former_hostnames, old.hostname) if h != changed.hostname]
    names = tuple(former[-FORMER_HOSTNAMES_MAX:])
    return changed.model_copy(update={"former_hostnames": names, "renamed_at": now})


def _require_served(
    old: GroupRecord, new: GroupRecord, stations: Mapping[str, StationRecord]
) -> None:
    """Instances are told of a port only when every station serves it, beside the old one."""
    for kind in ("proxy", "http", "https"):
        port = getattr(new.ports, kind)
        if port == getattr(old.ports, kind):
            continue
        lacking = [n for n, r in sorted(stations.items()) if port not in getattr(r.serves, kind)]
        if lacking:
            key = {"proxy": "proxy.more_ports", "http": "mirror.more_ports"}
            raise BadChange(
                409,
                "not_served",
                f"port {port} for {kind} is not served yet by {', '.join(lacking)}: add it to "
                f"{key.get(kind, 'mirror.more_sslports')} in their files and restart them, one after the other",
                kind,
            )


def station_facts(records: Records, name: str) -> dict[str, Any]:
    """What a station's record lacks of the picture: the group's part, its peers, and who refers to it."""
    group = records.group
    shared = group.model_dump(mode="json", exclude={"id"}) if group else {}
    return shared | {
        "peers": sorted(set(records.stations) - {name}),
        "profiles": sorted(k for k, r in records.profiles.items() if r.station == name),
        "instances": sorted(k for k, r in records.instances.items() if r.station == name),
    }


def existing(records: Records, kind: Kind, key: str) -> Record:
    """The record, or BadChange 404 naming what there is."""
    found = records.of(kind).get(key)
    if found is None:
        known = ", ".join(sorted(records.of(kind))[:10]) or "none"
        raise BadChange(404, "unknown", f"no {kind} {key!r}; there is: {known}")
    return found


def parse(kind: Kind, fields: Mapping[str, Any]) -> Record:
    """Validated fields, or BadChange with every problem in one text."""
    try:
        return RECORDS[kind].model_validate(fields)
    except ValidationError as error:
        problems = error.errors(include_url=False, include_context=False)
        text = "; ".join(
            f"{'.'.join(str(part) for part in p['loc'])}: {p['msg']}"
            + (f", got {str(p['input'])[:80]!r}" if p["type"] != "missing" else "")
            for p in problems
        )
        raise BadChange(400, "invalid", f"{kind}: {text}", str(problems[0]["loc"][0])) from None


def _key_of(record: Record) -> str:
    return str(getattr(record, "id", None) or getattr(record, "name", ""))


def _require_station(records: Records, name: str) -> None:
    if name not in records.stations:
        known = ", ".join(sorted(records.stations))
        raise BadChange(
            400, "station", f"no station {name!r} in this group; there is: {known}", "station"
        )


def _source_list(wanted: Any) -> list[str]:
    if not isinstance(wanted, list) or not all(isinstance(s, str) for s in wanted):
        raise BadChange(400, "invalid", "sources: expected a list of source ids", "sources")
    if len(wanted) > SOURCES_PER_HOLDER_MAX:
        raise BadChange(400, "invalid", f"sources: more than {SOURCES_PER_HOLDER_MAX}", "sources")
    return wanted


def _refer(records: Records, kind: Kind, holder: str, sources: Sequence[str]) -> list[Change]:
    changes: list[Change] = []
    for source in dict.fromkeys(sources):
        existing(records, Kind.SOURCE, source)
        reference = ReferenceRecord.model_validate(
            {"holder_kind": kind.value, "holder": holder, "source": source}
        )
        if reference.key not in records.references:
            changes.append(Change.put(Kind.REFERENCE, reference.key, reference))
    return changes


def _unrefer(records: Records, is_gone: Any) -> list[Change]:
    return [
        Change.delete(Kind.REFERENCE, key) for key, r in records.references.items() if is_gone(r)
    ]


def _holds(reference: ReferenceRecord, kind: Kind, holder: str) -> bool:
    return reference.holder_kind == kind.value and reference.holder == holder
