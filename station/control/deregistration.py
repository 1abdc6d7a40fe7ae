"""How an instance is deleted: at once, or once it has put back the .repo files that were there before it. Pure.

One that registered by itself is asked to: the settings record `deleting:ID` says so, at its next check-in it hears of
it, puts its files back and deregisters. What it referred to is let go at once. The mark is a record of its own, so
that no check-in at a station that has not heard of it writes over it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from station.control.changes import Records, delete, existing
from station.control.silence import KEY_PREFIX as SILENT
from station.model.records import InstanceRecord, Kind
from station.peering.changes import Change

KEY_PREFIX = "deleting:"
# As long as a machine may be off, over holidays; then it is deleted without its word.
WAITS_S = 14 * 86_400.0
# Deleted in one step without their word; the others wait for the next look.
OVERDUE_MAX = 100


@dataclass(frozen=True, slots=True)
class Deleting:
    """A person deleted the instance at `at` (wall clock, seconds), and it has not confirmed."""

    instance: str
    at: float

    @classmethod
    def parse(cls, key: str, value: object) -> Self | None:
        """From the settings; None for what is no such record."""
        match value:
            case {"at": float() | int() as at}:
                if key.startswith(KEY_PREFIX):
                    return cls(key.removeprefix(KEY_PREFIX), float(at))
        return None

    @property
    def until(self) -> float:
        """When it is deleted without its word; wall clock, seconds."""
        return self.at + WAITS_S

    @property
    def key(self) -> str:
        """Its key among the settings."""
        return KEY_PREFIX + self.instance

    def change(self) -> Change:
        """To be written to the registry."""
        value: dict[str, Any] = {"at": self.at}
        return Change(Kind.SETTINGS, self.key, value)


def deleting_of(settings: Mapping[str, object], instance: str) -> Deleting | None:
    """The instance's mark; None when nobody deleted it."""
    key = KEY_PREFIX + instance
    return Deleting.parse(key, settings.get(key))


def ask_to_leave(
    records: Records, settings: Mapping[str, object], instance: str, now: float
) -> tuple[list[Change], Deleting | None]:
    """What a person's deletion changes, and the mark: None when the instance is gone at once, as one that never
    registered by itself is. Asking again changes nothing. `now`: wall clock, seconds. Raises BadChange.
    """
    record = existing(records, Kind.INSTANCE, instance)
    assert isinstance(record, InstanceRecord)
    if not record.secret_digest:
        return delete_now(records, settings, instance), None
    mark = deleting_of(settings, instance) or Deleting(instance, now)
    references = [c for c in delete(records, Kind.INSTANCE, instance) if c.kind is Kind.REFERENCE]
    changes = [*_unmarked(SILENT, settings, instance), *references]  # its references do not return
    return [*changes, *([] if mark.key in settings else [mark.change()])], mark


def delete_now(records: Records, settings: Mapping[str, object], instance: str) -> list[Change]:
    """Its record, its references and its mark go. Raises BadChange."""
    return [*delete(records, Kind.INSTANCE, instance), *_unmarked(KEY_PREFIX, settings, instance)]


def stays(settings: Mapping[str, object], instance: str) -> list[Change]:
    """It registered anew: nobody's deletion holds any more."""
    return _unmarked(KEY_PREFIX, settings, instance)


def overdue(records: Records, settings: Mapping[str, object], now: float) -> list[Change]:
    """Who was silent for too long since a person deleted it goes, and so do marks of nobody.

    `now`: wall clock, seconds.
    """
    parsed = (Deleting.parse(key, value) for key, value in sorted(settings.items()))
    marks = [m for m in parsed if m and (m.instance not in records.instances or now >= m.until)]
    changes: list[Change] = []
    for mark in marks[:OVERDUE_MAX]:
        if mark.instance in records.instances:
            changes += delete_now(records, settings, mark.instance)
        else:
            changes.append(Change.delete(Kind.SETTINGS, mark.key))
    return changes


def _unmarked(prefix: str, settings: Mapping[str, object], instance: str) -> list[Change]:
    key = prefix + instance
    return [Change.delete(Kind.SETTINGS, key)] if key in settings else []
