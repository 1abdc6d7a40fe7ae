"""One seed: a while of everything that can go wrong, then a while in which nothing does, and then all must agree."""

from collections.abc import Callable

from station.model.identity import Revision
from station.publish.barrier import Barrier
from station.publish.rules import Rules
from station.publish.view import Freeze
from tests.simulation.barrier_station import Station
from tests.simulation.barrier_world import World

# The long times shortened, so that one history meets them.
RULES = Rules(stall_s=6.0, patience_s=15.0, restraint_s=15.0, manifest_s=4.0)
FAULTS_S = 45.0
FREEZE_S = 10.0  # of a freeze for a time
# Longer than restraint, patience, a fetch by the slowest station and two publications.
CALM_S = 50.0


def run_seed(seed: int, barrier: Callable[[Rules], Barrier] = Barrier) -> World:
    """Raises Broken with the seed and the story when a promise is broken."""
    shape = seed % 7
    world = World(
        seed,
        stations=2 + seed % 4,
        rules=RULES,
        barrier=barrier,
        shared=2 + seed % 3 if shape in (0, 3) else 0,
    )
    chaos = _Chaos(world)
    world.start_all()
    world.run(world.random.uniform(0, 8))
    end = world.time + FAULTS_S
    while world.time < end:
        chaos.strike()
        world.run(world.random.expovariate(1 / 2.5))
    chaos.end()
    calm_until = world.time + CALM_S
    world.run(FREEZE_S + 1)  # what is frozen for a time has thawed
    while world.time < calm_until:
        world.run(5)
        if world.disagreement(_expected(world)) is None:
            calm_until = min(calm_until, world.time + 5)  # and it must stay so
    world.require_agreement(_expected(world))
    return world


def _expected(world: World) -> Revision | None:
    """What all must show in the end; None: whatever it is."""
    freeze = max(world.stations.values(), key=lambda s: s.freeze[0]).freeze[1]
    # A freeze that was made by a clock an hour ahead lasts an hour longer.
    if freeze is None or (freeze.until is not None and freeze.until <= 1.7e9 + world.time):
        return world.upstream[-1][0]
    # What was lost from every storage cannot be chosen; then nothing new is shown.
    is_there = any(freeze.revision in s.storage.complete() for s in world.stations.values())
    return freeze.revision if is_there else None


class _Chaos:
    def __init__(self, world: World) -> None:
        self.world = world
        self.random = world.random
        faults: list[tuple[int, Callable[[], None]]] = [
            (8, self._upstream),
            (2, self._partition),
            (2, self._one_way),
            (3, world.heal),
            (2, self._pause),
            (3, self._kill),
            (6, self._revive),
            (1, self._lose_storage),
            (1, self._trouble),
            (1, self._clock),
            (2, self._speed),
            (2, self._lag),
            (1, self._freeze),
            (1, self._unfreeze),
            (1, self._loss),
        ]
        # Not every history has every fault: those without freezes and splits reach further.
        kept = [fault for fault in faults if self.random.random() < 0.7]
        self._faults = [what for _, what in kept] or [self._upstream]
        self._weights = [weight for weight, _ in kept] or [1]
        if world.seed % 5 == 4:  # two sides that live long enough to go apart
            self._faults = [self._upstream, self._partition, self._lag, world.heal]
            self._weights = [8, 1, 3, 1]
        self._is_catastrophe_due = self.random.random() < 0.1

    def strike(self) -> None:
        if self._is_catastrophe_due and self.random.random() < 0.05:
            self._is_catastrophe_due = False
            self._lose_every_state()
            return
        self.random.choices(self._faults, self._weights)[0]()

    def end(self) -> None:
        world = self.world
        world.loss = 0.0
        world.heal()
        for station in world.stations.values():
            station.speed, station.upstream_lag = max(station.speed, 2.0), 0
            world.set_trouble(station, "")
            station.wall_offset = 1.7e9 + self.random.uniform(-0.2, 0.2)
            world.disturb(station)
        for _ in range(2):  # a station without its state needs another one to be let in
            world.start_all()

    def _station(self) -> Station:
        return self.random.choice(list(self.world.stations.values()))

    def _upstream(self) -> None:
        self.world.publish_upstream(is_resigned=self.random.random() < 0.2)

    def _partition(self) -> None:
        names = list(self.world.stations)
        self.random.shuffle(names)
        cut = self.random.randint(1, len(names) - 1)
        self.world.split("".join(names[:cut]), "".join(names[cut:]))

    def _one_way(self) -> None:
        one, other = self.random.sample(list(self.world.stations), 2)
        self.world.tell("network", f"{one} no longer reaches {other}")
        self.world.cut.add((one, other))
        for station in self.world.stations.values():
            self.world.disturb(station)

    def _pause(self) -> None:
        station = self._station()
        if station.state == "up":
            self.world.pause(station)

    def _kill(self) -> None:
        station = self._station()
        others_know = sum(s.is_member for s in self.world.stations.values() if s is not station)
        self.world.kill(station, lose_state=bool(others_know) and self.random.random() < 0.3)

    def _revive(self) -> None:
        station = self._station()
        if station.state == "paused":
            self.world.resume(station)
        elif station.state == "down":
            self.world.start(station)

    def _lose_storage(self) -> None:
        self.world.lose_storage(self._station())

    def _trouble(self) -> None:
        station = self._station()
        trouble = "" if station.storage.trouble else self.random.choice(["missing", "full"])
        self.world.set_trouble(station, trouble)

    def _clock(self) -> None:
        step = self.random.choice([0.1, 0.5, 3.0, 3600.0]) * self.random.choice([-1, 1])
        self.world.set_clock(self._station(), step)

    def _speed(self) -> None:
        self._station().speed = self.random.choice([0.0, 0.5, 2.0, 10.0])

    def _lag(self) -> None:
        self._station().upstream_lag = self.random.choice([0, 1, 2, 4])

    def _freeze(self) -> None:
        station = self._station()
        known = sorted(station.storage.complete())
        if known and station.state == "up":
            until = station.now().wall + FREEZE_S if self.random.random() < 0.3 else None
            self.world.freeze(station, Freeze(self.random.choice(known), until))

    def _unfreeze(self) -> None:
        station = self._station()
        if station.state == "up":
            self.world.freeze(station, None)

    def _loss(self) -> None:
        self.world.loss = self.random.choice([0.0, 0.1, 0.3])

    def _lose_every_state(self) -> None:
        """The operator makes the group again from its storages."""
        for station in self.world.stations.values():
            self.world.kill(station, lose_state=True)
        for station in self.world.stations.values():
            station.is_member = True
            self.world.start(station)
