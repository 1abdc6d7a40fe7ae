"""Sources that left the mirror list: when they did is replicated, and a grace period later their files go. Pure.

The time is the settings record `left:SOURCE`. It is written only about a source that the registry knows or has
deleted: a registry that was wiped never says that anything left. An operator's purge is the same record with a mark.
"""

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Self

from station.control.changes import Records
from station.model.records import Kind
from station.peering.changes import Change

# A profile that was deleted by mistake is there again within a week, without one byte fetched anew.
GRACE_S = 7 * 24 * 3600.0
KEY_PREFIX = "left:"


@dataclass(frozen=True, slots=True)
class Left:
    """`at`: wall time, seconds. `is_purged`: an operator does not want to wait; `is_forced`: not even for a freeze."""

    source: str
    at: float
    is_purged: bool = False
    is_forced: bool = False

    @classmethod
    def parse(cls, key: str, value: object) -> Self | None:
        """From the settings; None for what is no such record."""
        match value:
            case {"at": float() | int() as at, "purge": bool(purge), "force": bool(force)}:
                if key.startswith(KEY_PREFIX):
                    return cls(key.removeprefix(KEY_PREFIX), float(at), purge, force)
        return None

    def change(self) -> Change:
        """To be written to the registry."""
        value: dict[str, Any] = {"at": self.at, "purge": self.is_purged, "force": self.is_forced}
        return Change(Kind.SETTINGS, KEY_PREFIX + self.source, value)

    def is_due(self, wall: float) -> bool:
        """Whether its files may go now."""
        return self.is_purged or wall >= self.at + GRACE_S


def left_sources(settings: Mapping[str, object]) -> dict[str, Left]:
    """Every source that left, by id."""
    parsed = (Left.parse(key, value) for key, value in settings.items())
    return {left.source: left for left in parsed if left}


def leaving_changes(
    listed: Collection[str],
    stored: Iterable[str],
    known: Collection[str],
    left: Mapping[str, Left],
    *,
    are_all_present: bool,
    wall: float,
) -> list[Change]:
    """What the registry has to be told: what left the list, what came back, what is gone from every storage.

    `stored`: on any station's storage; `known`: of which the registry has a record or a deletion.
    """
    here = set(stored)
    changes = [
        Left(source, wall).change()
        for source in sorted(here - set(listed) - set(left))
        if source in known
    ]
    for source, record in sorted(left.items()):
        is_gone = are_all_present and source not in here and record.is_due(wall)
        if source in listed or is_gone:
            changes.append(Change.delete(Kind.SETTINGS, KEY_PREFIX + source))
    return changes


def freezes_of(records: Records, source: str) -> list[str]:
    """The freezes that object to a purge, as people call them."""
    record = records.sources.get(source)
    found = [f"source {source} is frozen"] if record and record.is_frozen else []
    found += [
        f"profile {name} is frozen at {profile.frozen[source][:12]}"
        for name, profile in sorted(records.profiles.items())
        if source in profile.frozen
    ]
    return found


def stations_that_left(
    found: Iterable[str], members: Collection[str], is_known: Callable[[str], bool]
) -> list[str]:
    """Those of the stations that worked on a storage that the group has removed: what they staged is nobody's now.

    `is_known`: of which the registry has a record or a deletion; it does not judge the others.
    """
    return [name for name in sorted(found) if name not in members and is_known(name)]


def purges_due(
    records: Records,
    listed: Collection[str],
    stored: Iterable[str],
    left: Mapping[str, Left],
    *,
    wall: float,
) -> list[str]:
    """The sources whose files go from this storage now. A freeze holds them, unless the purge was forced."""
    return [
        source
        for source in sorted(stored)
        if source not in listed
        and source in left
        and left[source].is_due(wall)
        and (left[source].is_forced or not freezes_of(records, source))
    ]
