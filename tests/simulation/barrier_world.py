"""Many stations, one seed, virtual time: a network that delays, loses and splits, and all that can befall them."""

from __future__ import annotations

import hashlib
import heapq
import random
from collections import defaultdict, deque
from collections.abc import Callable

from station.model.identity import Revision
from station.publish.barrier import Barrier
from station.publish.rules import RULES, Rules
from station.publish.view import Freeze
from tests.simulation.barrier_checks import Broken, Checks
from tests.simulation.barrier_station import SOURCE, Message, Station, Storage

DELAY_MAX_S = 0.1


class World:
    """Owns the seed, the time, the network and the stations."""

    def __init__(
        self,
        seed: int,
        stations: int,
        *,
        rules: Rules = RULES,
        barrier: Callable[[Rules], Barrier] = Barrier,
        shared: int = 0,
        clock_error_s: float = 0.2,
    ) -> None:
        self.seed = seed
        self.random = random.Random(seed)
        self.time = 1000.0
        self.rules = rules
        self.make_barrier: Callable[[], Barrier] = lambda: barrier(rules)
        self.loss = 0.0
        self.side: dict[str, int] = {}  # equal sides reach each other
        self.cut: set[tuple[str, str]] = set()  # one way
        self.upstream: list[tuple[Revision, int]] = []
        self.measured: dict[tuple[str, str], float] = {}
        self.checks = Checks(self)
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._event_count = 0
        self._story: deque[str] = deque(maxlen=150)
        self._disturbed: dict[str, list[tuple[float, float]]] = defaultdict(list)
        self.publish_upstream()
        storage = Storage()
        self.stations: dict[str, Station] = {}
        for index in range(stations):
            name = "abcdefghi"[index]
            self.stations[name] = Station(
                self,
                name,
                storage if index < shared else Storage(),
                wall_offset=1.7e9 + self.random.uniform(-clock_error_s, clock_error_s),
                boot_offset=self.random.uniform(0, 1e6),
            )
        for station in self.stations.values():
            self.at(self.time + self.random.random(), self._ticking(station))

    # time

    def at(self, time: float, what: Callable[[], None]) -> None:
        self._event_count += 1
        heapq.heappush(self._events, (max(time, self.time), self._event_count, what))

    def run(self, seconds: float) -> None:
        end = self.time + seconds
        while self._events and self._events[0][0] <= end:
            self.time, _, what = heapq.heappop(self._events)
            what()
        self.time = end

    def _ticking(self, station: Station) -> Callable[[], None]:
        def tick() -> None:
            if station.state == "up":
                self.checks.noted(station)
                station.tick()
            self.at(self.time + 1.0, tick)

        return tick

    # network

    def reaches(self, sender: Station, receiver: Station) -> bool:
        return (
            sender is not receiver
            and sender.state == receiver.state == "up"
            and self.is_linked(sender.name, receiver.name)
        )

    def is_linked(self, sender: str, receiver: str) -> bool:
        return (
            self.side.get(sender, 0) == self.side.get(receiver, 0)
            and (sender, receiver) not in self.cut
        )

    def send(self, sender: Station, receiver: Station, message: Message) -> None:
        if not self.is_linked(sender.name, receiver.name) or self.random.random() < self.loss:
            return
        delay = self.random.uniform(0.001, DELAY_MAX_S)
        # The receiver takes half of the round trip for it.
        journey = self.random.uniform(0.5, 1.5) * delay

        def arrive() -> None:
            if self.is_linked(sender.name, receiver.name):
                self.measured[receiver.name, sender.name] = self.time
                receiver.receive(message, journey)

        self.at(self.time + delay, arrive)

    # what befalls them

    def publish_upstream(self, *, is_resigned: bool = False) -> Revision:
        """A newer revision; re-signed: another one with the same content."""
        count = len(self.upstream)
        order = self.upstream[-1][1] if self.upstream else 100
        revision = Revision(hashlib.sha256(f"{self.seed} {count}".encode()).hexdigest())
        self.upstream.append((revision, order if is_resigned else order + 1))
        self.tell("upstream", f"{revision[:6]} order {self.upstream[-1][1]}")
        return revision

    def start_all(self) -> None:
        for station in self.stations.values():
            if station.state == "down":
                station.start()
            if station.state == "paused":
                self.resume(station)

    def split(self, *sides: str) -> None:
        self.tell("network", f"splits {sides}")
        self.side = {name: index for index, side in enumerate(sides) for name in side}
        for station in self.stations.values():
            self.disturb(station)

    def heal(self) -> None:
        self.tell("network", "heals")
        self.side, self.cut = {}, set()

    def disturb(self, station: Station) -> None:
        """From now on for a while nobody may expect punctuality of it."""
        self._disturbed[station.name].append((self.time, self.time + 4.0))

    def was_disturbed(self, station: Station, begin: float, end: float) -> bool:
        return any(b <= end and e >= begin for b, e in self._disturbed[station.name])

    def pause(self, station: Station) -> None:
        self.tell(station.name, "is stopped")
        self.disturb(station)
        station.state = "paused"

    def resume(self, station: Station) -> None:
        """The signals have come; what waited in the sockets is read now."""
        self.tell(station.name, "goes on")
        self.disturb(station)
        station.state, station.disturbed_at = "up", self.time
        waiting, station.waiting = station.waiting, []
        station.step()
        for message in waiting:
            # A driver measures clocks by question and answer, and throws away a round trip that took so long.
            before = station.heard.get(message.sender)
            boot = station.now().boot
            journey = before.wall_at_boot + boot - message.wall if before else 0.0
            station.receive(message, journey)

    def kill(self, station: Station, *, lose_state: bool = False) -> None:
        self.tell(station.name, "is killed" + (" and loses its state" if lose_state else ""))
        self.disturb(station)
        station.stop(lose_state=lose_state)

    def start(self, station: Station) -> None:
        self.disturb(station)
        if station.state == "down":
            station.start()

    def lose_storage(self, station: Station) -> None:
        self.tell(station.name, "loses its storage")
        station.storage.lose(self.time)

    def set_trouble(self, station: Station, trouble: str) -> None:
        self.tell(station.name, f"storage {trouble or 'is well'}")
        if trouble == "missing":
            station.storage.go(self.time)
        station.storage.trouble = trouble
        for other in self.stations.values():
            if other.storage is station.storage:
                other.disturbed_at = self.time

    def set_clock(self, station: Station, by: float) -> None:
        self.tell(station.name, f"clock set by {by:+.3f}")
        self.disturb(station)
        station.wall_offset += by

    def freeze(self, station: Station, freeze: Freeze | None) -> None:
        """An operator's write, on one station."""
        chosen = freeze.revision if freeze else None
        self.tell(station.name, f"frozen {chosen[:6] if chosen else freeze}")
        if chosen:
            self.checks.chosen.add(chosen)
        version = 1 + max(s.freeze[0] for s in self.stations.values())
        station.freeze = (version, freeze)

    # what is seen

    def note_received(self, station: Station) -> None:
        assert station.registered is not None
        key = (station.name, station.registered.publication)
        measured_at = self.measured.get((station.name, station.registered.by), -1e9)
        is_measured = station.registered.by == station.name or self.time - measured_at < 5
        self.checks.received.setdefault(key, self.time if is_measured else 1e9)

    def tell(self, who: str, what: str) -> None:
        self._story.append(f"{self.time - 1000:9.3f} {who:8} {what}")

    def story(self) -> str:
        lives = [
            f"{s.name}: {s.state}, live {s.served}, registered {s.registered}, freeze {s.freeze}"
            for s in self.stations.values()
        ]
        return "\n".join([f"seed {self.seed}", *self._story, *lives])

    def require_agreement(self, revision: Revision | None) -> None:
        """The end: everybody shows `revision` (None: whatever it is), and flips were as they should."""
        found = self.disagreement(revision)
        if found is not None:
            raise Broken(f"{found}\n{self.story()}")
        self.checks.require_equal_flips()

    def disagreement(self, revision: Revision | None) -> str | None:
        """Who does not show it, or does not have it in its registry and on its storage."""
        live = next(iter(self.stations.values())).served
        if live is None or live.revision != (revision or live.revision):
            return f"a shows {live}"
        for name, station in self.stations.items():
            registered = station.registered.publication if station.registered else None
            shown = station.barrier.live(SOURCE) if station.barrier else None
            if not live == shown == registered == station.storage.live:
                return (
                    f"{name} shows {shown}, registered {registered}, stored {station.storage.live}"
                )
        return None
