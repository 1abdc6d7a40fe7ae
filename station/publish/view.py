"""What the barrier sees: the members, what each holds of a source, and what this station knows of it."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from station.model.identity import Revision
from station.model.publication import Publication
from station.publish.rules import RULES, Rules


@dataclass(frozen=True, slots=True)
class Holdings:
    """What one station says of one source in its status."""

    orders: Mapping[Revision, int] = field(default_factory=dict)  # manifests it holds, with order
    complete: frozenset[Revision] = frozenset()  # every byte of it is on its storage
    staged: frozenset[Revision] = frozenset()  # complete, and its files workers can open it
    candidate: Revision | None = None  # what its barrier answers to `candidate`
    progress: float = 0.0  # bytes done of the candidate; only a change of it means anything
    live: Publication | None = None
    greatest: int = 0  # greatest number in its registry and on its storage; 0: none


NOTHING = Holdings()


@dataclass(frozen=True, slots=True)
class Member:
    """A station of the group as this one knows it. Our own is among them, with a heartbeat of age 0."""

    name: str
    heartbeat_age: float = math.inf  # seconds on our boot clock since its heartbeat last moved
    holdings: Mapping[str, Holdings] = field(default_factory=dict)  # by source
    # Its storage is missing, stalled, read-only, full or being rebuilt: a manifest is all it can hold.
    by_fill: bool = False
    # Its wall clock minus ours, seconds; None: never measured. The caller keeps the measurement against our *boot*
    # clock (its wall − our boot), so that a step of our own wall clock does not falsify it.
    clock_offset_s: float | None = None

    def holds(self, source: str) -> Holdings:
        """Its holdings of a source; nothing, if it has not spoken of it."""
        return self.holdings.get(source, NOTHING)


@dataclass(frozen=True, slots=True)
class Registered:
    """The publication in the registry: the greatest. Of equal ones the registry keeps the smaller `at`."""

    publication: Publication
    at: float = 0.0  # T: wall time of the station `by`, seconds; 0: at once
    by: str = ""


@dataclass(frozen=True, slots=True)
class Freeze:
    """A source that shows nothing new: the chosen revision, or None for the one that is live."""

    revision: Revision | None = None
    until: float | None = None  # wall time, seconds; None: until it is lifted


@dataclass(frozen=True, slots=True)
class SourceState:
    """What this station knows of one source, beside the holdings."""

    registered: Registered | None = None
    stored: Publication | None = None  # the greatest under live/ on our storage
    upstream: Revision | None = None  # what upstream showed us last, verified; its manifest is here
    upstream_at: float = -math.inf  # boot clock at which that look at upstream began, seconds
    freeze: Freeze | None = None

    @property
    def greatest(self) -> int:
        """The greatest number known here, for our own `Holdings.greatest`; 0: none."""
        registered = self.registered.publication.number if self.registered else 0
        return max(registered, self.stored.number if self.stored else 0)

    def freeze_in_force(self, wall: float) -> Freeze | None:
        """The freeze, unless its time is over."""
        if self.freeze is None or (self.freeze.until is not None and self.freeze.until <= wall):
            return None
        return self.freeze


@dataclass(frozen=True, slots=True)
class View:
    """One look at the world. `members` are all stations of the group record, present or not, ours included."""

    station: str
    members: tuple[Member, ...]
    sources: Mapping[str, SourceState]
    # Control has exchanged with the members since it started, and our registry accepts writes of ours.
    may_write: bool = True

    def member(self, name: str) -> Member | None:
        """A station by name."""
        return next((member for member in self.members if member.name == name), None)

    def present(self, rules: Rules = RULES) -> tuple[Member, ...]:
        """Those heard of in time. We are always among them."""
        return tuple(
            member
            for member in self.members
            if member.name == self.station or member.heartbeat_age < rules.present_s
        )


def able(present: Sequence[Member]) -> Sequence[Member]:
    """Those that can have a duty: the present with a storage; all of them, where nobody has one."""
    return [member for member in present if not member.by_fill] or present
