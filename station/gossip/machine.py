"""Gossip: the operator's changes, the passing of time and the peers' bytes go in; effects come out.

It reads no clock and does no I/O. The caller carries out the effects strictly in order (see effects), answers
`receive` with the Send that is a reply, and calls `tick` at `next_deadline`. ALGORITHM.md says why it agrees.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from station.gossip.clock import AHEAD_MS_MAX, Dice
from station.gossip.conversation import Conversation
from station.gossip.effects import Alarm, Changed, Effect
from station.gossip.entry import Entry, HighWater, Mark, Stamp, Value
from station.gossip.group import Difference, GroupFacts
from station.gossip.limits import Limits
from station.gossip.peers import Peers
from station.gossip.replica import Change, Replica, WriteRefused
from station.gossip.status import StationStatus, StatusBoard
from station.model.now import Now
from station.model.records import Kind

# Between two looks at who is silent for too long.
LOOK_S = 1.0
# Changes of our status within this time travel together.
STATUS_DELAY_S = 0.1
# After a restart one peer may know less of our old writes than another; after this long, who answered must do.
STARTING_S = 3.0
# Nobody there at all: go on under a new epoch, whose sequence numbers nobody can have seen.
ALONE_S = 10.0
# The caller ticks each second; a longer gap means that we stood still, not the others.
PAUSE_S = 3.0


@dataclass(frozen=True, slots=True)
class Conflict:
    """Two values of one record, written without knowledge of each other. `kept` counts until somebody writes again."""

    kind: str
    key: str
    kept: Entry
    lost: Entry


class Gossip:
    """One station's part in the group.

    `entries` and `high_water` are what the ledger holds; without a high water the epoch must be new. `random` is
    the only source of chance. Records are JSON objects; those given out are not to be changed.
    """

    def __init__(
        self,
        *,
        station: str,
        epoch: str,
        group: GroupFacts,
        random: Dice,
        now: Now,
        entries: Iterable[Entry] = (),
        high_water: HighWater | None = None,
        limits: Limits | None = None,
    ) -> None:
        self.station = station
        self._dice = random
        self._limits = limits or Limits()
        self._replica = Replica(station, epoch, entries, high_water)
        started = self._replica.clock.issue(now.wall)
        self._run, self._started = f"{random.getrandbits(64):016x}", started
        self._board = StatusBoard(station, epoch, self._run, started, now.boot)
        self._peers = Peers(random)
        self._conversation = Conversation(
            self._replica, self._board, self._peers, random, self._limits, group, self._run, started
        )
        self._begun = self._ticked = now.boot
        self._is_new_epoch = high_water is None
        self._look_at = now.boot + LOOK_S
        self._collect_at = now.boot + self._limits.collect_every_s
        self._status_due: float | None = None
        self._twin_since: float | None = None

    # Reading

    @property
    def epoch(self) -> str:
        """The epoch this station writes under now."""
        return self._replica.origin.epoch

    @property
    def is_new_epoch(self) -> bool:
        """Whether this run began, or went on, without the memory of the one before."""
        return self._is_new_epoch

    @property
    def last_write(self) -> Mark:
        """The mark of this station's last write, for `held_by`."""
        return Mark(self._replica.origin, self._replica.written)

    @property
    def first_exchange_done(self) -> bool:
        """Whether a member answered since the start, or there is no other."""
        others = self._conversation.others()
        return not others or any(self._peers[name].has_answered for name in others)

    def get(self, kind: str, key: str) -> Value | None:
        """A record; None when there is none, it is deleted, or it does not validate."""
        slot = self._replica.state.slot(kind, key)
        return slot.readable if slot else None

    def is_known(self, kind: str, key: str) -> bool:
        """Whether there is such a record, or the mark of its deletion: a registry that was wiped has neither."""
        return self._replica.state.slot(kind, key) is not None

    def is_deleted(self, kind: str, key: str) -> bool:
        """Whether a record is known to have been deleted; for as long as its tombstone is remembered."""
        slot = self._replica.state.slot(kind, key)
        return slot is not None and slot.winner.value is None

    def items(self, kind: str) -> dict[str, Value]:
        """All valid records of a kind, by key."""
        return self._replica.state.readable(kind)

    def members(self) -> dict[str, Value]:
        """The records of kind `station` by name: the only source of addresses to dial."""
        return self.items(Kind.STATION)

    def conflicts(self) -> list[Conflict]:
        """The records that were changed on two sides at once, with both values."""
        return [
            Conflict(kind, key, slot.winner, slot.conflict)
            for (kind, key), slot in self._replica.state.slots()
            if slot.conflict is not None and slot.conflict.value != slot.winner.value
        ]

    def deleted(self) -> list[tuple[str, str]]:
        """(kind, key) of the deletions that are still remembered."""
        slots = self._replica.state.slots()
        return [record for record, slot in slots if slot.winner.value is None]

    def opaque(self) -> list[tuple[str, str]]:
        """(kind, key) of the records that are kept and relayed, but not understood."""
        return [
            record
            for record, slot in self._replica.state.slots()
            if slot.winner.value is not None and slot.readable is None
        ]

    def digest(self) -> tuple[Mark, ...]:
        """What this station has seen, sorted: equal on two stations that have seen the same."""
        return self._replica.high_water().seen

    def high_water(self) -> HighWater:
        """What belongs beside the entries in the ledger."""
        return self._replica.high_water()

    def held_by(self, written: Mark | None = None) -> int:
        """How many members, besides us, are known to hold `written` (default: our last write) durably."""
        origin, sequence = written or self.last_write
        digests = [self._peers[name].seen for name in self._conversation.others()]
        return sum(digest.get(origin, 0) >= sequence for digest in digests if digest is not None)

    def statuses(self, *, now: Now) -> dict[str, StationStatus]:
        """What the members, and we, say of themselves."""
        return self._board.statuses(self.members(), boot=now.boot)

    def clock_offset(self, peer: str, *, now: Now) -> float | None:
        """Seconds that a peer's wall clock is ahead of ours, to about half a round trip; None: not measured lately."""
        return self._peers[peer].offset(now) if peer in self.members() else None

    def differences(self) -> dict[str, Difference]:
        """The members that are refused, or refuse us, and in which field they differ."""
        found = {name: self._peers[name].difference for name in self._conversation.others()}
        return {name: difference for name, difference in found.items() if difference is not None}

    def stalled(self) -> dict[str, Stamp]:
        """Stations whose changes wait because their stamp is from the future, and that stamp."""
        return {origin.station: stamp for origin, stamp in self._replica.stalled.items()}

    # Writing

    def put(self, kind: str, key: str, value: Mapping[str, Any], *, now: Now) -> list[Effect]:
        """Write one record. Raises WriteRefused. The same value again is no change and no effect."""
        return self.put_all([(kind, key, dict(value))], now=now)

    def delete(self, kind: str, key: str, *, now: Now) -> list[Effect]:
        """Delete one record; deleting what is not there is no change. Raises WriteRefused."""
        return self.put_all([(kind, key, None)], now=now)

    def put_all(self, changes: Sequence[Change], *, now: Now) -> list[Effect]:
        """Write (value) or delete (None) several records in one durable step. Raises WriteRefused: none is written."""
        refusal = self.write_refusal(now=now)
        if refusal is not None:
            raise refusal
        self._replica.write(changes, wall=now.wall)
        effects = self._replica.flush()
        return effects + self._push(now) if effects else effects

    def write_refusal(self, *, now: Now) -> WriteRefused | None:
        """Why a write would be refused now, whatever it says; None when it would not."""
        if self._conversation.is_removed():
            return WriteRefused("forgotten", "this station was removed from the group")
        others = self._conversation.others()
        elder = self._elder_twins(now)
        if elder:
            return WriteRefused(
                "clone",
                f"another station runs as {self.station!r} (run {elder[0]}) and was started earlier; "
                "after a restart this ends within seconds",
            )
        ahead = self._peers.clock_disagreement(others, now)
        if abs(ahead) * 1000 > AHEAD_MS_MAX:
            return WriteRefused(
                "clock", f"this station's clock is {-ahead:+.0f} s off the median of its peers"
            )
        if not self._is_new_epoch and others:
            answered = [name for name in others if self._peers[name].has_answered]
            is_waiting = now.boot - self._begun < STARTING_S
            if not answered or (is_waiting and len(answered) < len(others)):
                return WriteRefused("starting", "the first exchange with the peers is not done yet")
        return None

    def set_status(self, payload: Mapping[str, Any], *, now: Now) -> list[Effect]:
        """Replace what we say of ourselves; it travels at the next tick. Raises ValueError: no JSON, or too large."""
        if self._board.set_own(payload) and self._status_due is None:
            self._status_due = now.boot + STATUS_DELAY_S
        return []

    # Time and peers

    def receive(self, sender: str, data: bytes, *, now: Now) -> list[Effect]:
        """A request or an answer from the peer whose certificate names `sender`. Never raises for what it says."""
        effects, sends = self._conversation.receive(sender, data, now=now)
        if self._conversation.is_rolled_back:
            self._conversation.is_rolled_back = False
            effects += self._renew("rolled_back", "peers know more writes of this station than it")
        effects += self._watch_twins(now)
        return self._settle(effects, sends, now)

    def tick(self, *, now: Now) -> list[Effect]:
        """What is due by now."""
        gap, self._ticked = now.boot - self._ticked, now.boot
        if gap > PAUSE_S:
            self._board.forgive(gap - LOOK_S)
        self._look_at = now.boot + LOOK_S
        effects: list[Effect] = []
        is_alone = now.boot - self._begun >= ALONE_S and not self.first_exchange_done
        if is_alone and not self._is_new_epoch:
            effects += self._renew("new_epoch", "no peer answered since the start")
        if now.boot >= self._collect_at:
            self._collect_at = now.boot + self._limits.collect_every_s
            self._conversation.collect(now)
        effects += self._conversation.notice_presence(now)
        sends = self._conversation.due(now)
        if self._status_due is not None and now.boot >= self._status_due:
            self._status_due = None
            sends += self._push(now)
        return self._settle(effects, sends, now)

    def greet(self, *, now: Now) -> list[Effect]:
        """One exchange with every member at once, whatever their turn: after a start or a pause."""
        return [self._conversation.syn(name, now) for name in self._conversation.others()]

    def next_deadline(self) -> float:
        """Boot-clock seconds at which `tick` wants to be called, at the latest."""
        times = [self._look_at, self._collect_at, self._peers.next_due(self._conversation.others())]
        return min(times if self._status_due is None else [*times, self._status_due])

    def _push(self, now: Now) -> list[Effect]:
        found = [
            self._conversation.push(self._peers[name], now)
            for name in self._conversation.others()
            if self._peers[name].is_up
        ]
        return [send for send in found if send is not None]

    def _settle(self, effects: list[Effect], sends: Sequence[Effect], now: Now) -> list[Effect]:
        """What must be durable first, then what everybody may know."""
        durable = self._replica.flush()
        if any(isinstance(effect, Changed) and Kind.STATION in effect.kinds for effect in durable):
            effects += self._conversation.notice_presence(now)
        return [*durable, *effects, *sends]

    def _renew(self, code: str, why: str) -> list[Effect]:
        self._replica.renew(f"{self._dice.getrandbits(64):016x}")
        self._is_new_epoch = True
        return [Alarm(code, f"{why}; it writes under the new epoch {self.epoch}")]

    def _elder_twins(self, now: Now) -> list[str]:
        twins = self._peers.twins(self._conversation.others(), now.boot)
        ours = (self._started, self._run)
        return sorted(run for run, started in twins.items() if (started, run) < ours)

    def _watch_twins(self, now: Now) -> list[Effect]:
        """An alarm when another run of us lives on for longer than a restart leaves traces."""
        twins = self._peers.twins(self._conversation.others(), now.boot)
        if not twins:
            self._twin_since = None
            return []
        if self._twin_since is None:
            self._twin_since = now.boot
        if self._twin_since == float("inf") or now.boot - self._twin_since < 2 * STARTING_S:
            return []
        self._twin_since = float("inf")
        return [Alarm("clone", f"two stations run as {self.station!r}: {sorted(twins)}")]
