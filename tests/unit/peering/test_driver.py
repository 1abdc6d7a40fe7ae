"""The one task: what is durable before what, and how it ends."""

import asyncio
import random
import threading
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager

import pytest

from station.gossip.effects import Changed, Effect
from station.gossip.entry import Entry, HighWater, Row
from station.gossip.group import GroupFacts
from station.gossip.machine import Gossip
from station.gossip.replica import WriteRefused
from station.model.now import Now
from station.peering.driver import MAILBOX_MAX, Driver, RegistryClosed
from station.runtime.tasks import Tasks


class StillClock:
    """Time passes when the test says so."""

    def __init__(self) -> None:
        self.at = 1000.0

    def boot(self) -> float:
        return self.at

    def wall(self) -> float:
        return 1_800_000_000.0 + self.at


class Shelf:
    """A disk that can be slow or broken, and says what reached it."""

    def __init__(self) -> None:
        self.rows: list[Row] = []
        self.gate = threading.Event()
        self.gate.set()
        self.broken = False
        self.closed = False

    def load(self) -> tuple[str, list[Entry], HighWater | None]:
        return "e1", [], None

    def persist(self, entries: Iterable[Row], high_water: HighWater | None = None) -> None:
        self.gate.wait(10)
        if self.broken:
            raise OSError("no space left")
        self.rows += entries

    def close(self) -> None:
        self.closed = True


class Bench:
    """A driver with everything around it in reach."""

    def __init__(self) -> None:
        self.clock, self.shelf = StillClock(), Shelf()
        self.gossip = Gossip(
            station="A",
            epoch="e1",
            group=GroupFacts("g", "dc", "lb.test", 16080, 17080, 17443),
            random=random.Random(1),
            now=Now(wall=self.clock.wall(), boot=self.clock.boot()),
        )
        self.seen: list[tuple[Effect, int]] = []
        self.driver = Driver(self.gossip, self.shelf, self.clock, self.take)

    def take(self, effect: Effect) -> None:
        self.seen.append((effect, len(self.shelf.rows)))

    def write(self, key: str, value: str = "x") -> asyncio.Task[bytes | None]:
        change = ("settings", key, {"value": value})
        return asyncio.create_task(
            self.driver.do(lambda now: self.gossip.put_all([change], now=now))
        )


@asynccontextmanager
async def running() -> AsyncIterator[Bench]:
    bench, deaths = Bench(), Tasks()
    task = deaths.start(bench.driver.run(), name="driver", is_vital=True)
    try:
        yield bench
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        bench.shelf.gate.set()
        await bench.driver.close()


async def test_nothing_is_shown_before_it_is_durable() -> None:
    async with running() as bench:
        await bench.write("one")
        changed = [(e.keys, rows) for e, rows in bench.seen if isinstance(e, Changed)]
        assert changed == [(frozenset({("settings", "one")}), 1)]


async def test_nothing_is_acknowledged_before_it_is_durable() -> None:
    async with running() as bench:
        bench.shelf.gate.clear()
        write = bench.write("one")
        for _ in range(50):
            await asyncio.sleep(0)
        assert not write.done()
        assert bench.seen == []
        bench.shelf.gate.set()
        await write
        assert len(bench.shelf.rows) == 1


async def test_refused_write_is_told_to_its_writer_and_to_nobody_else() -> None:
    async with running() as bench:
        with pytest.raises(WriteRefused):
            await bench.driver.do(
                lambda now: bench.gossip.put_all([("source", "x", {"id": "y"})], now=now)
            )
        await bench.write("after")
        assert len(bench.shelf.rows) == 1


async def test_broken_disk_ends_the_driver_and_everybody_who_waits() -> None:
    bench, told = Bench(), []
    tasks = Tasks(on_death=lambda name, error: told.append((name, type(error))))
    tasks.start(bench.driver.run(), name="driver", is_vital=True)
    bench.shelf.broken = True
    for waiting in [bench.write("one"), bench.write("two"), bench.write("three")]:
        with pytest.raises(RegistryClosed):
            await waiting
    with pytest.raises(RegistryClosed):
        await bench.write("late")
    assert told == [("driver", OSError)]
    assert bench.seen == []
    await bench.driver.close()
    assert bench.shelf.closed


async def test_stop_answers_everybody_who_waits() -> None:
    async with running() as bench:
        bench.shelf.gate.clear()
        first, second = bench.write("one"), bench.write("two")
        for _ in range(20):
            await asyncio.sleep(0)
    for waiting in (first, second):
        with pytest.raises(RegistryClosed):
            await waiting


async def test_full_mailbox_is_said_and_not_waited_for() -> None:
    bench = Bench()  # nobody runs it
    waiting = [bench.write(str(number)) for number in range(MAILBOX_MAX + 1)]
    for _ in range(3):
        await asyncio.sleep(0)
    with pytest.raises(RegistryClosed, match="too much"):
        await waiting[-1]
    for task in waiting:
        task.cancel()
    await bench.driver.close()


async def test_writer_that_gave_up_disturbs_nobody() -> None:
    async with running() as bench:
        bench.shelf.gate.clear()
        write = bench.write("one")
        for _ in range(20):
            await asyncio.sleep(0)
        write.cancel()
        bench.shelf.gate.set()
        await bench.write("two")
        assert len(bench.shelf.rows) == 2
