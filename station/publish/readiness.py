"""Whether a candidate may be shown: staged by every present station, but for laggards that do not get on.

Tracked by every station, so that duty can move without starting the clock of the laggards again.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from station.model.identity import Revision
from station.publish.rules import Rules
from station.publish.view import Member


@dataclass(frozen=True, slots=True)
class Verdict:
    """`left_behind`: the present stations that would flip without having it; they answer by fill."""

    is_ready: bool = False
    left_behind: tuple[str, ...] = ()


@dataclass(slots=True)
class _Mark:
    state: tuple[float, bool, bool]
    since: float


class Readiness:
    """Progress of the stations towards one revision of one source."""

    def __init__(self, source: str, rules: Rules) -> None:
        self._source = source
        self._rules = rules
        self.restart()

    def restart(self) -> None:
        """Forget all times: we were paused, or look at another revision."""
        self._revision: Revision | None = None
        self._complete_at: float | None = None  # since then the bytes can be had from a peer
        self._enough_at: float | None = None  # since then only laggards hold it up
        self._marks: dict[str, _Mark] = {}

    def step(self, revision: Revision | None, present: Sequence[Member], boot: float) -> Verdict:
        """Note the progress of the present stations; say whether `revision` may be published now."""
        if revision != self._revision:
            self.restart()
            self._revision = revision
        if revision is None:
            return Verdict()
        self._note_progress(revision, present, boot)
        complete = {m.name for m in present if revision in m.holds(self._source).complete}
        if not complete:
            return Verdict()
        if self._complete_at is None:
            self._complete_at = boot
        lacking = [m for m in present if not self._is_staged(m, revision)]
        stalled = {m.name for m in lacking if self._is_stalled(m, boot)}
        able = {m.name for m in present if not m.by_fill and m.name not in stalled} | complete
        if len(complete) < min(2, len(able)):
            return Verdict()
        if self._enough_at is None:
            self._enough_at = boot
        is_over = boot - self._enough_at >= self._rules.patience_s
        left = tuple(m.name for m in lacking if is_over or m.name in stalled)
        return Verdict(is_ready=len(left) == len(lacking), left_behind=left)

    def _note_progress(self, revision: Revision, present: Sequence[Member], boot: float) -> None:
        for gone in self._marks.keys() - {member.name for member in present}:
            del self._marks[gone]
        for member in present:
            held = member.holds(self._source)
            state = (held.progress, revision in held.orders, revision in held.complete)
            mark = self._marks.get(member.name)
            if mark is None or mark.state != state:
                self._marks[member.name] = _Mark(state, boot)

    def _is_staged(self, member: Member, revision: Revision) -> bool:
        held = member.holds(self._source)
        return revision in held.staged or (member.by_fill and revision in held.orders)

    def _is_stalled(self, member: Member, boot: float) -> bool:
        assert self._complete_at is not None, "asked only once somebody has it"
        since = max(self._marks[member.name].since, self._complete_at)
        return boot - since >= self._rules.stall_s
