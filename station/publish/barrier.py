"""The barrier of one station: which revision of each source is live, from which instant, on all stations alike.

Pure: it is shown the world and the time, and answers with effects. `BARRIER.md` beside this file gives the rules.
"""

from collections.abc import Container, Sequence

from station.model.identity import Revision
from station.model.now import Now
from station.model.publication import Publication
from station.publish.course import Course
from station.publish.effects import Alarm, Effect
from station.publish.proposer import Proposer
from station.publish.restraint import Restraint
from station.publish.rules import RULES, Rules
from station.publish.view import Around, Member, SourceState, View


class _Source:
    def __init__(self, source: str, rules: Rules) -> None:
        self.course = Course(source, rules)
        self.proposer = Proposer(source, rules)


class Barrier:
    """One per station. `step` with every change of the view, at `next_deadline`, and each second."""

    def __init__(self, rules: Rules = RULES) -> None:
        self._rules = rules
        self._restraint = Restraint(rules)
        self._sources: dict[str, _Source] = {}
        self._alarms: dict[tuple[str, str], Alarm] = {}
        self._is_started = False

    def step(self, view: View, *, now: Now) -> list[Effect]:
        """What is to be done now, in this order. Do all of it before the next step.

        Flips and announcements come first: they matter to the millisecond.
        """
        is_start = not self._is_started
        self._is_started = True
        around = Around.of(view, self._rules)
        self._restraint.step(around, now)
        for gone in self._sources.keys() - view.sources.keys():
            del self._sources[gone]
        for name in view.sources.keys() - self._sources.keys():
            self._sources[name] = _Source(name, self._rules)
        effects: list[Effect] = []
        for name, state in view.sources.items():
            effects += self._sources[name].course.step(state, around, now, is_start=is_start)
        may_write = around.own.may_write and not self._restraint.is_quiet()
        is_smaller = self._restraint.is_smaller()
        for name, state in view.sources.items():
            source = self._sources[name]
            source.proposer.step(
                state, around, source.course, now, was_paused=self._restraint.was_paused
            )
            if may_write:
                effects += source.proposer.write(
                    state, around, source.course, now, is_smaller=is_smaller
                )
        return effects + self._new_alarms(view, around.present, now)

    def next_deadline(self) -> float | None:
        """The boot clock at which `step` must be called next, seconds; None: the step of each second will do."""
        courses = [source.course for source in self._sources.values()]
        return min((course.flip_at for course in courses if course.next is not None), default=None)

    def live(self, source: str) -> Publication | None:
        """What is live here; for our own `Holdings.live` and the snapshot."""
        found = self._sources.get(source)
        return found.course.live if found else None

    def next(self, source: str) -> tuple[Publication, float] | None:
        """What becomes live, and when on the boot clock (seconds); for the snapshot."""
        found = self._sources.get(source)
        if found is None or found.course.next is None:
            return None
        return found.course.next, found.course.flip_at

    def candidate(self, source: str) -> Revision | None:
        """The revision to fetch now; for our own `Holdings.candidate` and for sync."""
        found = self._sources.get(source)
        return found.proposer.candidate if found else None

    def has_duty(self, source: str) -> bool:
        """Whether this station fetches the source from upstream, and the others from it."""
        found = self._sources.get(source)
        return found is not None and found.proposer.is_holder

    @property
    def alarms(self) -> tuple[Alarm, ...]:
        """The alarms that stand."""
        return tuple(self._alarms.values())

    def _new_alarms(self, view: View, present: Sequence[Member], now: Now) -> list[Effect]:
        before, self._alarms = self._alarms, {}
        for alarm in self._clock_alarms(present, before) + self._source_alarms(view, present, now):
            self._alarms[alarm.code, alarm.subject] = alarm
        left = self._restraint.seconds_left()
        if left > 0:
            detail = (
                f"this side has fewer than half of the stations: nothing new for {left:.0f} s more"
            )
            self._alarms["restrained", view.station] = Alarm("restrained", view.station, detail)
        return [alarm for key, alarm in self._alarms.items() if key not in before]

    def _clock_alarms(
        self, present: Sequence[Member], before: Container[tuple[str, str]]
    ) -> list[Alarm]:
        found = []
        for member in present:
            offset = member.clock_offset_s
            stands = ("clock_offset", member.name) in before
            limit = self._rules.clock_offset_calm_s if stands else self._rules.clock_offset_max_s
            if offset is not None and abs(offset) > limit:
                detail = f"its clock differs from ours by {offset * 1000:+.0f} ms"
                found.append(Alarm("clock_offset", member.name, detail))
        return found

    def _source_alarms(self, view: View, present: Sequence[Member], now: Now) -> list[Alarm]:
        found = []
        by_name = {member.name: member for member in present}
        for name, state in view.sources.items():
            course, proposer = self._sources[name].course, self._sources[name].proposer
            if course.refused is not None:
                detail = (
                    f"publication {course.refused.number} is older than what is live; not shown"
                )
                found.append(Alarm("rollback_refused", name, detail))
            if self._is_unknown_choice(state, present, now, name):
                detail = "no present station has the manifest of the frozen revision"
                found.append(Alarm("frozen_revision_unknown", name, detail))
            behind = [
                station
                for station in proposer.left_behind
                if station in by_name
                and course.live is not None
                and course.live.revision not in by_name[station].holds(name).complete
            ]
            if behind:
                detail = f"left behind: {', '.join(sorted(behind))}"
                found.append(Alarm("left_behind", name, detail))
        return found

    def _is_unknown_choice(
        self, state: SourceState, present: Sequence[Member], now: Now, name: str
    ) -> bool:
        freeze = state.freeze_in_force(now.wall)
        if freeze is None or freeze.revision is None:
            return False
        chosen = freeze.revision
        return not any(chosen in m.holds(name).orders for m in present)
