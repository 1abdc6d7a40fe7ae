"""What workers are told, and when they are told nothing."""

import asyncio
import socket
from pathlib import Path
from typing import Any

from station.control.feed import PAUSED_AFTER_S, UNREAD_BYTES_MAX, Feed, Worker
from station.model.snapshot import Snapshot, from_wire
from station.runtime.frames import encode_frame
from station.runtime.tasks import Tasks
from tests.unit.control.workers import a_worker, connection

NEWS = Snapshot(is_ready=True, reason="", station="A")


class StillClock:
    """Time passes when the test says so."""

    at = 1000.0
    stands_still_after_a_look = False

    def boot(self) -> float:
        now = self.at
        if self.stands_still_after_a_look:
            self.at += 20.0
        return now

    def wall(self) -> float:
        return self.at


class Bench:
    """A feed, and what it called back."""

    def __init__(self) -> None:
        self.clock = StillClock()
        self.wants: list[dict[str, Any]] = []
        self.gone: list[Worker] = []
        self.feed = Feed(
            self.clock,
            on_want=lambda _, want: self.wants.append(want),
            on_pause=self._catch_up,
            on_gone=self.gone.append,
        )

    async def _catch_up(self) -> None:
        """Nothing to ask anybody here."""

    async def hear(self, *said: bytes) -> list[dict[str, Any]]:
        """A worker connects, says this, and leaves; what it was told."""
        ear, reader, writer = connection()
        for data in said:
            reader.feed_data(data)
        reader.feed_eof()
        await self.feed.attend(reader, writer)
        return ear.messages()


async def test_a_worker_gets_the_whole_picture_when_it_connects() -> None:
    bench = Bench()
    assert await bench.hear() == []
    bench.feed.publish(NEWS)
    (message,) = await bench.hear()
    assert from_wire(message["snapshot"]).station == "A"
    assert message["beat"] == bench.clock.at


async def test_pictures_are_numbered_and_equal_ones_are_sent_once() -> None:
    bench = Bench()
    ear, reader, writer = connection()
    attending = asyncio.gather(bench.feed.attend(reader, writer))
    await asyncio.sleep(0)
    for snapshot in (NEWS, NEWS, Snapshot(station="B")):
        bench.feed.publish(snapshot)
    assert [m["snapshot"]["number"] for m in ear.messages()] == [1, 2]
    reader.feed_eof()
    await attending


async def test_control_that_stood_still_tells_nobody_anything_from_before() -> None:
    bench = Bench()
    bench.feed.publish(NEWS)
    bench.clock.at += PAUSED_AFTER_S + 0.1
    assert await bench.hear() == []
    bench.feed.publish(Snapshot(station="B"))
    assert await bench.hear() == []


async def test_a_pause_right_after_a_look_at_the_clock_makes_nothing_look_new() -> None:
    bench = Bench()
    bench.feed.publish(NEWS)
    looked_at = bench.clock.at
    bench.clock.stands_still_after_a_look = True
    (message,) = await bench.hear()
    assert bench.clock.at > looked_at
    assert message["beat"] == looked_at


async def test_a_pause_while_it_catches_up_has_it_ask_again(tmp_path: Path) -> None:
    bench = Bench()
    asked: list[float] = []

    async def catch_up() -> None:
        asked.append(bench.clock.at)
        bench.clock.at += 20.0 if len(asked) == 1 else 0.1

    feed = Feed(bench.clock, on_want=lambda *_: None, on_pause=catch_up, on_gone=bench.gone.append)
    tasks = Tasks()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "feed.sock"))
        await feed.serve(listener, tasks)
        feed.publish(NEWS)
        ear, reader, writer = connection()
        attending = asyncio.gather(feed.attend(reader, writer))
        await asyncio.sleep(0)
        told = len(ear.messages())
        bench.clock.at += PAUSED_AFTER_S + 0.1
        async with asyncio.timeout(5):
            while len(ear.messages()) == told:
                await asyncio.sleep(0.01)
        assert len(asked) == 2
        assert ear.messages()[told]["beat"] >= asked[1]
        reader.feed_eof()
        await attending
        await tasks.close()
        await feed.close()


async def test_names_counters_and_wants_of_a_worker_are_taken() -> None:
    bench = Bench()
    want = {"id": 1, "source": "base", "path": "a.rpm", "revision": ""}
    said: list[dict[str, Any]] = [
        {"hello": "files-0"},
        {"want": want},
        {"counters": {"held_flip": 2}},
        {"in_flight": 3},
    ]
    await bench.hear(b"".join(encode_frame(message) for message in said))
    (worker,) = bench.gone
    assert (worker.name, worker.in_flight) == ("files-0", 3)
    assert worker.counters == {"held_flip": 2}
    assert bench.wants == [want]
    assert bench.feed.workers == frozenset()


async def test_a_worker_that_talks_nonsense_is_let_go() -> None:
    bench = Bench()
    await bench.hear(b"\x00\x00\x00\x04{{{{" + encode_frame({"hello": "late"}))
    (worker,) = bench.gone
    assert worker.name == "?"


async def test_a_worker_that_does_not_read_is_let_go() -> None:
    worker, ear = a_worker()
    ear.unread = UNREAD_BYTES_MAX + 1
    worker.send({"beat": 1.0})
    assert ear.is_aborted and not ear.data
