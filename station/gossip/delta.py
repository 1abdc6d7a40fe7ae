"""The changes another station lacks: which, in which order, how many at once, and when they may be taken in."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated

from pydantic import Field, TypeAdapter

from station.gossip.clock import Dice, is_acceptable
from station.gossip.entry import Count, Digest, Entry, Origin, Stamp
from station.gossip.state import RecordKey, ReplicatedMap


@dataclass(frozen=True, slots=True)
class Delta:
    """What is kept of `origin` in (base, upto], in sequence order. What is not in it was superseded.

    `base` is what the digest it was computed against said. A receiver that has seen less must not take it in: the
    hole below would never be repaired, because its own digest would then deny it.
    """

    origin: Origin
    base: Count
    upto: Count
    entries: Annotated[tuple[Entry, ...], Field(max_length=50_000)] = ()

    def is_sound(self) -> bool:
        """Whether the entries are of this origin, in order, and inside the range."""
        last = self.base
        for entry in self.entries:
            if entry.origin != self.origin or not last <= entry.sequence <= self.upto:
                return False
            if entry.sequence <= self.base:
                return False
            last = entry.sequence
        return self.base <= self.upto


_ENTRY = TypeAdapter(Entry)


def size_of(entry: Entry) -> int:
    """Bytes of an entry on the wire."""
    return len(_ENTRY.dump_json(entry))


def lacks(theirs: Mapping[Origin, int], ours: Mapping[Origin, int]) -> bool:
    """Whether `theirs` is behind `ours` anywhere."""
    return any(theirs.get(origin, 0) < sequence for origin, sequence in ours.items())


def deltas_for(
    state: ReplicatedMap, theirs: Mapping[Origin, int], *, bytes_max: int, dice: Dice
) -> tuple[tuple[Delta, ...], bool]:
    """What `theirs` lacks, about `bytes_max` bytes of it (one entry at least), and whether there is more.

    Origins come in random order, so that one that the receiver cannot take in now never starves the others.
    """
    behind = [origin for origin, seen in state.seen.items() if theirs.get(origin, 0) < seen]
    behind.sort(key=lambda _: dice.random())
    deltas: list[Delta] = []
    left = bytes_max
    for origin in behind:
        base, upto = theirs.get(origin, 0), state.seen[origin]
        chosen: list[Entry] = []
        for entry in state.after(origin, base):
            if entry.sequence > upto:
                break  # our own hole lies between; its repair brings the rest
            size = size_of(entry)
            is_new_sequence = bool(chosen) and chosen[-1].sequence != entry.sequence
            if left < size and (deltas or chosen) and (not chosen or is_new_sequence):
                if chosen:
                    deltas.append(Delta(origin, base, chosen[-1].sequence, tuple(chosen)))
                return tuple(deltas), True
            left -= size
            chosen.append(entry)
        deltas.append(Delta(origin, base, upto, tuple(chosen)))
    return tuple(deltas), False


@dataclass(slots=True)
class Absorbed:
    """What taking in a delta did: records that changed, and the stamp from the future that stopped it."""

    changed: set[RecordKey]
    accepted: list[Entry]
    upto: int
    stalled: Stamp | None = None


def absorb(state: ReplicatedMap, delta: Delta, seen: Digest, *, wall: float) -> Absorbed | None:
    """Merge what is beyond `seen` of a delta, up to the first stamp from the future. None: its base is ahead of `seen`.

    `seen` is the state's own, or that of somebody who reads everything again. It is not changed here.
    """
    known = seen.get(delta.origin, 0)
    if delta.base > known:
        return None
    done = Absorbed(set(), [], max(known, delta.upto))
    for entry in delta.entries:
        if entry.sequence <= known:
            continue  # a replay; its tombstone may be collected already
        if not is_acceptable(entry.stamp, wall):
            done.upto = max(known, entry.sequence - 1)
            done.stalled = entry.stamp
            break
        done.accepted.append(entry)
        if state.merge(entry):
            done.changed.add((entry.kind, entry.key))
    return done
