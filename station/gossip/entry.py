"""What travels and what is kept: entries, and the order between them. Everything here is a value."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, NamedTuple

from pydantic import Field

# SQLite's and most languages' integers end here; a sequence never gets near it.
COUNT_MAX = 2**63 - 1
Count = Annotated[int, Field(ge=0, le=COUNT_MAX)]
Name = Annotated[str, Field(max_length=128)]
KindName = Annotated[str, Field(min_length=1, max_length=64)]
Key = Annotated[str, Field(min_length=1, max_length=600)]  # a reference's key holds two names
Value = dict[str, Any]


class Stamp(NamedTuple):
    """A reading of the hybrid logical clock: milliseconds since 1970, then a counter within them."""

    physical_ms: Count
    logical: Count


class Origin(NamedTuple):
    """Who made a change: the station, and the epoch of its state."""

    station: Name
    epoch: Name


class Version(NamedTuple):
    """Position of a change in the order of all changes; ties of the stamp go by origin."""

    stamp: Stamp
    origin: Origin


class Mark(NamedTuple):
    """One line of a digest: everything of this origin is seen up to and including `sequence`."""

    origin: Origin
    sequence: Count


Digest = dict[Origin, int]

NOBODY = Origin("", "")
BEFORE_ALL = Version(Stamp(0, 0), NOBODY)


@dataclass(frozen=True, slots=True)
class Entry:
    """One change: `value` is the whole record, None its deletion (a tombstone).

    `sequence` counts the changes of `origin` from 1. `replaces` is the version that the writer saw there when it
    wrote: whatever is greater than that and less than this was written without knowledge of each other.
    """

    kind: KindName
    key: Key
    origin: Origin
    sequence: Count
    stamp: Stamp
    value: Value | None
    replaces: Version | None = None

    @property
    def version(self) -> Version:
        """Position in the order of all changes."""
        return Version(self.stamp, self.origin)


def told(kind: str, key: str, value: Value) -> Entry:
    """A record learnt outside gossip (the members in a join answer): less than any version, and never relayed."""
    return Entry(kind, key, NOBODY, 0, BEFORE_ALL.stamp, value)


@dataclass(frozen=True, slots=True)
class Gone:
    """Nothing is kept of this record any more, not even its tombstone."""

    kind: KindName
    key: Key


Row = Entry | Gone


@dataclass(frozen=True, slots=True)
class HighWater:
    """How far a station has come: its clock, its own epoch, and per origin what it has seen and what it collected.

    Kept beside the entries and written with them, because none of it can be computed from them.
    """

    stamp: Stamp
    epoch: Name
    seen: tuple[Mark, ...] = ()
    collected: tuple[Mark, ...] = ()


def marks(digest: Mapping[Origin, int]) -> tuple[Mark, ...]:
    """The digest as sorted lines: equal digests give equal lines."""
    return tuple(Mark(origin, sequence) for origin, sequence in sorted(digest.items()))


def digest_of(lines: Iterable[Mark]) -> Digest:
    """The inverse of `marks`."""
    return dict(lines)
