"""The replicated map. Rule: no entry changes but here. Rule: this file does not know which station it is on.

Of each record it keeps the winner (greatest rank) and, as a conflict, the greatest loser that the winner's writer
did not know. Both follow from the set of entries seen, so the order of merging does not matter.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import blake2b

from station.gossip.entry import BEFORE_ALL, NOBODY, Digest, Entry, Origin, Stamp, Value, Version
from station.gossip.views import publication_rank, readable
from station.model.records import Kind

RecordKey = tuple[str, str]
Rank = tuple[tuple[int, int, str], Version]
_FLAT = (0, 0, "")
_Place = tuple[int, str, str, Stamp]


@dataclass(slots=True)
class Slot:
    """One record: what counts, what lost without being known to the winner's writer, and what readers see."""

    winner: Entry
    conflict: Entry | None
    readable: Value | None

    def entries(self) -> tuple[Entry, ...]:
        """All that is kept of this record."""
        return (self.winner,) if self.conflict is None else (self.winner, self.conflict)


def rank(entry: Entry) -> Rank:
    """The place of an entry among those of its record: publications by maximum, everything else by version."""
    if entry.kind == Kind.PUBLICATION:
        return publication_rank(entry.value), entry.version
    return _FLAT, entry.version


def canonical(value: Value | None) -> str:
    """One text for equal values."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"))


def beats(one: Entry, other: Entry) -> bool:
    """Whether `one` counts against `other`. Equal versions of unequal value, a clone's work, go by their text."""
    first, second = rank(one), rank(other)
    if first != second:
        return first > second
    return one.value != other.value and canonical(one.value) > canonical(other.value)


def loser_of(winner: Entry, *others: Entry | None) -> Entry | None:
    """The greatest of `others` that the writer of `winner` did not know."""
    if winner.kind == Kind.PUBLICATION:
        return None  # the lesser publication is no loss: its bytes stay servable
    known = winner.replaces or BEFORE_ALL
    found: Entry | None = None
    for entry in others:
        if entry is None or not known < entry.version < winner.version:
            continue
        if found is None or beats(entry, found):
            found = entry
    return found


class ReplicatedMap:
    """Entries by record and by origin, with how far each origin is seen and collected."""

    def __init__(self) -> None:
        self._slots: dict[str, dict[str, Slot]] = {}
        self._logs: dict[Origin, dict[_Place, Entry]] = {}
        self.seen: Digest = {}
        self.collected: Digest = {}
        # Of all winners that are no tombstone. Equal `seen` and another fingerprint: somebody has a hole.
        self.fingerprint = 0

    def slot(self, kind: str, key: str) -> Slot | None:
        """What is kept of a record."""
        return self._slots.get(kind, {}).get(key)

    def readable(self, kind: str) -> dict[str, Value]:
        """The valid records of a kind by key. Not to be changed by the reader."""
        slots = self._slots.get(kind, {})
        return {key: slot.readable for key, slot in slots.items() if slot.readable is not None}

    def slots(self) -> Iterator[tuple[RecordKey, Slot]]:
        """Everything kept. The map may not be changed meanwhile."""
        for kind, slots in self._slots.items():
            for key, slot in slots.items():
                yield (kind, key), slot

    def after(self, origin: Origin, sequence: int) -> list[Entry]:
        """What is kept of an origin beyond `sequence`, in its order."""
        log = self._logs.get(origin, {})
        return [log[place] for place in sorted(place for place in log if place[0] > sequence)]

    def count_of(self, origin: Origin) -> int:
        """How many entries of an origin are kept."""
        return len(self._logs.get(origin, {}))

    def merge(self, entry: Entry) -> bool:
        """Take in one entry; whether anything kept changed. Commutative, associative, idempotent."""
        slot = self.slot(entry.kind, entry.key)
        if slot is None:
            self._set(entry.kind, entry.key, entry, None)
            return True
        if beats(entry, slot.winner):
            winner, conflict = entry, loser_of(entry, slot.winner, slot.conflict)
        else:
            winner, conflict = slot.winner, loser_of(slot.winner, slot.conflict, entry)
        if winner is slot.winner and conflict == slot.conflict:
            return False
        self._set(entry.kind, entry.key, winner, conflict)
        return True

    def drop(self, kind: str, key: str) -> None:
        """Keep nothing of a record."""
        slot = self._slots[kind].pop(key)
        self._forget(slot)

    def _set(self, kind: str, key: str, winner: Entry, conflict: Entry | None) -> None:
        held = self.slot(kind, key)
        shown = held.readable if held and held.winner is winner else None
        if held is None or held.winner is not winner:
            shown = readable(kind, key, winner.value)
        if held is not None:
            self._forget(held)
        slot = Slot(winner, conflict, shown)
        self._slots.setdefault(kind, {})[key] = slot
        for entry in slot.entries():
            if entry.origin != NOBODY:
                self._logs.setdefault(entry.origin, {})[_place_of(entry)] = entry
        self.fingerprint ^= _print_of(winner)

    def _forget(self, slot: Slot) -> None:
        for entry in slot.entries():
            if entry.origin != NOBODY:
                del self._logs[entry.origin][_place_of(entry)]
        self.fingerprint ^= _print_of(slot.winner)


def _place_of(entry: Entry) -> _Place:
    # Clones write two records, or one record twice, under one sequence: both must be found again.
    return entry.sequence, entry.kind, entry.key, entry.stamp


def _print_of(entry: Entry) -> int:
    if entry.value is None or entry.origin == NOBODY:
        return 0  # tombstones go at different times; what was only told is replaced soon
    text = f"{entry.kind}\0{entry.key}\0{entry.version}\0{canonical(entry.value)}"
    return int.from_bytes(blake2b(text.encode(), digest_size=7).digest())
