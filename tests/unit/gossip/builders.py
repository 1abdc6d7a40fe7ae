"""Entries and cores for the tests of gossip: valid by default, one fact overridden."""

from random import Random
from typing import Any

from station.gossip.entry import Entry, Origin, Stamp, Value, Version, told
from station.gossip.group import GroupFacts
from station.gossip.machine import Gossip
from station.model.now import Now

GROUP = GroupFacts("g-1", "datacenter-1", "lb.example.com", 16080, 17080, 17443)
WALL = 1_700_000_000.0
MS = int(WALL * 1000)


def now(seconds: float = 0.0) -> Now:
    return Now(wall=WALL + seconds, boot=100.0 + seconds)


def origin(name: str = "A") -> Origin:
    return Origin(name, f"epoch-{name}")


def entry(
    key: str = "k",
    *,
    by: str = "A",
    sequence: int = 1,
    ms: int = MS,
    logical: int = 0,
    value: Value | None = None,
    kind: str = "settings",
    replaces: Version | None = None,
    deleted: bool = False,
) -> Entry:
    shown = None if deleted else value if value is not None else {"by": by, "n": sequence}
    return Entry(kind, key, origin(by), sequence, Stamp(ms, logical), shown, replaces)


def station(name: str) -> dict[str, Any]:
    return {"name": name, "address": f"{name.lower()}.example.com"}


def core(name: str = "A", members: str = "A", seed: int = 1, **more: Any) -> Gossip:
    entries = [told("station", other, station(other)) for other in members]
    return Gossip(
        station=name,
        epoch=f"epoch-{name}",
        group=GROUP,
        random=Random(seed),
        now=now(),
        entries=more.pop("entries", entries),
        **more,
    )
