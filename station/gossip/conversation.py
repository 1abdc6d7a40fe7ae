"""The exchange with peers: whom we listen to, what we answer, what we take in, what we offer."""

from typing import assert_never

from station.gossip.clock import Dice
from station.gossip.codec import Malformed, decode, encode
from station.gossip.delta import Delta, deltas_for, lacks
from station.gossip.effects import Alarm, Effect, PeerDown, PeerUp, Refused, Send
from station.gossip.entry import Digest, Stamp, digest_of, marks
from station.gossip.group import Difference, GroupFacts
from station.gossip.limits import Limits
from station.gossip.messages import PROTOCOL, Message, MessageType, Sender, Summary
from station.gossip.peers import REPAIR_S_MAX, REPAIR_S_MIN, ROUND_S, Peer, Peers
from station.gossip.replica import Replica
from station.gossip.reread import Reread
from station.gossip.status import PRESENT_S, StatusBoard
from station.model.now import Now
from station.model.records import Kind

MEMBER = "member"  # the field of a Refusal to a station whose record was deleted
STRANGERS_MAX = 100  # names remembered so that each is complained of once


class Conversation:
    """All exchanges of one station. Holds no records and no statuses: it moves them."""

    def __init__(
        self,
        replica: Replica,
        board: StatusBoard,
        peers: Peers,
        dice: Dice,
        limits: Limits,
        group: GroupFacts,
        run: str,
        started: Stamp,
    ) -> None:
        self._replica, self._board, self._peers, self._dice = replica, board, peers, dice
        self._limits, self._group, self._run, self._started = limits, group, run, started
        self._station = replica.origin.station
        self._reread: Reread | None = None
        self._strangers: set[str] = set()
        # A peer knows more writes of ours than we do. Cleared by who takes a new epoch.
        self.is_rolled_back = False

    def others(self) -> list[str]:
        """The other members, sorted."""
        return sorted(self._replica.state.readable(Kind.STATION).keys() - {self._station})

    def receive(self, sender: str, data: bytes, *, now: Now) -> tuple[list[Effect], list[Effect]]:
        """What to tell people, and what to send once everything is durable."""
        try:
            message = decode(data)
        except Malformed as error:
            return [Alarm("malformed", str(error), sender)], []
        if sender == self._station:
            return [], []  # an address that leads back to us
        if message.sender.station != sender:
            return [Alarm("malformed", f"calls itself {message.sender.station!r}", sender)], []
        if not self._is_welcome(sender):
            return self._turn_away(sender, message, now)
        peer = self._peers[sender]
        difference = message.difference and message.difference.seen_from_there()
        if message.type is not MessageType.REFUSAL:
            difference = self._group.difference(message.sender.group)
        if difference is not None:
            return self._refuse(peer, difference, message, now)
        if message.summary is None:
            return [], []
        peer.difference = None
        peer.hear(message.sender.run, message.sender.started, now.boot)
        peer.statuses = message.summary.statuses
        for status in message.statuses:
            self._board.absorb(status, boot=now.boot)
        self._look_after_own(peer, message, message.summary, now)
        return self._answer(peer, message, message.summary, now)

    def _is_welcome(self, sender: str) -> bool:
        """A member; or anybody with a certificate of the group while we, having lost everything, know no member."""
        if self._replica.state.slot(Kind.STATION, sender) is None and not self.others():
            return True
        return sender in self.others()

    def _turn_away(
        self, sender: str, message: Message, now: Now
    ) -> tuple[list[Effect], list[Effect]]:
        """A removed station is told so; one we never heard of may have joined a moment ago elsewhere."""
        effects: list[Effect] = []
        if sender not in self._strangers and len(self._strangers) < STRANGERS_MAX:
            self._strangers.add(sender)
            effects = [Alarm("not_a_member", "has a certificate, but no record here", sender)]
        is_removed = self._replica.state.slot(Kind.STATION, sender) is not None
        if not is_removed or message.type not in (MessageType.SYN, MessageType.ACK):
            return effects, []
        removed = Difference(MEMBER, "removed", sender)
        refusal = Message(MessageType.REFUSAL, self._sender(now), difference=removed)
        return effects, [Send(sender, encode(refusal), is_reply=True)]

    def is_removed(self) -> bool:
        """Whether our record is deleted, here or at a member that told us."""
        slot = self._replica.state.slot(Kind.STATION, self._station)
        differences = [self._peers[name].difference for name in self.others()]
        return (slot is not None and slot.winner.value is None) or any(
            difference.field == MEMBER for difference in differences if difference is not None
        )

    def _refuse(
        self, peer: Peer, difference: Difference, message: Message, now: Now
    ) -> tuple[list[Effect], list[Effect]]:
        effects: list[Effect] = []
        if peer.difference != difference:
            peer.difference = difference
            effects = [Refused(peer.name, difference.field, difference.ours, difference.theirs)]
        if message.type not in (MessageType.SYN, MessageType.ACK):
            return effects, []
        refusal = Message(MessageType.REFUSAL, self._sender(now), difference=difference)
        return effects, [Send(peer.name, encode(refusal), is_reply=True)]

    def _look_after_own(self, peer: Peer, message: Message, summary: Summary, now: Now) -> None:
        """What others say of ourselves: a later run, and more writes than we know of."""
        if message.type in (MessageType.SYN_ACK, MessageType.SEEN):
            peer.hear_of_twins(message.twins, now.boot)
        if not self._peers.twins(self.others(), now.boot):
            for mark in summary.statuses:
                if mark.station == self._station:
                    self._board.outlive(mark)
        if digest_of(summary.seen).get(self._replica.origin, 0) > self._replica.written:
            self.is_rolled_back = True

    def _answer(
        self, peer: Peer, message: Message, summary: Summary, now: Now
    ) -> tuple[list[Effect], list[Effect]]:
        before, peer.seen = peer.seen or {}, digest_of(summary.seen)
        theirs = peer.seen
        is_news = lacks(before, theirs)
        had = dict(self._replica.state.seen)
        effects, sends = self._take(peer, message, summary, now)
        match message.type:
            case MessageType.SYN:
                peer.next_try = max(peer.next_try, now.boot + ROUND_S)
                sends.append(self._reply(MessageType.SYN_ACK, peer, message, now))
            case MessageType.ACK:
                sends.append(self._reply(MessageType.SEEN, peer, message, now))
            case MessageType.SYN_ACK:
                peer.sample(message.asked_at, message.sender.wall, now.boot)
                peer.has_answered = True
                if message.has_more and not sends and lacks(had, self._replica.state.seen):
                    sends.append(self.syn(peer.name, now))
                sends += self._more(peer, now)
            case MessageType.SEEN:
                peer.pushed_at = None
                sends += self._more(peer, now) if is_news else []
            case MessageType.REFUSAL:
                pass
            case _:
                assert_never(message.type)
        return effects, sends

    def _more(self, peer: Peer, now: Now) -> list[Effect]:
        send = self.push(peer, now)
        return [] if send is None else [send]

    def _take(
        self, peer: Peer, message: Message, summary: Summary, now: Now
    ) -> tuple[list[Effect], list[Effect]]:
        """Take in the deltas, and notice when they cannot repair what we lack."""
        state = self._replica.state
        theirs, collected = digest_of(summary.seen), digest_of(summary.collected)
        behind = {o for o, sequence in collected.items() if state.seen.get(o, 0) < sequence}
        reread = self._reread if self._reread and self._reread.peer == peer.name else None
        stalled = set(self._replica.stalled)
        for delta in message.deltas:
            if reread is not None:
                reread.take(delta, self._replica, wall=now.wall, boot=now.boot)
            if delta.origin not in behind:
                self._replica.absorb(delta, wall=now.wall)
        effects: list[Effect] = [
            Alarm("stalled", f"a change of {origin.station} is stamped in the future", peer.name)
            for origin in self._replica.stalled.keys() - stalled
        ]
        if self._reread and self._reread.is_overdue(now.boot):
            self._reread = reread = None
        if reread is not None:
            if message.type is not MessageType.SYN_ACK:
                return effects, []
            if not reread.is_complete(theirs):
                return effects, [self.syn(peer.name, now)]
            dropped = reread.finish(self._replica, collected)
            self._reread = None
            text = f"read everything again; {dropped} deleted records dropped"
            if reread.is_behind and (dropped or reread.own_unseen):
                effects.append(
                    Alarm("behind", f"{text}, {reread.own_unseen} own changes kept", peer.name)
                )
            return effects, []
        alarms, sends = self._start_reread(peer, bool(behind), theirs, summary.fingerprint, now)
        return effects + alarms, sends

    def _start_reread(
        self, peer: Peer, is_behind: bool, theirs: Digest, fingerprint: int | None, now: Now
    ) -> tuple[list[Effect], list[Effect]]:
        effects: list[Effect] = []
        if self._reread is not None:
            return effects, []
        if not is_behind:
            if fingerprint is None or theirs != self._replica.state.seen:
                return effects, []
            if fingerprint == self._replica.state.fingerprint:
                peer.repair_wait = REPAIR_S_MIN
                return effects, []
            if now.boot < peer.repair_at:
                return effects, []
            peer.repair_at = now.boot + peer.repair_wait
            peer.repair_wait = min(2 * peer.repair_wait, REPAIR_S_MAX)
            effects.append(Alarm("hole", "has seen the same, but holds something else", peer.name))
        self._reread = Reread(
            peer.name, self._replica, is_behind=is_behind, theirs=theirs, boot=now.boot
        )
        return effects, [self.syn(peer.name, now)]

    def syn(self, name: str, now: Now) -> Send:
        """The beginning of an exchange."""
        peer = self._peers[name]
        self._board.beat(self._replica.origin.epoch, now.boot)
        message = Message(
            MessageType.SYN,
            self._sender(now),
            self._summary(name),
            asked_at=now.boot,
            statuses=self._board.deltas_for(peer.statuses, self._told_of(), boot=now.boot),
        )
        return Send(name, encode(message))

    def push(self, peer: Peer, now: Now) -> Send | None:
        """What the peer lacks by its last digest, and news of our status. None: nothing, or a push is on its way."""
        if peer.seen is None or not peer.may_push(now.boot):
            return None
        known = peer.knows_status(self._station, self._run)
        if not lacks(peer.seen, self._replica.state.seen) and known >= self._board.own_changed_at:
            return None
        peer.pushed_at = now.boot
        return Send(peer.name, encode(self._offer(MessageType.ACK, peer, now)))

    def due(self, now: Now) -> list[Effect]:
        """The exchanges to begin now."""
        return [self.syn(name, now) for name in self._peers.due(self.others(), now.boot)]

    def notice_presence(self, now: Now) -> list[Effect]:
        """Who came and who went; forgets who is no member any more."""
        others = self.others()
        effects: list[Effect] = [PeerDown(name) for name in self._peers.keep(others)]
        for name in others:
            peer = self._peers[name]
            is_up = self._board.age(name, boot=now.boot) < PRESENT_S
            if is_up != peer.is_up:
                peer.is_up = is_up
                peer.wait, peer.next_try = ROUND_S, now.boot
                effects.append(PeerUp(name) if is_up else PeerDown(name))
        return effects

    def collect(self, now: Now) -> int:
        """Drop the tombstones that every member has acknowledged and that are old enough; how many.

        Only while we have seen all that the members had when they acknowledged: what they write later is stamped
        after the tombstone, but what they wrote before must meet it here, or it would come back to life.
        """
        digests = [self._peers[name].seen for name in self.others()]
        before = Stamp(int((now.wall - self._limits.tombstone_life_s) * 1000), 0)
        if before.physical_ms <= 0 or self._reread is not None:
            return 0
        known = [digest for digest in digests if digest is not None]
        if len(known) < len(digests) or any(lacks(self._replica.state.seen, d) for d in known):
            return 0
        return self._replica.collect(known, before=before)

    def _reply(self, kind: MessageType, peer: Peer, message: Message, now: Now) -> Send:
        answer = self._offer(kind, peer, now, asked_at=message.asked_at, run=message.sender.run)
        return Send(peer.name, encode(answer), is_reply=True)

    def _offer(
        self, kind: MessageType, peer: Peer, now: Now, *, asked_at: float = 0.0, run: str = ""
    ) -> Message:
        self._board.beat(self._replica.origin.epoch, now.boot)
        deltas: tuple[Delta, ...] = ()
        has_more = False
        if kind is not MessageType.SEEN:
            deltas, has_more = deltas_for(
                self._replica.state,
                peer.seen or {},
                bytes_max=self._limits.delta_bytes,
                dice=self._dice,
            )
        return Message(
            kind,
            self._sender(now),
            self._summary(peer.name, is_plain=kind is not MessageType.SYN),
            asked_at=asked_at,
            deltas=deltas,
            has_more=has_more,
            statuses=self._board.deltas_for(peer.statuses, self._told_of(), boot=now.boot),
            twins=peer.other_runs(run, now.boot) if run else (),
        )

    def _told_of(self) -> list[str]:
        return [*self.others(), self._station]

    def _sender(self, now: Now) -> Sender:
        origin = self._replica.origin
        return Sender(PROTOCOL, self._group, *origin, self._run, self._started, now.wall)

    def _summary(self, name: str, *, is_plain: bool = False) -> Summary:
        state = self._replica.state
        seen = state.seen
        if self._reread is not None and self._reread.peer == name and not is_plain:
            seen = self._reread.digest
        return Summary(
            marks(seen),
            marks(state.collected),
            None if self._reread is not None else state.fingerprint,
            self._board.marks(self._told_of()),
        )
