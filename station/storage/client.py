"""Control's end of the storage child: calls under deadlines. A child that hangs is killed and replaced.

A process in uninterruptible sleep does not die before its mount answers. Nobody waits for it: it is left to the
kernel, and at most UNDEAD_MAX of them are, so that a mount that hangs for a day does not fill the process table.
"""

import asyncio
import contextlib
import json
import os
import socket
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from station.runtime.lines import line
from station.runtime.tasks import Tasks
from station.storage.errors import CODES, StorageError, StorageStalled

__all__ = ["StorageChild", "StorageError", "StorageStalled"]

# The inventory of 5,000 sources with ten revisions each is 8 MiB.
ANSWER_BYTES_MAX = 64 * 1024 * 1024
UNDEAD_MAX = 3
# A child that was heard of so recently is busy, not hung: it says so each second between the steps of long work.
HEARD_S = 2.5
CLOSE_S = 2.0  # what an idle child needs to see the end of its stdin, a hundred times over


@dataclass(slots=True)
class _Child:
    """A running child. Both its stdin and its stdout are the other end of one socket pair."""

    process: subprocess.Popen[bytes]
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    def send(self, message: dict[str, Any]) -> None:
        """Control sends some requests a second: what is not taken is bounded by their deadlines."""
        if not self.writer.is_closing():
            self.writer.write(json.dumps(message, separators=(",", ":")).encode() + b"\n")


class StorageChild:
    """Starts `python -m station.storage.child` at the first call, and again after it died or was killed.

    `group` and `storage_id`: what the marker must say; empty expects nothing. They hold from the next start on.
    """

    def __init__(
        self,
        *,
        storage: Path | str,
        station: str,
        state: Path | str,
        group: str = "",
        storage_id: str = "",
        environment: dict[str, str] | None = None,
    ) -> None:
        self.settings = {
            "storage": str(storage),
            "station": station,
            "state": str(state),
            "group": group,
            "storage_id": storage_id,
        }
        self._environment = environment or {}
        self._tasks = Tasks()
        self._child: _Child | None = None
        self._starting = asyncio.Lock()
        self._waiting: dict[int, asyncio.Future[Any]] = {}
        self._number = 0
        self._heard = 0.0
        self._undead: list[subprocess.Popen[bytes]] = []
        self._closed = False

    @property
    def pid(self) -> int | None:
        """Of the child that answers now."""
        return self._child.process.pid if self._child else None

    async def call(self, op: str, *, deadline_s: float, **args: Any) -> Any:
        """The answer of one operation (station.storage.operations).

        Raises StorageStalled when the child does not answer within `deadline_s`; it is then killed, and every other
        call that waits for it is told the same. Raises StorageError for what the storage says, `slow` when a child
        that is well needs longer (the operation is cancelled at its next step), `died` when the child ended.
        """
        loop = asyncio.get_running_loop()
        self._number += 1
        number, began = self._number, loop.time()
        answer: asyncio.Future[Any] = loop.create_future()
        self._waiting[number] = answer
        try:
            async with asyncio.timeout(deadline_s):
                child = await self._running()
                child.send({"id": number, "op": op, "args": args})
                return await answer
        except TimeoutError:
            raise self._overdue(number, op, began) from None
        except asyncio.CancelledError:
            self._cancel(number)
            raise
        finally:
            self._waiting.pop(number, None)

    def expect(self, *, group: str | None = None, storage_id: str | None = None) -> None:
        """What the marker must say from now on. The child ends; the next call starts one that knows."""
        known = dict(self.settings)
        if group is not None:
            self.settings["group"] = group
        if storage_id is not None:
            self.settings["storage_id"] = storage_id
        if self.settings != known:
            self._kill(StorageError("died", "the storage child is started anew"))

    async def close(self) -> None:
        """End the child. One that hangs is left to the kernel after CLOSE_S seconds."""
        self._closed = True
        child, self._child = self._child, None
        self._fail_all(StorageError("died", "the storage is closed"))
        if child is not None:
            child.writer.close()
            await asyncio.to_thread(_reap, [child.process])
            self._undead.append(child.process)
        for process in self._undead:
            process.kill()
        await asyncio.to_thread(_reap, self._undead)
        await self._tasks.close()

    async def _running(self) -> _Child:
        async with self._starting:
            if self._closed:
                raise StorageError("died", "the storage is closed")
            if self._child is not None:
                return self._child
            self._undead = [process for process in self._undead if process.poll() is None]
            if len(self._undead) >= UNDEAD_MAX:
                detail = f"{len(self._undead)} processes hang at {self.settings['storage']}"
                raise StorageStalled(detail)
            ours, theirs = socket.socketpair()
            with theirs:
                process = self._spawn(theirs)
            reader, writer = await asyncio.open_unix_connection(sock=ours, limit=ANSWER_BYTES_MAX)
            self._child = _Child(process, reader, writer)
            self._tasks.start(self._listen(self._child), name=f"storage child {process.pid}")
            return self._child

    def _spawn(self, theirs: socket.socket) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [sys.executable, "-m", "station.storage.child"],
            stdin=theirs.fileno(),
            stdout=theirs.fileno(),
            env=os.environ | self._environment | {"STATION_SETTINGS": json.dumps(self.settings)},
        )

    async def _listen(self, child: _Child) -> None:
        """Hand out the answers until the child ends."""
        try:
            while answer := await child.reader.readline():
                self._heard = asyncio.get_running_loop().time()
                self._answer(json.loads(answer))
        except ConnectionError:
            pass
        except ValueError as error:
            line("error", "storage.child_nonsense", pid=child.process.pid, error=error)
        if self._child is child:
            line("error", "storage.child_ended", pid=child.process.pid)
            self._kill(StorageError("died", "the storage child ended"))

    def _answer(self, wire: dict[str, Any]) -> None:
        future = self._waiting.get(wire.get("id", 0))
        if future is None or future.done():
            return  # a sign of life, or the answer to a call that nobody waits for any more
        if "error" in wire:
            code, detail = str(wire["error"]["code"]), str(wire["error"]["detail"])
            future.set_exception(StorageError(code if code in CODES else "io", detail))
        else:
            future.set_result(wire["result"])

    def _overdue(self, number: int, op: str, began: float) -> StorageError:
        now = asyncio.get_running_loop().time()
        if self._child is not None and self._heard > began and now - self._heard < HEARD_S:
            self._cancel(number)
            return StorageError("slow", f"{op} takes longer; the storage answers")
        stalled = StorageStalled(f"{op} was not answered in time")
        if self._child is not None:
            line("error", "storage.stalled", pid=self.pid, op=op, after_s=round(now - began, 1))
        self._kill(stalled)
        return stalled

    def _cancel(self, number: int) -> None:
        if self._child is not None:
            self._child.send({"id": number, "cancel": True})

    def _kill(self, reason: StorageError) -> None:
        """Let go of the child, without waiting for its end."""
        child, self._child = self._child, None
        if child is not None:
            child.process.kill()
            child.writer.close()
            self._undead.append(child.process)
        self._fail_all(reason)

    def _fail_all(self, reason: StorageError) -> None:
        for future in self._waiting.values():
            if not future.done():
                future.set_exception(reason)
                future.exception()  # its caller may have left already


def _reap(processes: list[subprocess.Popen[bytes]]) -> None:
    """Wait for the end of each, all in all about CLOSE_S seconds. Runs in a thread: waiting blocks."""
    for process in processes:
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(CLOSE_S / len(processes))
