"""The clocks, as a value to inject. Decisions take `now`; only edges read a clock."""

import os
import time
from typing import Protocol


class Clock(Protocol):
    """boot(): seconds since boot, counting suspension. wall(): seconds since 1970, as other machines see it."""

    def boot(self) -> float: ...
    def wall(self) -> float: ...


class SystemClock:
    """The kernel's clocks. `wall_offset_s` makes this station's wall clock wrong, for tests of skew."""

    def __init__(self, wall_offset_s: float = 0.0) -> None:
        self._offset = wall_offset_s

    def boot(self) -> float:
        return time.clock_gettime(time.CLOCK_BOOTTIME)

    def wall(self) -> float:
        return time.time() + self._offset


def system_clock() -> SystemClock:
    """The clock of this process; STATION_WALL_OFFSET_MS shifts its wall clock (fault injection)."""
    return SystemClock(float(os.environ.get("STATION_WALL_OFFSET_MS", "0")) / 1000)
