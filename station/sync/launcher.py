"""Sync children as control sees them: an order in, events out, gone when nobody listens any more.

A child ends by itself when its standard input does, so that it never outlives control, however control ends.
"""

import asyncio
import contextlib
import json
import sys
from collections.abc import AsyncIterator, Mapping
from typing import Any

from station.runtime.lines import line

LINE_BYTES_MAX = 1024 * 1024  # an event is under 2 KiB; a `staged` that tolerates misses names them
ENDING_S = 5.0  # from the end of its input to SIGKILL; a child only closes files
DEADLINE_S = 24 * 3600.0 + 600.0  # the child's own deadline comes first


class Child:
    """One sync child: takes orders until `close`. Orders of kind "fill" may follow one another; others are alone."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdin is not None and process.stdout is not None
        self._process = process
        self._stdin = process.stdin
        self._stdout = process.stdout

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

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
        if self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()


class Launcher:
    """Starts sync children. `environment` replaces this process's."""

    def __init__(self, environment: Mapping[str, str] | None = None) -> None:
        self._environment = dict(environment) if environment is not None else None

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
    ) -> AsyncIterator[dict[str, Any]]:
        """Run one order and yield its events; closing the iterator ends the child.

        Always ends with one of `staged`, `unchanged`, `metadata` (of a manifest order), `filled` or `failed`: a child
        that dies without a word is reported as failed, code "died".
        """
        child = await self.open()
        is_over = False
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
            code = await child.close()
        yield _failed("died", f"the sync child ended with {code}")


def _ends(event: Mapping[str, Any], kind: str) -> bool:
    name = event["event"]
    return name in ("staged", "unchanged", "failed") or (name, kind) in (
        ("metadata", "manifest"),
        ("filled", "fill"),
    )


def _failed(code: str, detail: str) -> dict[str, Any]:
    return {"event": "failed", "code": code, "detail": detail, "retriable": True}
