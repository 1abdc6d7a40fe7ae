"""This station's copy of the registry: its own writes, what it takes in, what it collects, what must become durable."""

from collections.abc import Iterable, Mapping, Sequence

from station.gossip.clock import HybridClock, is_acceptable
from station.gossip.delta import Absorbed, Delta, absorb
from station.gossip.effects import Changed, Effect, Persist
from station.gossip.entry import (
    NOBODY,
    Digest,
    Entry,
    Gone,
    HighWater,
    Origin,
    Row,
    Stamp,
    Value,
    digest_of,
    marks,
)
from station.gossip.state import RecordKey, ReplicatedMap
from station.gossip.views import publication_rank, writable
from station.model.records import Kind

Change = tuple[str, str, Value | None]
# Quotas hold at the writer only: a receiver that refused would have a hole. Ten thousand instances with ten
# references each, twice over.
ENTRIES_MAX = 200_000


class WriteRefused(Exception):
    """Nothing was written; the text is for people.

    `code`: invalid, quota, publication, clock, clone, starting, forgotten.
    """

    def __init__(self, code: str, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


class Replica:
    """The map, the clock and the epoch of one station. `flush` hands out what changed since the last time."""

    def __init__(
        self, station: str, epoch: str, entries: Iterable[Entry], high_water: HighWater | None
    ) -> None:
        self.state = ReplicatedMap()
        self.origin = Origin(station, epoch)
        self.clock = HybridClock(high_water.stamp if high_water else None)
        self._changed: set[RecordKey] = set()
        self._is_moved = False
        self.stalled: dict[Origin, Stamp] = {}
        for entry in entries:
            self.state.merge(entry)
            self.clock.observe(entry.stamp)
            if high_water is None:
                self._changed.add((entry.kind, entry.key))
        if high_water is not None:
            self.state.seen = digest_of(high_water.seen)
            self.state.collected = digest_of(high_water.collected)

    @property
    def written(self) -> int:
        """Sequence of this station's last write under its epoch."""
        return self.state.seen.get(self.origin, 0)

    def renew(self, epoch: str) -> None:
        """Write under a new epoch from now on; the old one is an origin like any other."""
        self.origin = Origin(self.origin.station, epoch)
        self._is_moved = True

    def write(self, changes: Sequence[Change], *, wall: float) -> None:
        """Take all changes as this station's own, or none. Raises WriteRefused: invalid, quota, publication, clock."""
        if self.state.count_of(self.origin) + len(changes) > ENTRIES_MAX:
            raise WriteRefused("quota", f"this station has written {ENTRIES_MAX} records already")
        if not is_acceptable(self.clock.high_water, wall):
            raise WriteRefused(
                "clock",
                "the clock went back by more than a minute since the last change; "
                "peers would not accept a change before it has caught up",
            )
        planned = [self._plan(*change) for change in changes]
        for kind, key, value in planned:
            slot = self.state.slot(kind, key)
            held = slot.winner if slot and slot.winner.origin != NOBODY else None
            if (held.value if held else None) == value and not (slot and slot.conflict):
                continue
            sequence = self.written + 1
            replaces = held.version if held else None
            stamp = self.clock.issue(wall)
            entry = Entry(kind, key, self.origin, sequence, stamp, value, replaces)
            self.state.seen[self.origin] = sequence
            self.state.merge(entry)
            self._changed.add((kind, key))

    def _plan(self, kind: str, key: str, value: Value | None) -> Change:
        kind, key = str(kind), str(key)
        slot = self.state.slot(kind, key)
        held = slot.winner.value if slot else None
        if not 0 < len(kind) <= 64 or not 0 < len(key) <= 600:
            raise WriteRefused("invalid", "a kind has 1-64 characters, a key 1-600")
        try:
            plain = None if value is None else writable(kind, key, value, held)
        except ValueError as error:
            raise WriteRefused("invalid", str(error)) from error
        is_publication = kind == Kind.PUBLICATION and plain != held
        if is_publication and publication_rank(plain) <= publication_rank(held):
            raise WriteRefused("publication", f"{key}: one at least as great is known already")
        return kind, key, plain

    def absorb(self, delta: Delta, *, wall: float) -> Absorbed | None:
        """Take in a delta of a peer. None when it was computed against more than we have seen."""
        done = absorb(self.state, delta, self.state.seen, wall=wall)
        if done is not None:
            self.account(delta.origin, done)
            self.see(delta.origin, done.upto)
        return done

    def account(self, origin: Origin, done: Absorbed) -> None:
        """Book what an absorbed delta changed: rows to write, the clock, the stall."""
        self._changed |= done.changed
        for entry in done.accepted:
            self.clock.observe(entry.stamp)
        if done.stalled is None:
            self.stalled.pop(origin, None)
        else:
            self.stalled[origin] = done.stalled

    def see(self, origin: Origin, upto: int) -> None:
        """Everything of `origin` up to `upto` is seen."""
        if upto > self.state.seen.get(origin, 0):
            self.state.seen[origin] = upto
            self._is_moved = True

    def lower(self, seen: Digest) -> None:
        """Of foreign stations, claim no more than `seen` from now on: this state is too old to be believed."""
        for origin, sequence in list(self.state.seen.items()):
            if origin.station != self.origin.station and sequence > seen.get(origin, 0):
                self.state.seen[origin] = seen.get(origin, 0)
                self._is_moved = True

    def adopt_frontier(self, collected: Mapping[Origin, int]) -> None:
        """What another collected is collected here too: it was never received, or is dropped now."""
        for origin, sequence in collected.items():
            if sequence > self.state.collected.get(origin, 0):
                self.state.collected[origin] = sequence
                self._is_moved = True

    def drop(self, kind: str, key: str) -> None:
        """Keep nothing of a record."""
        self.state.drop(kind, key)
        self._changed.add((kind, key))

    def collect(self, acknowledged: Sequence[Mapping[Origin, int]], *, before: Stamp) -> int:
        """Drop tombstones older than `before` that every digest in `acknowledged` covers; how many."""
        due: list[tuple[RecordKey, Entry]] = []
        for record, slot in self.state.slots():
            entry = slot.winner
            if entry.value is not None or entry.stamp >= before or entry.origin == NOBODY:
                continue
            if entry.sequence > self.state.seen.get(entry.origin, 0):
                continue
            if all(digest.get(entry.origin, 0) >= entry.sequence for digest in acknowledged):
                due.append((record, entry))
        for record, entry in due:
            self.drop(*record)
            self.adopt_frontier({entry.origin: entry.sequence})
        return len(due)

    def high_water(self) -> HighWater:
        """What is to be kept beside the entries."""
        return HighWater(
            self.clock.high_water,
            self.origin.epoch,
            marks(self.state.seen),
            marks(self.state.collected),
        )

    def flush(self) -> list[Effect]:
        """Persist and Changed for everything since the last call; nothing when nothing changed."""
        if not self._changed and not self._is_moved:
            return []
        rows: list[Row] = []
        for kind, key in sorted(self._changed):
            slot = self.state.slot(kind, key)
            rows += slot.entries() if slot else [Gone(kind, key)]
        effects: list[Effect] = [Persist(tuple(rows), self.high_water())]
        if self._changed:
            effects.append(Changed(frozenset(self._changed)))
        self._changed, self._is_moved = set(), False
        return effects
