"""Instances that fell silent for good: after a grace their references keep nothing mirrored any more. Pure.

Last-seen times are kept for a day only, so that an instance was not seen in a day is written down: the settings record
`silent:ID`, with the time. When the group's grace has passed since then, its references go, and the record keeps
them; the instance itself stays, UNREACHABLE, until a person deletes it. Once it is seen again it gets them back.
Instances that a person recorded and that never registered are never silent.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Self

from station.control.changes import Records
from station.model.last_seen import BUCKET_S, KEPT_BUCKETS, seen_at
from station.model.records import Kind, ReferenceRecord
from station.peering.changes import Change

KEY_PREFIX = "silent:"
# Last-seen times are kept so long: whoever listened for less cannot say that nobody was heard.
UNSEEN_S = BUCKET_S * KEPT_BUCKETS


@dataclass(frozen=True, slots=True)
class Silent:
    """Not seen since `at` (wall clock, seconds) or longer; `sources`: what it referred to, once that was taken."""

    instance: str
    at: float
    sources: tuple[str, ...] = ()

    @classmethod
    def parse(cls, key: str, value: object) -> Self | None:
        """From the settings; None for what is no such record."""
        match value:
            case {"at": float() | int() as at, "sources": list(sources)}:
                if key.startswith(KEY_PREFIX):
                    return cls(key.removeprefix(KEY_PREFIX), float(at), tuple(map(str, sources)))
        return None

    @property
    def key(self) -> str:
        """Its key among the settings."""
        return KEY_PREFIX + self.instance

    def change(self) -> Change:
        """To be written to the registry."""
        value: dict[str, Any] = {"at": self.at, "sources": list(self.sources)}
        return Change(Kind.SETTINGS, self.key, value)


def silence_changes(
    records: Records,
    settings: Mapping[str, object],
    marks: Mapping[bytes, int],
    *,
    grace_s: float,
    listening_since: float,
    now: float,
) -> list[Change]:
    """What the registry has to be told of who is silent, who came back, and whose grace is over.

    `marks`: last-seen times of all stations, every one of which must be present. `grace_s`: 0 for never. Times wall
    clock, seconds.
    """
    parsed = (Silent.parse(key, value) for key, value in settings.items())
    known = {silent.instance: silent for silent in parsed if silent}
    changes: list[Change] = []
    for instance, silent in sorted(known.items()):
        if instance not in records.instances:
            changes.append(Change.delete(Kind.SETTINGS, silent.key))
        elif seen_at(marks, instance, now) is not None:
            changes += _back(records, silent)
    can_tell = now - listening_since >= UNSEEN_S
    for instance, record in sorted(records.instances.items()):
        is_machine = bool(record.secret_digest) and now - record.registered_at >= UNSEEN_S
        if not can_tell or not is_machine or seen_at(marks, instance, now) is not None:
            continue
        changes += _silent(records, known.get(instance, Silent(instance, now)), known, grace_s, now)
    return changes


def _silent(
    records: Records, silent: Silent, known: Mapping[str, Silent], grace_s: float, now: float
) -> list[Change]:
    sources = records.sources_of("instance", silent.instance)
    if grace_s and sources and now >= silent.at + grace_s:
        kept = replace(silent, sources=tuple(sorted({*silent.sources, *sources})))
        return [kept.change(), *(_reference(silent.instance, s, is_there=False) for s in sources)]
    return [] if silent.instance in known else [silent.change()]


def _back(records: Records, silent: Silent) -> list[Change]:
    """Its references again, as far as the sources are still known."""
    again = [source for source in silent.sources if source in records.sources]
    return [
        Change.delete(Kind.SETTINGS, silent.key),
        *(_reference(silent.instance, source, is_there=True) for source in again),
    ]


def _reference(instance: str, source: str, *, is_there: bool) -> Change:
    record = ReferenceRecord(holder_kind="instance", holder=instance, source=source)
    if is_there:
        return Change.put(Kind.REFERENCE, record.key, record)
    return Change.delete(Kind.REFERENCE, record.key)
