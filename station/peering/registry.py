"""Registry: the group's records on this station, and the conversation with the peers that keeps them equal.

Each message to a peer is a task of its own under a deadline, so that a peer that hangs delays nobody else.
"""

import asyncio
import random
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from station.config.schema import Config
from station.gossip.effects import Alarm, Changed, Effect, PeerDown, PeerUp, Refused, Send
from station.gossip.entry import Entry, HighWater, Mark, told
from station.gossip.group import GroupFacts
from station.gossip.machine import Gossip
from station.gossip.status import StationStatus
from station.model.now import Now
from station.model.records import Kind, StationRecord
from station.peering.candidate import GROUP_KEY
from station.peering.changes import Change
from station.peering.conversation import ConversationFailed
from station.peering.driver import Driver, Ledger, RegistryClosed
from station.peering.identity import GroupIdentity
from station.peering.offset import HEADER, OffsetFilter, header_value
from station.peering.pki import Pki
from station.peering.transport import PeerTransport, TurnedAway
from station.peering.upkeep import Upkeep
from station.peering.view import RecordsView
from station.runtime.clock import Clock
from station.runtime.lines import line
from station.runtime.tasks import Tasks

HELD_DEADLINE_S = 1.0
SILENCE_S = 3.0  # on machines with too much to do, an answer takes seconds
# A hung peer: five rounds within the deadline; what is dropped, a later round repairs.
IN_FLIGHT_PER_PEER = 4
ALARMS_KEPT = 100


@dataclass(frozen=True, slots=True)
class WriteResult:
    """A durable write. `held_by`: how many peers are known to hold it as well."""

    held_by: int


@dataclass(frozen=True, slots=True)
class GossipAnswer:
    """What to answer a peer's POST /gossip with."""

    status: int
    body: bytes
    headers: Mapping[str, str]


class Registry(RecordsView):
    """Reads are of what is durable here. `alarms`: the last things a person should know; `counters`: for metrics."""

    def __init__(
        self,
        identity: GroupIdentity,
        gossip: Gossip,
        ledger: Ledger,
        transport: PeerTransport,
        clock: Clock,
        upkeep: Upkeep | None = None,
    ) -> None:
        super().__init__(gossip.get)
        self.changed((kind, key) for kind in Kind for key in gossip.items(kind))
        self._station = identity.station
        self.created = identity.facts
        self._clock = clock
        self._transport = transport
        self._upkeep = upkeep
        self.gossip = gossip
        """The core, for reading: conflicts, opaque records, differences, why writes are refused."""
        self._driver = Driver(gossip, ledger, clock, self._carry_out)
        self._tasks = Tasks()
        self._in_flight: dict[str, set[asyncio.Task[bool]]] = {}
        self._offsets: dict[str, OffsetFilter] = {}
        self._up: set[str] = set()
        self._turned_away: set[str] = set()  # the peers that said so already
        self._listeners: list[Callable[[], None]] = []
        self._heard = asyncio.Event()
        self.alarms: deque[Alarm | Refused] = deque(maxlen=ALARMS_KEPT)
        self.counters = {"exchanges": 0, "exchanges_failed": 0, "sends_dropped": 0}

    @classmethod
    def open(
        cls,
        identity: GroupIdentity,
        config: Config,
        ledger: Ledger,
        clock: Clock,
    ) -> Self:
        """From the ledger and the keys on the disk. Raises KeysInvalid, OSError, and what the ledger raises."""
        epoch, entries, high_water = ledger.load()
        transport = PeerTransport(Pki(Path(config.state_directory)), clock)
        gossip = _new_gossip(identity, epoch, entries, high_water, clock)
        upkeep = Upkeep(identity, config, clock)
        return cls(identity, gossip, ledger, transport, clock, upkeep)

    # Life

    async def run(self) -> None:
        """Until cancelled. Raises when the ledger fails: the process has to end then."""
        if self._upkeep is not None:
            upkeep = self._upkeep
            self._tasks.keep(lambda: upkeep.run(self, self._transport), name="registry upkeep")
        await self._driver.run()

    async def close(self) -> None:
        """After `run` was cancelled: end all conversations, then the ledger."""
        await self._tasks.close()
        await self._transport.close()
        await self._driver.close()

    async def first_exchange(self, deadline_s: float = 1.0, silence_s: float = SILENCE_S) -> bool:
        """Speak with every member at once; whether any answered, or there is no other.

        `deadline_s` is for all, once one has answered; `silence_s` while nobody has: they may be slow, not gone. What
        was asked before is given up: its answer may be of before a pause.
        """
        if old := self._under_way():
            for task in old:
                task.cancel()
            await asyncio.wait(old, timeout=deadline_s)
        await self._driver.do(lambda now: self.gossip.greet(now=now))
        clock = asyncio.get_running_loop().time
        asked, begun = self._under_way(), clock()
        has_answer = not asked
        while asked:
            left = begun + (deadline_s if has_answer else silence_s) - clock()
            if left <= 0:
                break
            done, asked = await asyncio.wait(
                asked, timeout=left, return_when=asyncio.FIRST_COMPLETED
            )
            has_answer |= any(_has_answer(task) for task in done)
        return has_answer

    def _under_way(self) -> set[asyncio.Task[bool]]:
        return {task for tasks in self._in_flight.values() for task in tasks}

    # Records and statuses

    async def write(self, changes: Sequence[Change]) -> WriteResult:
        """Make all changes, or none; durable here when this returns.

        Waits up to a second for one present peer to hold them too. Raises WriteRefused (gossip.replica), and
        RegistryClosed, after which the changes may be durable or not.
        """
        mark: list[Mark] = []

        def work(now: Now) -> list[Effect]:
            effects = self.gossip.put_all([_as_core(change) for change in changes], now=now)
            mark.append(self.gossip.last_write)
            return effects

        await self._driver.do(work)
        end = asyncio.get_running_loop().time() + HELD_DEADLINE_S
        while self._up and not self.gossip.held_by(mark[0]):
            self._heard.clear()
            try:
                async with asyncio.timeout_at(end):
                    await self._heard.wait()
            except TimeoutError:
                break
        return WriteResult(self.gossip.held_by(mark[0]))

    def set_status(self, payload: Mapping[str, Any]) -> None:
        """What this station says of itself from now on; it travels within half a second. Raises ValueError."""
        self.gossip.set_status(payload, now=self._driver.now())

    def statuses(self) -> Mapping[str, StationStatus]:
        """What each member, this station among them, says of itself, and how long ago."""
        return self.gossip.statuses(now=self._driver.now())

    def is_present(self, station: str) -> bool:
        """Whether the station's heartbeat is younger than five seconds; of itself: yes."""
        return station in self._up or station == self._station

    def offset(self, peer: str) -> tuple[float, float] | None:
        """(seconds that a peer's wall clock is ahead of ours, how wrong at most); None when never measured."""
        clocks = self._offsets.get(peer)
        return clocks.offset(self._clock.boot(), self._clock.wall()) if clocks else None

    def subscribe(self, listener: Callable[[], None]) -> Callable[[], None]:
        """Call `listener` after records changed or a peer came or went; it reads what it needs. Returns the way out."""
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    # Peers

    def allowed(self, station: str) -> bool:
        """Whether a peer whose certificate has this common name may speak: a member, and not ourselves.

        Not by serial: a renewed certificate is shown before its record has travelled.
        """
        return station in self.stations() and station != self._station

    async def handle_request(
        self, sender: str, body: bytes, received_wall: float | None = None
    ) -> GossipAnswer:
        """The answer to a peer's message. `sender`: the common name of the certificate that it showed.

        `received_wall`: this station's wall clock when the request came, if that was earlier. Raises RegistryClosed.
        """
        received = self._clock.wall() if received_wall is None else received_wall
        reply = await self._driver.do(lambda now: self.gossip.receive(sender, body, now=now))
        self._heard.set()
        headers = {HEADER: header_value(received, max(received, self._clock.wall()))}
        if reply is not None:
            return GossipAnswer(200, reply, headers)
        return GossipAnswer(400 if self.allowed(sender) else 403, b"", headers)

    def _send(self, effect: Send) -> None:
        peer = self.stations().get(effect.peer)
        tasks = self._in_flight.setdefault(effect.peer, set())
        if peer is None or len(tasks) >= IN_FLIGHT_PER_PEER:
            self.counters["sends_dropped"] += 1
            return
        task = self._tasks.start(self._exchange(peer, effect.data), name=f"gossip {effect.peer}")
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    async def _exchange(self, peer: StationRecord, data: bytes) -> bool:
        """Whether the peer has answered."""
        try:
            exchange = await self._transport.exchange(peer, data)
        except ConversationFailed as error:
            self.counters["exchanges_failed"] += 1
            if isinstance(error, TurnedAway) and peer.name not in self._turned_away:
                self._turned_away.add(peer.name)
                self._carry_out(Alarm("turned_away", str(error), peer.name))
            line("debug", "gossip.failed", peer=peer.name, error=str(error)[:500])
            return False
        self.counters["exchanges"] += 1
        self._turned_away.discard(peer.name)
        if exchange.sample is not None:
            self._offsets.setdefault(peer.name, OffsetFilter()).add(exchange.sample)
        try:
            await self._driver.do(
                lambda now: self.gossip.receive(peer.name, exchange.answer, now=now)
            )
        except RegistryClosed:
            return False
        self._heard.set()
        return True

    # Effects

    def _carry_out(self, effect: Effect) -> None:
        match effect:
            case Send():
                self._send(effect)
            case Changed():
                self.changed(effect.keys)
                self._tell_listeners()
            case PeerUp():
                self._up.add(effect.peer)
                line("info", "peer.up", peer=effect.peer)
                self._tell_listeners()
            case PeerDown():
                self._up.discard(effect.peer)
                line("warning", "peer.down", peer=effect.peer)
                self._tell_listeners()
            case Alarm():
                self.alarms.append(effect)
                line("warning", f"gossip.{effect.code}", peer=effect.peer, detail=effect.detail)
            case Refused():
                self.alarms.append(effect)
                said = {"field": effect.field, "ours": effect.ours, "theirs": effect.theirs}
                line("error", "peer.refused", peer=effect.peer, **said)

    def _tell_listeners(self) -> None:
        for listener in list(self._listeners):
            try:
                listener()
            except Exception as error:
                line("error", "listener.failed", error=repr(error))


def _as_core(change: Change) -> tuple[str, str, dict[str, Any] | None]:
    return change.kind, change.key, None if change.value is None else dict(change.value)


def _new_gossip(
    identity: GroupIdentity,
    epoch: str,
    entries: Iterable[Entry],
    high_water: HighWater | None,
    clock: Clock,
) -> Gossip:
    """The core as the ledger knows it; without that, with what the accepting station said at the join.

    The facts that peers compare are those of the creation: equal on all members for ever, unlike the record.
    """
    known = list(entries)
    if high_water is None and identity.members:
        records = [(Kind.GROUP, GROUP_KEY, identity.record.model_dump(mode="json"))]
        records += [(Kind.STATION, m.name, m.model_dump(mode="json")) for m in identity.members]
        known = [told(kind, key, value) for kind, key, value in records] + known
    return Gossip(
        station=identity.station,
        epoch=epoch,
        group=GroupFacts.of(identity.facts),
        random=random.SystemRandom(),
        now=Now(wall=clock.wall(), boot=clock.boot()),
        entries=known,
        high_water=high_water,
    )


def _has_answer(exchange: asyncio.Task[bool]) -> bool:
    return not exchange.cancelled() and exchange.exception() is None and exchange.result()
