"""Many stations, one seed, no event loop: the real core under a virtual network, virtual disks and virtual time."""

import heapq
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from random import Random
from typing import Any

from station.gossip.effects import Alarm, Changed, Effect, Persist, Refused, Send
from station.gossip.entry import HighWater, told
from station.gossip.group import GroupFacts
from station.gossip.limits import Limits
from station.gossip.machine import Gossip
from station.gossip.replica import WriteRefused
from station.model.now import Now
from tests.simulation.checkers import Checker, Violation
from tests.simulation.disk import Disk
from tests.simulation.network import Network

WALL = 1_700_000_000.0
GROUP = GroupFacts("g-1", "datacenter-1", "lb.example.com", 16080, 17080, 17443)


def station_record(name: str) -> dict[str, Any]:
    return {"name": name, "address": f"{name.lower()}.example.com"}


@dataclass
class Node:
    """A station: its disk, its clock, and while it runs its core and the effects that wait for the disk."""

    name: str
    disk: Disk
    skew_s: float = 0.0
    group: GroupFacts = GROUP
    gossip: Gossip | None = None
    queue: deque[tuple[Effect, str]] = field(default_factory=deque)
    is_busy: bool = False  # the disk is writing
    life: int = 0  # number of starts; what belongs to an earlier one is void
    tick_at: float = float("inf")
    alarms: list[Alarm] = field(default_factory=list)
    refusals: list[Refused] = field(default_factory=list)


class World:
    """Owns seed, time, network, disks and stations. A failure prints the seed and the last events."""

    def __init__(
        self, seed: int, names: str = "ABC", *, limits: Limits | None = None, start: bool = True
    ) -> None:
        self.seed, self.dice = seed, Random(seed)
        self.limits = limits or Limits(delta_bytes=2_000, tombstone_life_s=4.0, collect_every_s=1.0)
        self.network = Network(self.dice)
        self.checker = Checker()
        self.time = 0.0
        self.disk_s = 0.02  # longest write
        self._heap: list[tuple[float, int, Callable[[], None]]] = []
        self._count = 0
        self.story: deque[str] = deque(maxlen=60)
        self.nodes = {name: Node(name, Disk(self._epoch())) for name in names}
        if start:
            for name in names:
                self.start(name)
            self.write(names[0], [("station", name, station_record(name)) for name in names])

    # What can be done to it

    def now(self, name: str) -> Now:
        return Now(wall=WALL + self.time + self.nodes[name].skew_s, boot=1_000.0 + self.time)

    def gossip(self, name: str) -> Gossip:
        gossip = self.nodes[name].gossip
        assert gossip is not None, f"{name} is down"
        return gossip

    def start(self, name: str) -> None:
        """Start a station from its disk; one without state knows the members from its join answer."""
        node = self.nodes[name]
        assert node.gossip is None
        epoch, entries, high_water = node.disk.load()
        if not entries:
            entries = [told("station", other, station_record(other)) for other in self.nodes]
        node.life += 1
        node.gossip = Gossip(
            station=name.rstrip("'"),
            epoch=epoch,
            group=node.group,
            random=self.dice,
            now=self.now(name),
            entries=entries,
            high_water=high_water,
            limits=self.limits,
        )
        self.checker.started(name)
        self.tell(f"start {name} epoch {epoch[:4]} with {len(entries)} entries")
        self._plan_tick(node)

    def crash(self, name: str) -> None:
        """Power off: what waits for the disk, and what waits behind it, is gone."""
        node = self.nodes[name]
        self.tell(f"crash {name} with {len(node.queue)} effects undone")
        node.gossip, node.is_busy, node.tick_at = None, False, float("inf")
        node.queue.clear()

    def lose_disk(self, name: str) -> None:
        """An empty disk: a new epoch. What only this disk held is lost."""
        node = self.nodes[name]
        if node.gossip is not None:
            self.crash(name)
        self.checker.lost.add(node.disk.load()[0])
        node.disk = Disk(self._epoch())
        self.tell(f"lose disk of {name}")

    def write(
        self, name: str, changes: list[tuple[str, str, Mapping[str, Any] | None]]
    ) -> WriteRefused | None:
        """Write at a station; the refusal when it refuses."""
        plain = [(kind, key, None if v is None else dict(v)) for kind, key, v in changes]
        try:
            effects = self.gossip(name).put_all(plain, now=self.now(name))
        except WriteRefused as refusal:
            self.tell(f"{name} refuses {changes!r:.80}: {refusal.code}")
            return refusal
        self.tell(f"{name} writes {changes!r:.120}")
        self._take(self.nodes[name], effects)
        return None

    def put(self, name: str, key: str, value: Mapping[str, Any] | None) -> WriteRefused | None:
        """One record of a kind without a model."""
        return self.write(name, [("settings", key, value)])

    def inject(self, receiver: str, sender: str, data: bytes) -> None:
        """Deliver these bytes now."""
        node = self.nodes[receiver]
        if node.gossip is not None:
            effects = node.gossip.receive(sender.rstrip("'"), data, now=self.now(receiver))
            self._take(node, effects, sender)

    def do(self, name: str, effects: list[Effect]) -> None:
        """Carry out effects that a test asked for itself."""
        self._take(self.nodes[name], effects)

    # Time

    def run(self, seconds: float, *, until: Callable[[], bool] | None = None) -> bool:
        """Let time pass; ends early, with True, when `until` holds."""
        end = self.time + seconds
        while self._heap and self._heap[0][0] <= end:
            self.time, _, action = heapq.heappop(self._heap)
            action()
            if until is not None and until():
                return True
        self.time = end
        return until is not None and until()

    def heal(self) -> None:
        """Repair the network and start whoever is down."""
        self.network.heal()
        self.tell("heal")
        for name, node in self.nodes.items():
            if node.gossip is None:
                self.start(name)

    def running(self) -> dict[str, Gossip]:
        return {name: node.gossip for name, node in self.nodes.items() if node.gossip}

    def is_agreed(self) -> bool:
        return not self.checker.agreed(self.running())

    def expect_agreement(self, seconds: float = 10.0) -> None:
        """Within `seconds` all agree, nothing acknowledged is lost, and they stay so."""
        end = self.time + seconds
        agreed_at: float | None = None
        # Still so a second later: a message on its way may bring what only a lost disk had.
        while agreed_at is None or self.time < agreed_at + 1.0:
            if not self.is_agreed():
                agreed_at = None
            elif agreed_at is None:
                agreed_at = self.time
            if agreed_at is None and self.time >= end:
                raise Violation(self.report(self.checker.agreed(self.running())))
            self.run(0.5)
        try:
            for gossip in self.running().values():
                self.checker.nothing_lost(gossip)
        except Violation as violation:
            raise Violation(self.report(str(violation))) from violation

    def report(self, what: str) -> str:
        """A failure as a person reads it."""
        return "\n".join([what, f"seed {self.seed}, at {self.time:.3f} s:", *self.story])

    def tell(self, event: str) -> None:
        self.story.append(f"{self.time:9.3f}  {event}")

    # How it works

    def _epoch(self) -> str:
        return f"{self.dice.getrandbits(64):016x}"

    def at(self, delay: float, action: Callable[[], None]) -> None:
        self._count += 1
        heapq.heappush(self._heap, (self.time + delay, self._count, action))

    def _plan_tick(self, node: Node) -> None:
        assert node.gossip is not None
        due = max(self.time, node.gossip.next_deadline() - 1_000.0)
        if due < node.tick_at - 1e-9 or node.tick_at < self.time:
            node.tick_at, life = due, node.life
            self.at(due - self.time, lambda: self._tick(node, life, due))

    def _tick(self, node: Node, life: int, due: float) -> None:
        if node.gossip is None or node.life != life or node.tick_at != due:
            return
        node.tick_at = float("inf")
        self._take(node, node.gossip.tick(now=self.now(node.name)))

    def _take(self, node: Node, effects: list[Effect], asker: str = "") -> None:
        assert node.gossip is not None
        node.queue.extend((effect, asker) for effect in effects)
        for effect in effects:
            if isinstance(effect, Changed):
                self.checker.changed(node.name, node.gossip, effect.keys)
        self._drain(node)
        if node.gossip is not None:
            self._plan_tick(node)

    def _drain(self, node: Node) -> None:
        while node.queue and not node.is_busy:
            effect, asker = node.queue.popleft()
            if isinstance(effect, Persist):
                node.is_busy, life = True, node.life
                self.at(
                    self.dice.uniform(0, self.disk_s),
                    lambda effect=effect, life=life: self._persisted(node, effect, life),  # type: ignore[misc]
                )
            elif isinstance(effect, Send):
                self._send(node.name, effect, asker)
            elif isinstance(effect, Alarm):
                node.alarms.append(effect)
                self.tell(f"{node.name} alarm {effect.code} {effect.peer}: {effect.detail:.100}")
            elif isinstance(effect, Refused):
                node.refusals.append(effect)

    def _persisted(self, node: Node, effect: Persist, life: int) -> None:
        if node.life != life or node.gossip is None:
            return  # the power went first
        node.is_busy = False
        node.disk.persist(effect.entries, effect.high_water)
        try:
            self.checker.wrote(node.gossip.station, effect.entries, effect.high_water.epoch)
        except Violation as violation:
            raise Violation(self.report(str(violation))) from violation
        self._drain(node)

    def _send(self, sender: str, send: Send, asker: str) -> None:
        receiver = asker if send.is_reply else send.peer
        for delay in self.network.arrivals(sender, receiver, len(send.data)):
            self.at(delay, lambda: self.inject(receiver, sender, send.data))


def high_water_of(world: World, name: str) -> HighWater | None:
    """What a station's disk holds beside the entries."""
    return world.nodes[name].disk.high_water
