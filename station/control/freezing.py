"""Freezing and unfreezing as changes of the registry. Pure.

A source's freeze holds what the whole group shows; a profile's freeze is its own mirrorlist, pinned.
"""

from collections.abc import Collection, Mapping
from typing import Any

from station.control.changes import BadChange, Records, existing, parse
from station.model.identity import InvalidName, Revision
from station.model.records import Kind, ProfileRecord, Record
from station.peering.changes import Change


def freeze_source(
    records: Records,
    source: str,
    body: Mapping[str, Any],
    *,
    live: Revision | None,
    held: Collection[Revision],
    wall: float,
) -> list[Change]:
    """`{"until": wall seconds or null, "revision": R or null}`; without a revision, what is live stays.

    `held`: the revisions whose manifest some present station has. Raises BadChange.
    """
    record = existing(records, Kind.SOURCE, source)
    _only(body, {"until", "revision"})
    until, revision = body.get("until"), body.get("revision")
    if until is not None and (not isinstance(until, int | float) or until <= wall):
        raise BadChange(400, "until", "until: expected a time to come, in seconds", "until")
    if revision:
        _require_held(source, revision, held)
    elif live is None:
        raise BadChange(409, "unpublished", f"{source} has no revision to hold yet; sync it first")
    fields = {
        "is_frozen": True,
        "frozen_revision": str(revision) if revision else None,
        "frozen_until": until,
    }
    return [_changed(Kind.SOURCE, source, record, fields)]


def unfreeze_source(records: Records, source: str) -> list[Change]:
    """Let it follow its upstream again. Raises BadChange."""
    record = existing(records, Kind.SOURCE, source)
    fields = {"is_frozen": False, "frozen_revision": None, "frozen_until": None}
    return [_changed(Kind.SOURCE, source, record, fields)]


def freeze_profile(
    records: Records,
    profile: str,
    body: Mapping[str, Any],
    *,
    live: Mapping[str, Revision],
    held: Mapping[str, Collection[Revision]],
) -> list[Change]:
    """`{"source": ID or null, "revision": R or null}`; default: all its sources, at what is live. Raises BadChange."""
    record = existing(records, Kind.PROFILE, profile)
    assert isinstance(record, ProfileRecord), "of this kind"
    _only(body, {"source", "revision"})
    source, revision = body.get("source"), body.get("revision")
    sources = records.sources_of("profile", profile)
    if source is not None and source not in sources:
        raise BadChange(
            409, "source", f"profile {profile} does not refer to source {source!r}", "source"
        )
    if revision and source is None:
        raise BadChange(400, "source", "a revision is of one source: name it", "source")
    frozen = dict(record.frozen)
    for one in sources if source is None else [source]:
        if revision:
            _require_held(one, revision, held.get(one, ()))
        elif one not in live:
            raise BadChange(409, "unpublished", f"{one} has no revision to hold yet; sync it first")
        frozen[one] = revision or live[one]
    return [_changed(Kind.PROFILE, profile, record, {"frozen": frozen})]


def unfreeze_profile(records: Records, profile: str, body: Mapping[str, Any]) -> list[Change]:
    """`{"source": ID or null}`; default: all. Raises BadChange."""
    record = existing(records, Kind.PROFILE, profile)
    assert isinstance(record, ProfileRecord), "of this kind"
    _only(body, {"source"})
    source = body.get("source")
    keep = {one: at for one, at in record.frozen.items() if source is not None and one != source}
    return [_changed(Kind.PROFILE, profile, record, {"frozen": keep})]


def _changed(kind: Kind, key: str, record: Record, fields: Mapping[str, Any]) -> Change:
    return Change.put(kind, key, parse(kind, {**record.model_dump(mode="json"), **fields}))


def _only(body: Mapping[str, Any], known: Collection[str]) -> None:
    unknown = sorted(set(body) - set(known))
    if unknown:
        raise BadChange(400, "invalid", f"{unknown[0]}: no such field", unknown[0])


def _require_held(source: str, revision: object, held: Collection[Revision]) -> None:
    try:
        wanted = Revision.parse(str(revision))
    except InvalidName as error:
        raise BadChange(400, "invalid", f"revision: {error}", "revision") from None
    if wanted not in held:
        known = ", ".join(sorted(one[:12] for one in held)[:5]) or "none"
        raise BadChange(
            409,
            "revision",
            f"no station has revision {wanted[:12]} of {source}; there is: {known}",
            "revision",
        )
