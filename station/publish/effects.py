"""What the barrier asks its driver to do."""

from dataclasses import dataclass

from station.model.publication import Publication


@dataclass(frozen=True, slots=True)
class WritePublication:
    """Put it into the registry, durably, and push it to every present peer at once. Duty holder only."""

    source: str
    publication: Publication
    at_wall: float  # T on our wall clock, seconds; 0: at once


@dataclass(frozen=True, slots=True)
class Announce:
    """Tell the workers what comes next; they hold and flip by their own boot clock."""

    source: str
    publication: Publication
    flip_at_boot: float  # seconds


@dataclass(frozen=True, slots=True)
class Flip:
    """It is live here now. Never a lesser one than before."""

    source: str
    publication: Publication


@dataclass(frozen=True, slots=True)
class LinkLive:
    """Write it under live/ on the storage. Repeated until `SourceState.stored` shows it."""

    source: str
    publication: Publication


@dataclass(frozen=True, slots=True)
class Alarm:
    """Something an operator should know. Emitted when it begins; `Barrier.alarms` says what stands."""

    code: str
    subject: str  # the station or the source it is about
    detail: str


Effect = WritePublication | Announce | Flip | LinkLive | Alarm
