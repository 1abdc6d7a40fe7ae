"""Control's end of the feed: beats, whole snapshots and answers to the workers; their wants, asks and counters back.

A beat carries CLOCK_BOOTTIME. Before each, control looks whether it was paused itself; if so it asks its peers what
is true now before it lets the workers believe anything. One reading of the clock serves to look and to tell: control
may be stopped between any two, and what it knew before would then look new.
"""

import asyncio
import socket
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import replace
from typing import Any

from station.model.snapshot import Snapshot, to_wire
from station.runtime.clock import Clock
from station.runtime.frames import FrameError, FrameReader, encode_frame
from station.runtime.lines import line
from station.runtime.tasks import Tasks

BEAT_EVERY_S = 0.25
# Workers hold mutable names when the newest beat is older than 2 s: whoever was away for longer than half of that
# may have been overtaken by the group.
PAUSED_AFTER_S = 1.0
# What peers said by then is still true: whatever they have published since becomes live a lead (5 s) later.
CAUGHT_UP_WITHIN_S = 4.0
# A worker that does not read is stuck; the supervisor will see it. Two large snapshots, then we let go.
UNREAD_BYTES_MAX = 16 * 1024 * 1024
RECEIVE_BYTES = 65536
CLOSE_S = 1.0  # what the ends of a few local connections need, a hundred times over

WantHandler = Callable[["Worker", dict[str, Any]], None]
AskHandler = Callable[[dict[str, Any]], Coroutine[Any, Any, dict[str, Any]]]


class Worker:
    """A connected worker."""

    def __init__(self, writer: asyncio.StreamWriter) -> None:
        self.name = "?"
        self.counters: dict[str, float] = {}
        self.in_flight = 0
        self._writer = writer

    def send(self, message: dict[str, Any]) -> None:
        """Queue a frame; a worker with too much unread is dropped, and comes back for a whole snapshot."""
        self.send_bytes(encode_frame(message))

    def send_bytes(self, frame: bytes) -> None:
        """The same, for a frame encoded once for all workers."""
        if self._writer.transport.get_write_buffer_size() > UNREAD_BYTES_MAX:
            line("warning", "feed.worker_does_not_read", worker=self.name)
            self._writer.transport.abort()
            return
        self._writer.write(frame)

    def let_go(self) -> None:
        """Close its connection; what was queued is still sent."""
        self._writer.close()


class Feed:
    """The workers' source of truth. `on_pause` is awaited when control finds that it was away.

    `on_ask` answers what workers ask, and never raises; until it is set, before `serve`, nobody asks.
    """

    on_ask: AskHandler

    def __init__(
        self,
        clock: Clock,
        *,
        on_want: WantHandler,
        on_pause: Callable[[], Awaitable[None]],
        on_gone: Callable[[Worker], None],
    ) -> None:
        self._clock = clock
        self._on_want = on_want
        self._on_pause = on_pause
        self._on_gone = on_gone
        self._workers: set[Worker] = set()
        self._attending: set[asyncio.Task[None]] = set()
        self._snapshot: Snapshot | None = None
        self._number = 0
        self._beaten_at = clock.boot()

    @property
    def workers(self) -> frozenset[Worker]:
        """Those connected now."""
        return frozenset(self._workers)

    async def serve(self, listener: socket.socket, tasks: Tasks) -> None:
        """Accept workers on `listener` and beat until cancelled."""
        self._beaten_at = self._clock.boot()
        self._tasks = tasks
        self._server = await asyncio.start_unix_server(self.attend, sock=listener)
        tasks.start(self._beat(), name="feed beats", is_vital=True)

    async def close(self) -> None:
        """Let go of all workers; they come to the next control."""
        self._server.close()
        for worker in self._workers:
            worker.let_go()
        if self._attending:
            await asyncio.wait(self._attending, timeout=CLOSE_S)

    def publish(self, snapshot: Snapshot) -> None:
        """Send `snapshot` to all if it differs from the last; it is numbered here."""
        if self._snapshot is not None and _same(self._snapshot, snapshot):
            return
        self._number += 1
        self._snapshot = _numbered(snapshot, self._number)
        self._send_snapshot(self._time())

    async def attend(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One worker's connection, until it ends."""
        worker = Worker(writer)
        task = asyncio.current_task()
        assert task is not None
        self._attending.add(task)
        self._workers.add(worker)
        now = self._time()
        if self._snapshot is not None and now is not None:
            worker.send(_snapshot_message(self._snapshot, now))
        frames = FrameReader()
        try:
            while data := await reader.read(RECEIVE_BYTES):
                for message in frames.feed(data):
                    self._take(worker, message)
        except FrameError as error:
            line("warning", "feed.worker_lost", worker=worker.name, error=str(error))
        except OSError as error:  # it ended; why is the supervisor's to say
            line("debug", "feed.worker_gone", worker=worker.name, error=str(error))
        finally:
            self._attending.discard(task)
            self._workers.discard(worker)
            self._on_gone(worker)
            writer.close()

    def _take(self, worker: Worker, message: dict[str, Any]) -> None:
        if "hello" in message:
            worker.name = str(message["hello"])
        elif "want" in message:
            self._on_want(worker, message["want"])
        elif "ask" in message:
            self._tasks.start(self._answer(worker, message["ask"]), name="answer")
        elif "counters" in message:
            worker.counters = message["counters"]
        if "in_flight" in message:
            worker.in_flight = int(message["in_flight"])

    async def _answer(self, worker: Worker, ask: dict[str, Any]) -> None:
        worker.send({"told": await self.on_ask(ask) | {"id": ask["id"]}})

    async def _beat(self) -> None:
        while True:
            await asyncio.sleep(BEAT_EVERY_S)
            now = self._time()
            if now is None:
                now = await self._catch_up()
                self._send_snapshot(now)
            self._beaten_at = now
            if self._snapshot is not None:
                self._send_all({"beat": now})

    async def _catch_up(self) -> float:
        """Ask what is true, again where we stood still meanwhile. The boot clock then: the workers may believe it."""
        while True:
            asked_at = self._clock.boot()
            away_s = asked_at - self._beaten_at
            line("warning", "control.was_paused", seconds=round(away_s, 2))
            await self._on_pause()
            now = self._clock.boot()
            if now - asked_at < CAUGHT_UP_WITHIN_S:
                return now

    def _time(self) -> float | None:
        """The boot clock; None after this process stood still: what it holds may be of the past, and is not told."""
        now = self._clock.boot()
        return now if now - self._beaten_at <= PAUSED_AFTER_S else None

    def _send_snapshot(self, now: float | None) -> None:
        if self._snapshot is not None and now is not None:
            self._send_all(_snapshot_message(self._snapshot, now))

    def _send_all(self, message: dict[str, Any]) -> None:
        frame = encode_frame(message)
        for worker in list(self._workers):
            worker.send_bytes(frame)


def _snapshot_message(snapshot: Snapshot, now: float) -> dict[str, Any]:
    return {"snapshot": to_wire(snapshot), "beat": now}


def _same(one: Snapshot, other: Snapshot) -> bool:
    return _numbered(one, 0) == _numbered(other, 0)


def _numbered(snapshot: Snapshot, number: int) -> Snapshot:
    return replace(snapshot, number=number)
