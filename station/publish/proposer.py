"""What the duty holder of one source writes next: one candidate at a time, and never a number twice.

In this order: what is shown somewhere but not registered, the frozen revision, the newer content of two sides that
published apart, the first publication, the candidate.
"""

from typing import NamedTuple

from station.model.identity import Revision
from station.model.now import Now
from station.model.publication import Publication
from station.publish import duty
from station.publish.course import Course
from station.publish.effects import Effect, WritePublication
from station.publish.readiness import Readiness, Verdict
from station.publish.rules import Rules
from station.publish.view import Around, Member, SourceState


class Content(NamedTuple):
    """What a publication shows, without its number. Compared as it stands: newer content first."""

    order: int
    revision: Revision


class Proposer:
    """The duty half of one source. Every station runs it, so that duty can move; only the holder writes."""

    def __init__(self, source: str, rules: Rules) -> None:
        self.candidate: Revision | None = None
        self.left_behind: tuple[str, ...] = ()  # by the last publication that we wrote
        self.is_holder = False
        self._source = source
        self._rules = rules
        self._readiness = Readiness(source, rules)
        self._verdict = Verdict()
        self._written: Publication | None = None
        self._written_at = 0.0
        self._waits: dict[str, float] = {}

    def step(
        self, state: SourceState, around: Around, course: Course, now: Now, *, was_paused: bool
    ) -> None:
        """Follow the candidate and the progress of the others."""
        present = around.present
        holder = duty.holder(self._source, around.able)
        self.is_holder = holder == around.station
        self.candidate = self._choose(state, around, course, now, holder)
        if was_paused:
            self._readiness.restart()
        self._verdict = self._readiness.step(self.candidate, present, now.boot)

    def write(
        self, state: SourceState, around: Around, course: Course, now: Now, *, is_smaller: bool
    ) -> list[Effect]:
        """What to put into the registry now. Called only where writing is allowed at all."""
        if not self.is_holder or self._is_being_written(state, now):
            return []
        present = around.present
        shown = self._shown(state, course, present)
        registered = state.registered.publication if state.registered else None
        is_behind = shown is not None and (registered is None or shown > registered)
        if shown is not None and is_behind and shown != course.refused:
            if self._has_waited("restore", now, self._rules.restore_s):
                return self._write(shown, now.wall + self._rules.lead_s, now)
            return []
        self._waits.pop("restore", None)
        if course.next is not None or now.boot < course.live_at + self._rules.hold_after_s:
            return []  # one at a time
        if is_smaller:
            return []
        content = self._next_content(state, course, present, registered, now)
        if content is None:
            return []
        number = 1 + max(state.greatest, *(m.holds(self._source).greatest for m in present))
        is_first = registered is None or self._is_lost(registered, present, now)
        at = 0.0 if is_first else now.wall + self._rules.lead_s
        return self._write(Publication(number, content.order, content.revision), at, now)

    def _next_content(
        self,
        state: SourceState,
        course: Course,
        present: tuple[Member, ...],
        registered: Publication | None,
        now: Now,
    ) -> Content | None:
        freeze = state.freeze_in_force(now.wall)
        chosen = freeze.revision if freeze else None
        if chosen is None and registered is not None:
            newest = self._newest_shown(course, present, registered)
            if newest is not None:
                # It passed a barrier on its own side and is shown there: only the manifest must be everywhere.
                is_everywhere = all(
                    newest.revision in m.holds(self._source).orders for m in present
                )
                if is_everywhere or self._has_waited("heal", now, self._rules.manifest_s):
                    return newest
                return None
            self._waits.pop("heal", None)
        if self.candidate is None or (freeze is not None and self.candidate != chosen):
            return None
        order = self._order(self.candidate, present)
        is_first = registered is None or self._is_lost(registered, present, now)
        if order is None or not (is_first or self._verdict.is_ready):
            return None
        self.left_behind = self._verdict.left_behind
        return Content(order, self.candidate)

    def _choose(
        self, state: SourceState, around: Around, course: Course, now: Now, holder: str
    ) -> Revision | None:
        present = around.present
        shown = self._shown(state, course, present)
        freeze = state.freeze_in_force(now.wall)
        chosen = freeze.revision if freeze else None
        if chosen is not None and (shown is None or shown.revision != chosen):
            return chosen
        if holder != around.station:
            theirs = next(m for m in present if m.name == holder).holds(self._source).candidate
            order = self._order(theirs, present)
            is_new = shown is None or (
                theirs != shown.revision and (order is None or order >= shown.order)
            )
            if theirs is not None and is_new:
                return theirs
        offers = [self.candidate] if freeze is None else []
        offers += [m.holds(self._source).candidate for m in present if freeze is None]
        for offer in offers:
            # Once somebody has all of it, it is the candidate until it is shown: upstream may change faster than we.
            if self._fits(offer, state, course, shown, present) and any(
                offer in m.holds(self._source).complete for m in present
            ):
                return offer
        return state.upstream if self._fits(state.upstream, state, course, shown, present) else None

    def _fits(
        self,
        revision: Revision | None,
        state: SourceState,
        course: Course,
        shown: Publication | None,
        present: tuple[Member, ...],
    ) -> bool:
        """Whether it is newer than what is shown. Equal order: only what upstream showed us after that (re-signed)."""
        order = self._order(revision, present)
        if order is None:
            return False
        is_fresh = revision == state.upstream and state.upstream_at > course.changed_at
        return all(
            order > p.order or (order == p.order and revision != p.revision and is_fresh)
            for p in (shown, course.live)
            if p is not None
        )

    def _order(self, revision: Revision | None, present: tuple[Member, ...]) -> int | None:
        if revision is None:
            return None
        orders = (m.holds(self._source).orders.get(revision) for m in present)
        return next((order for order in orders if order is not None), None)

    def _shown(
        self, state: SourceState, course: Course, present: tuple[Member, ...]
    ) -> Publication | None:
        """The greatest publication that the registry, our disks or a present station knows of."""
        known = [m.holds(self._source).live for m in present]
        known += [course.live, state.stored, state.kept]
        known += [state.registered.publication] if state.registered else []
        return max((p for p in known if p is not None), default=None)

    def _newest_shown(
        self, course: Course, present: tuple[Member, ...], registered: Publication
    ) -> Content | None:
        """The newest content that is live somewhere, if the registered publication is older than that."""
        lives = [course.live, *(m.holds(self._source).live for m in present)]
        newest = max((Content(p.order, p.revision) for p in lives if p is not None), default=None)
        return newest if newest is not None and newest.order > registered.order else None

    def _is_lost(self, registered: Publication, present: tuple[Member, ...], now: Now) -> bool:
        """Whether what is live is to be had nowhere: purged everywhere, and mirrored again. It is as the first time."""
        if any(registered.revision in m.holds(self._source).orders for m in present):
            self._waits.pop("lost", None)
            return False
        return self._has_waited("lost", now, self._rules.manifest_s)

    def _is_being_written(self, state: SourceState, now: Now) -> bool:
        if self._written is None:
            return False
        if state.registered is not None and state.registered.publication >= self._written:
            self._written = None
            return False
        return now.boot - self._written_at < self._rules.rewrite_s

    def _has_waited(self, why: str, now: Now, seconds: float) -> bool:
        return now.boot - self._waits.setdefault(why, now.boot) >= seconds

    def _write(self, publication: Publication, at: float, now: Now) -> list[Effect]:
        self._written, self._written_at = publication, now.boot
        self._waits.clear()
        return [WritePublication(self._source, publication, at)]
