"""Sync children as control sees them: an order in, events out, gone when nobody listens any more.

A child ends by itself when its standard input does, so that it never outlives control, however control ends.
"""

import asyncio
import contextlib
import json
import os
import sys
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from typing import Any

from station.runtime.lines import line
from station.runtime.tasks import Tasks

LINE_BYTES_MAX = 1024 * 1024  # an event is under 2 KiB; a `staged` that tolerates misses names them
ENDING_S = 5.0  # from the end of its input to SIGKILL; a child only closes files
IDLE_S = 10.0  # syncs come in bursts, and to start a child costs a fifth of a second of a core
DEADLINE_S = 24 * 3600.0 + 600.0  # the child's own deadline comes first


class Child:
    """One sync child: takes orders until `close`. Those of kind "fill" run side by side; others one after the other."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdin is not None and process.stdout is not None
        self._process = process
        self._stdin = process.stdin
        self._stdout = process.stdout

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    @property
    def is_alive(self) -> bool:
        """Whether it has not ended. Asked of the kernel: the event loop hears of it a little later."""
        try:
            ended = os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        except ChildProcessError:  # the event loop has heard
            return False
        return ended is None

    async def send(self, job: Mapping[str, Any]) -> None:
        """Give it an order. One that has just ended takes it to nowhere: `events` then ends."""
        self._stdin.write(json.dumps(job, separators=(",", ":")).encode() + b"\n")
        with contextlib.suppress(ConnectionError):
            await self._stdin.drain()

    async def events(self) -> AsyncIterator[dict[str, Any]]:
        """What it says, until it ends."""
        while text := await self._stdout.readline():
            try:
                event = json.loads(text)
            except ValueError:
                line("error", "sync.garbage", pid=self.pid, text=text[:200])
                continue
            if isinstance(event, dict) and "event" in event:
                yield event

    async def close(self) -> int:
        """End it: politely, after ENDING_S by SIGKILL. Returns its exit code (negative: the signal)."""
        self._stdin.close()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(ENDING_S):
                await self._process.wait()
        self.kill()
        with contextlib.suppress(ValueError):  # a line over the limit; nobody reads it
            while await self._stdout.read(LINE_BYTES_MAX):
                pass
        with contextlib.suppress(ConnectionError):
            await self._stdin.wait_closed()
        return await self._process.wait()

    def kill(self) -> None:
        """SIGKILL, if it still runs. What it verified stays on the storage."""
        if self.is_alive:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()


class Launcher:
    """Starts sync children. `environment` replaces this process's; `idle_s`: how long one waits for its next order."""

    def __init__(
        self, environment: Mapping[str, str] | None = None, *, idle_s: float = 0.0
    ) -> None:
        self._environment = dict(environment) if environment is not None else None
        self._idle_s = idle_s
        self._unused: set[Child] = set()  # idle, or about to be, or about to end
        self._idle: dict[Child, asyncio.TimerHandle] = {}
        self._tasks = Tasks()

    async def open(self) -> Child:
        """A child that waits for orders. Raises OSError when no process can be started."""
        return Child(
            await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "station.sync.job",
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                env=self._environment,
                limit=LINE_BYTES_MAX,
            )
        )

    async def start(
        self, job: Mapping[str, Any], *, deadline_s: float = DEADLINE_S
    ) -> AsyncGenerator[dict[str, Any], None]:
        """Run one order and yield its events; closing the iterator before the last one ends the child.

        Always ends with one of `staged`, `unchanged`, `metadata` (of a manifest order), `filled` or `failed`: a child
        that dies without a word is reported as failed, code "died".
        """
        child = self._take_idle() or await self.open()
        is_over, code = False, 0
        try:
            await child.send(job)
            async with asyncio.timeout(deadline_s):
                async for event in child.events():
                    is_over = _ends(event, str(job.get("kind")))
                    yield event
                    if is_over:
                        return
        except TimeoutError:
            child.kill()
            yield _failed("deadline", f"not over after {deadline_s:.0f} s; it was ended")
            return
        finally:
            if is_over and self._idle_s:
                await self._rest(child)
            else:
                code = await child.close()
        yield _failed("died", f"the sync child ended with {code}")

    async def close(self) -> None:
        """End those that wait for an order. When all that was started is over."""
        for timer in self._idle.values():
            timer.cancel()
        await self._tasks.close()
        for child in list(self._unused):
            await self._end(child)

    async def _rest(self, child: Child) -> None:
        """Keep it for a while, once it is done with its order. One that is not, or has ended, is closed."""
        self._unused.add(child)
        try:
            async with asyncio.timeout(ENDING_S):
                async for event in child.events():
                    if event["event"] == "idle":
                        loop = asyncio.get_running_loop()
                        self._idle[child] = loop.call_later(self._idle_s, self._dismiss, child)
                        return
        except TimeoutError:
            pass
        finally:
            if child not in self._idle:
                await self._end(child)

    def _take_idle(self) -> Child | None:
        while self._idle:
            child, timer = self._idle.popitem()
            timer.cancel()
            if child.is_alive:
                self._unused.discard(child)
                return child
            self._tasks.start(self._end(child), name=f"sync child {child.pid}")
        return None

    def _dismiss(self, child: Child) -> None:
        del self._idle[child]
        self._tasks.start(self._end(child), name=f"sync child {child.pid}")

    async def _end(self, child: Child) -> None:
        await child.close()
        self._unused.discard(child)


def _ends(event: Mapping[str, Any], kind: str) -> bool:
    name = event["event"]
    return name in ("staged", "unchanged", "failed") or (name, kind) in (
        ("metadata", "manifest"),
        ("filled", "fill"),
    )


def _failed(code: str, detail: str) -> dict[str, Any]:
    return {"event": "failed", "code": code, "detail": detail, "retriable": True}
