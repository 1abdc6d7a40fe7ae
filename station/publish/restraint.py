"""When a station must not publish: on the smaller side of a partition, after a pause, after its clock was set."""

from collections.abc import Collection

from station.model.now import Now
from station.publish.rules import Rules
from station.publish.view import Around


def is_smaller_side(members: Collection[str], present: Collection[str]) -> bool:
    """Fewer than half of the members; of an exact half, the one without the lowest member."""
    if 2 * len(present) != len(members):
        return 2 * len(present) < len(members)
    return bool(members) and min(members) not in present


class Restraint:
    """Notes pauses, steps of the wall clock and the sizes of the sides; says whether writing is allowed."""

    def __init__(self, rules: Rules) -> None:
        self.was_paused = True  # at the last step; a start is one
        self._rules = rules
        self._boot = float("-inf")
        self._wall_at_boot = 0.0
        self._quiet_until = 0.0
        self._smaller_since: float | None = None

    def step(self, around: Around, now: Now) -> None:
        """Once in every step of the barrier, first."""
        assert now.boot >= self._boot, "the boot clock never goes back"
        self.was_paused = now.boot - self._boot > self._rules.pause_s
        wall_at_boot = now.wall - now.boot
        if self.was_paused:
            self._be_quiet(now.boot + self._rules.quiet_after_pause_s)
            self._smaller_since = None  # what was before the pause says nothing about now
        elif abs(wall_at_boot - self._wall_at_boot) > self._rules.clock_step_s:
            self._be_quiet(now.boot + self._rules.quiet_after_clock_step_s)
        self._boot, self._wall_at_boot = now.boot, wall_at_boot
        present = {member.name for member in around.present}
        if not is_smaller_side(around.by_name.keys(), present):
            self._smaller_since = None
        elif self._smaller_since is None:
            self._smaller_since = now.boot

    def _be_quiet(self, until: float) -> None:
        self._quiet_until = max(self._quiet_until, until)

    def is_quiet(self) -> bool:
        """What we know, or what others know of our clock, is too old to write anything."""
        return self._boot < self._quiet_until

    def is_smaller(self) -> bool:
        """We are on the smaller side and its time is not over: nothing new, and go on serving."""
        since = self._smaller_since
        return since is not None and self._boot - since < self._rules.restraint_s

    def seconds_left(self) -> float:
        """Until the smaller side may publish again; 0 if it may."""
        if self._smaller_since is None:
            return 0.0
        return max(0.0, self._smaller_since + self._rules.restraint_s - self._boot)
