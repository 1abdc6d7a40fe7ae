"""What the barrier sees: the members, what each holds of a source, and what this station knows of it."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Self

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
    # Its registry accepts its writes: it has exchanged with the members since it started, its clock is right, it is
    # no clone. Without, it has no duty.
    may_write: bool = True
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
    kept: Publication | None = None  # of the last `Flip`, as noted in our state directory
    upstream: Revision | None = None  # what upstream showed us last, verified; its manifest is here
    upstream_at: float = -math.inf  # boot clock at which that look at upstream began, seconds
    freeze: Freeze | None = None

    @property
    def greatest(self) -> int:
        """The greatest number known here, for our own `Holdings.greatest`; 0: none."""
        registered = self.registered.publication if self.registered else None
        return max((p.number for p in (registered, self.stored, self.kept) if p), default=0)

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


@dataclass(frozen=True, slots=True)
class Around:
    """The stations of a view, looked at once for all sources."""

    station: str  # ours
    by_name: Mapping[str, Member]
    present: tuple[Member, ...]  # heard of in time; we are always among them
    able: tuple[str, ...]  # those that can have a duty: present, with a storage, allowed to write

    @property
    def own(self) -> Member:
        """Our own station. Raises KeyError if the view lacks it."""
        return self.by_name[self.station]

    @classmethod
    def of(cls, view: View, rules: Rules = RULES) -> Self:
        """Where nobody has a storage, all that are present and may write are able; where nobody may, all present."""
        present = tuple(
            member
            for member in view.members
            if member.name == view.station or member.heartbeat_age < rules.present_s
        )
        writers = [member for member in present if member.may_write] or present
        able = [member for member in writers if not member.by_fill] or writers
        by_name = {member.name: member for member in view.members}
        return cls(view.station, by_name, present, tuple(member.name for member in able))
