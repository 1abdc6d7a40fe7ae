"""The hybrid logical clock: stamps that order causes before effects and stay near real time.

A stamp is judged against this station's clock *now*, never against the last stamp seen: otherwise a station that
was up for two years would accept, or refuse, by what it happened to see before.
"""

from typing import Protocol

from station.gossip.entry import Stamp

# Clocks without any time service drift by seconds a day; a minute off is broken, and would hide newer writes.
AHEAD_MS_MAX = 60_000
LOGICAL_MAX = 2**31


class Dice(Protocol):
    """The part of random.Random that gossip uses."""

    def random(self) -> float: ...
    def getrandbits(self, k: int, /) -> int: ...


def is_acceptable(stamp: Stamp, wall: float) -> bool:
    """Whether a stamp is at most a minute ahead of `wall` (seconds since 1970, now, here)."""
    return stamp.physical_ms <= wall * 1000 + AHEAD_MS_MAX


class HybridClock:
    """Issues growing stamps. `high_water` is the greatest stamp issued or accepted, also before a restart."""

    def __init__(self, high_water: Stamp | None = None) -> None:
        self._last = high_water or Stamp(0, 0)

    @property
    def high_water(self) -> Stamp:
        """The greatest stamp so far; to be kept across restarts."""
        return self._last

    def issue(self, wall: float) -> Stamp:
        """A stamp greater than all before. `wall`: seconds since 1970; may have gone back."""
        physical, logical = self._last
        now_ms = max(0, int(wall * 1000))
        if now_ms > physical:
            self._last = Stamp(now_ms, 0)
        elif logical >= LOGICAL_MAX:
            self._last = Stamp(physical + 1, 0)
        else:
            self._last = Stamp(physical, logical + 1)
        return self._last

    def observe(self, stamp: Stamp) -> None:
        """Never issue less than `stamp`, which the caller found acceptable."""
        self._last = max(self._last, stamp)
