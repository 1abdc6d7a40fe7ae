"""What one source shows at this station: live now, next at an instant. It only ever goes up.

Everything here holds for every station, duty or not: which publication is accepted, when T is by our boot clock,
and that what is live never becomes less.
"""

from station.model.identity import Revision
from station.model.now import Now
from station.model.publication import Publication
from station.publish.effects import Announce, Effect, Flip, LinkLive
from station.publish.rules import Rules
from station.publish.view import Around, Registered, SourceState


class Course:
    """Live and next of one source. `step` is called with every change of the view and at `flip_at`."""

    def __init__(self, source: str, rules: Rules) -> None:
        self.live: Publication | None = None
        self.live_at = 0.0  # boot clock of the last flip, seconds
        self.next: Publication | None = None
        self.flip_at = 0.0  # boot clock at which `next` becomes live, seconds
        # Greater than live, but a rollback that nobody chose.
        self.refused: Publication | None = None
        # Boot clock at which the greatest publication we know of last changed.
        self.changed_at = 0.0
        self._source = source
        self._rules = rules
        self._greatest: Publication | None = None
        self._heard: Registered | None = None
        self._heard_is_measured = False
        self._linked_at = -rules.relink_s

    def step(self, state: SourceState, around: Around, now: Now, *, is_start: bool) -> list[Effect]:
        """Accept what is new, flip what is due. `is_start`: this station has just begun to look."""
        freeze = state.freeze_in_force(now.wall)
        chosen = freeze.revision if freeze else None
        before = self.live
        effects: list[Effect] = []
        self.refused = None
        self._note_greatest(state, now)
        for publication in self._in_force(state, around):
            if self._is_accepted(publication, chosen):
                self._flip(publication, now)
        if state.registered is not None:
            effects += self._receive(state.registered, chosen, around, now, is_start=is_start)
        if self.next is not None and now.boot >= self.flip_at:
            self._flip(self.next, now)
        if self.live is not None and self.live != before:
            self._linked_at = now.boot
            flip = Flip(self._source, self.live)
            return [flip, *effects, LinkLive(self._source, self.live)]
        return effects + self._relink(state, around, now)

    def _note_greatest(self, state: SourceState, now: Now) -> None:
        known = [p for p in (state.stored, state.kept, self._greatest) if p is not None]
        if state.registered is not None:
            known.append(state.registered.publication)
        greatest = max(known, default=None)
        if greatest != self._greatest:
            self._greatest, self.changed_at = greatest, now.boot

    def _in_force(self, state: SourceState, around: Around) -> list[Publication]:
        """What we showed before, what is under live/, and what others show that the registry is already past."""
        found = [p for p in (state.kept, state.stored) if p is not None]
        if state.registered is not None:
            lives = [member.holds(self._source).live for member in around.present]
            # After our own: beside newer content of a lesser number, what we showed would look like a rollback.
            found += sorted(p for p in lives if p is not None and p < state.registered.publication)
        return found

    def _is_accepted(self, publication: Publication, chosen: Revision | None) -> bool:
        if self.live is None:
            return True
        if publication <= self.live:
            return False
        if publication.order < self.live.order and publication.revision != chosen:
            # Older content under a greater number: two sides published apart. The duty holder will publish the newer
            # content above both; until then a client of ours must not see its repository go back.
            self.refused = publication
            return False
        return True

    def _receive(
        self,
        registered: Registered,
        chosen: Revision | None,
        around: Around,
        now: Now,
        *,
        is_start: bool,
    ) -> list[Effect]:
        publication = registered.publication
        if not self._is_accepted(publication, chosen):
            return []
        if self.live == publication or (self.next is not None and publication < self.next):
            return []
        offset = self._offset(registered.by, around)
        is_known = self.next == publication
        if is_known and registered == self._heard and (self._heard_is_measured or offset is None):
            return []  # T was converted on receipt; to do it again would only add the error of a new measurement
        flip_at = self._instant(registered, offset or 0.0, now, is_start=is_start)
        if self.next is not None and not is_known and self.flip_at < flip_at:
            return []  # the others show the lesser one first, at its instant: so do we, and take this one then
        if is_known and self._heard_is_measured:
            # Two holders wrote it; the registry keeps the smaller T.
            flip_at = min(flip_at, self.flip_at)
        self._heard, self._heard_is_measured = registered, offset is not None
        self.next, self.flip_at = publication, flip_at
        return [] if flip_at <= now.boot else [Announce(self._source, publication, flip_at)]

    def _offset(self, by: str, around: Around) -> float | None:
        if by == around.station:
            return 0.0
        writer = around.by_name.get(by)
        return writer.clock_offset_s if writer else None

    def _instant(self, registered: Registered, offset: float, now: Now, *, is_start: bool) -> float:
        """T on our boot clock. An honest T is never further ahead than the lead; another one is a wrong clock."""
        delay = registered.at - offset - now.wall if registered.at else 0.0
        if delay <= self._rules.lead_s:
            return now.boot + max(delay, 0.0)
        if is_start and delay > self._rules.lead_s + self._rules.clock_offset_max_s:
            return now.boot  # known before we started: the others flipped long ago
        return now.boot + self._rules.lead_s

    def _flip(self, publication: Publication, now: Now) -> None:
        assert self.live is None or publication > self.live, "live never becomes less"
        self.live, self.live_at = publication, now.boot
        if self.next is not None and (
            self.next <= publication or self.next.order < publication.order
        ):
            self.next = None  # shown, or to be judged again

    def _relink(self, state: SourceState, around: Around, now: Now) -> list[Effect]:
        if self.live is None or around.own.by_fill:
            return []
        is_stored = state.stored is not None and state.stored >= self.live
        if is_stored or now.boot - self._linked_at < self._rules.relink_s:
            return []
        self._linked_at = now.boot
        return [LinkLive(self._source, self.live)]
