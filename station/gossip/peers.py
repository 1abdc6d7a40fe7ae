"""What we know of each conversation partner, and whom to talk to next. Times are boot-clock seconds."""

from collections import deque
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field

from station.gossip.clock import Dice
from station.gossip.entry import Digest, Stamp
from station.gossip.group import Difference
from station.gossip.messages import Twin
from station.gossip.status import StatusMark
from station.model.now import Now

ROUND_S = 1.0
# Stations; 36 conversations a second. Above, three of them reach a thousand in seven rounds.
FULL_MESH_MAX = 9
FAN_OUT = 3
# A dead member is tried for ever. In a full mesh the first try after a partition must come within the 10 seconds
# in which it has to heal; above, one pair of many is always early, and the others hear of it.
BACK_OFF_S_MAX = 30.0
BACK_OFF_MESH_S_MAX = 6.0
PUSH_WAIT_S = 1.0  # a push that nobody answered no longer holds back the next
TWIN_S = 3.0  # three rounds: a run that is silent for longer was ended
RUNS_MAX = 8
SAMPLES_MAX = 8
SAMPLE_AGE_S_MAX = 60.0
REPAIR_S_MIN, REPAIR_S_MAX = 2.0, 600.0


@dataclass(slots=True)
class Peer:
    """One member as a partner. `seen`: its last digest, None before the first."""

    name: str
    seen: Digest | None = None
    statuses: tuple[StatusMark, ...] = ()
    next_try: float = 0.0
    wait: float = ROUND_S
    pushed_at: float | None = None
    has_answered: bool = False
    is_up: bool = False
    difference: Difference | None = None
    repair_at: float = 0.0
    repair_wait: float = REPAIR_S_MIN
    twins: dict[str, tuple[Stamp, float]] = field(default_factory=dict)
    _runs: dict[str, tuple[Stamp, float]] = field(default_factory=dict)
    _samples: deque[tuple[float, float, float]] = field(
        default_factory=lambda: deque(maxlen=SAMPLES_MAX)
    )

    def hear(self, run: str, started: Stamp, boot: float) -> None:
        """This run of the peer spoke to us."""
        self._runs.pop(run, None)
        self._runs[run] = (started, boot)
        while len(self._runs) > RUNS_MAX:
            del self._runs[next(iter(self._runs))]
        self.wait = ROUND_S

    def other_runs(self, run: str, boot: float) -> tuple[Twin, ...]:
        """The runs of this peer, other than `run`, that spoke to us within TWIN_S."""
        return tuple(
            Twin(other, started, int((boot - heard) * 1000))
            for other, (started, heard) in self._runs.items()
            if other != run and boot - heard < TWIN_S
        )

    def hear_of_twins(self, twins: Iterable[Twin], boot: float) -> None:
        """The peer says which other runs of ourselves speak to it."""
        self.twins = {twin.run: (twin.started, boot - twin.age_ms / 1000) for twin in twins}

    def sample(self, asked_at: float, wall: float, boot: float) -> None:
        """The peer's wall clock read `wall` between our boot-clock readings `asked_at` and `boot`."""
        if asked_at <= boot:
            self._samples.append((boot - asked_at, wall - (asked_at + boot) / 2, boot))

    def offset(self, now: Now) -> float | None:
        """Seconds that the peer's wall clock is ahead of ours, by the recent sample with the shortest round trip.

        Samples are against our boot clock, so a step of our wall clock counts at once; one of theirs is seen when
        the newest sample and the best cannot both be true.
        """
        recent = [sample for sample in self._samples if now.boot - sample[2] < SAMPLE_AGE_S_MAX]
        if not recent:
            return None
        best, newest = min(recent), recent[-1]
        if abs(newest[1] - best[1]) > (newest[0] + best[0]) / 2:
            best = newest
        return best[1] - (now.wall - now.boot)

    def may_push(self, boot: float) -> bool:
        """Whether no push is on its way."""
        return self.seen is not None and (
            self.pushed_at is None or boot - self.pushed_at >= PUSH_WAIT_S
        )

    def knows_status(self, station: str, run: str) -> int:
        """The counter of `station`'s status that the peer said it knows; 0 when it knows another run, or none."""
        for mark in self.statuses:
            if mark.station == station and mark.run == run:
                return mark.counter
        return 0


class Peers:
    """All partners, created when first needed. The caller names only members."""

    def __init__(self, dice: Dice) -> None:
        self._dice = dice
        self._peers: dict[str, Peer] = {}
        self._round_at = 0.0

    def __getitem__(self, name: str) -> Peer:
        peer = self._peers.get(name)
        if peer is None:
            peer = self._peers[name] = Peer(name)
        return peer

    def keep(self, members: Collection[str]) -> list[str]:
        """Forget all others; the names of those that were up."""
        gone = [name for name in self._peers if name not in members]
        return [name for name in gone if self._peers.pop(name).is_up]

    def due(self, others: Collection[str], boot: float) -> list[str]:
        """The members to exchange with now, with the time of their next turn set."""
        is_mesh = len(others) < FULL_MESH_MAX
        absent = [name for name in others if not self[name].is_up]
        present = [name for name in others if self[name].is_up]
        chosen = [name for name in absent if boot >= self[name].next_try]
        for name in chosen:
            peer = self[name]
            peer.next_try = boot + peer.wait * (0.75 + 0.25 * self._dice.random())
            peer.wait = min(peer.wait * 2, BACK_OFF_MESH_S_MAX if is_mesh else BACK_OFF_S_MAX)
        if is_mesh:
            turn = [name for name in present if boot >= self[name].next_try]
            for name in turn:
                self[name].next_try = boot + self._round_s()
            return chosen + turn
        if boot >= self._round_at:
            self._round_at = boot + self._round_s()
            chosen += sorted(present, key=lambda _: self._dice.random())[:FAN_OUT]
        return chosen

    def next_due(self, others: Collection[str]) -> float:
        """When `due` will name somebody again."""
        is_mesh = len(others) < FULL_MESH_MAX
        times = [self[name].next_try for name in others if is_mesh or not self[name].is_up]
        return min([*times, *([] if is_mesh else [self._round_at])], default=float("inf"))

    def clock_disagreement(self, others: Collection[str], now: Now) -> float:
        """Seconds between our wall clock and the median of the present members'; positive: theirs is ahead."""
        offsets = [self[name].offset(now) for name in others if self[name].is_up]
        known = sorted(offset for offset in offsets if offset is not None)
        # Of an even number the two in the middle, so that one broken clock of two peers counts half.
        return (known[(len(known) - 1) // 2] + known[len(known) // 2]) / 2 if known else 0.0

    def twins(self, others: Collection[str], boot: float) -> dict[str, Stamp]:
        """The other runs of ourselves that any member heard within TWIN_S, and when they were started."""
        return {
            run: started
            for name in others
            for run, (started, heard) in self[name].twins.items()
            if boot - heard < TWIN_S
        }

    def _round_s(self) -> float:
        return ROUND_S * (0.9 + 0.2 * self._dice.random())
