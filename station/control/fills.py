"""Missing files that clients wait for: one fetch for all who want it, in one long-lived sync child.

A worker says which path of which revision it lacks; the child looks up the manifest, fetches from the peers by
hash, then from upstream, into a growing file that the workers send from. While the storage takes nothing, the child
tells the workers of a socket instead, and passes on what peers send: also from the first fill that fails there on,
before the next look at the storage says why.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from station.control.feed import Worker
from station.runtime.lines import line
from station.runtime.tasks import Tasks

Key = tuple[str, str, str]  # source, revision, path

# Different files under way at once: some hundred connections to peers or upstream. More wait for their turn.
FILLS_MAX = 64
WAITING_MAX = 4096  # a worker asks for 256 at most, and asks anew for those that it gave up
FILL_DEADLINE_S = 600.0
IDLE_CHILD_S = 30.0
# How long nothing is fetched into a storage after a fill failed there: by then a look at it has told its state.
STORAGE_DOUBT_S = 5.0
STORAGE_CODES = frozenset({"storage", "no-space"})


class Child(Protocol):
    """A sync child that takes one order after the other."""

    async def send(self, job: Mapping[str, Any]) -> None: ...
    def events(self) -> AsyncIterator[dict[str, Any]]: ...
    async def close(self) -> int: ...


class Launcher(Protocol):
    """Starts sync children. Raises OSError."""

    async def open(self) -> Child: ...


@dataclass(slots=True)
class Fill:
    """One file under way, the child that fetches it, and who waits for it: (worker, its id for the want)."""

    key: Key
    kind: str = ""  # of the order: "fill" into the storage, "relay" past it; "": not its turn yet
    child: Child | None = None
    waiting: set[tuple[Worker, int]] = field(default_factory=set)
    state: dict[str, Any] = field(default_factory=dict)
    timer: asyncio.TimerHandle | None = None


class FillDesk:
    """`make_job(key, is_storage_in_doubt)` gives the order for the child, or None: it cannot be had here.

    `on_kept(source, revision)`: this manifest lies in the state directory now.
    """

    def __init__(
        self,
        launcher: Launcher,
        tasks: Tasks,
        *,
        make_job: Callable[[Key, bool], dict[str, Any] | None],
        on_kept: Callable[[str, str], None],
    ) -> None:
        self.filled = 0
        self.failed = 0
        self._launcher = launcher
        self._tasks = tasks
        self._make_job = make_job
        self._on_kept = on_kept
        self._relaying = 0
        self._in_doubt_until = 0.0
        self._fills: dict[Key, Fill] = {}
        self._queue: deque[Key] = deque()  # those of them whose turn has not come
        self._child: Child | None = None
        self._opening = asyncio.Lock()
        self._idle_timer: asyncio.TimerHandle | None = None

    def want(self, worker: Worker, want: dict[str, Any]) -> None:
        """A worker lacks a file. It hears of every change of the fill's state."""
        key = (str(want["source"]), str(want["revision"] or ""), str(want["path"]))
        fill = self._fills.get(key)
        if fill is None:
            if len(self._queue) >= WAITING_MAX:
                worker.send(
                    _message(int(want["id"]), key, _failed("too many files are waited for"))
                )
                return
            fill = self._fills[key] = Fill(key)
            self._queue.append(key)
        fill.waiting.add((worker, int(want["id"])))
        if fill.state:
            worker.send(_message(int(want["id"]), key, fill.state))
        self._start_waiting()

    def gone(self, worker: Worker) -> None:
        """A worker left; its clients with it. What is under way goes on: others will ask for it."""
        for fill in self._fills.values():
            fill.waiting = {entry for entry in fill.waiting if entry[0] is not worker}

    async def close(self) -> None:
        """End the child."""
        if self._child is not None:
            await self._child.close()

    def _start_waiting(self) -> None:
        """The next ones in turn, while there is room."""
        loop = asyncio.get_running_loop()
        while self._queue and len(self._fills) - len(self._queue) < FILLS_MAX:
            fill = self._fills[self._queue.popleft()]
            job = self._make_job(fill.key, loop.time() < self._in_doubt_until)
            if job is None or not fill.waiting:
                fill.state = _failed("unknown")
                self._leave(fill)
                continue
            fill.kind = job["kind"]
            fill.timer = loop.call_later(FILL_DEADLINE_S, self._end, fill.key, "no answer in time")
            self._tasks.start(self._order(fill, job), name=f"fill {fill.key[0]} {fill.key[2]}")

    async def _order(self, fill: Fill, job: dict[str, Any]) -> None:
        try:
            fill.child = await self._open_child()
            await fill.child.send(job)
        except OSError as error:
            self._end(fill.key, f"no sync child: {error}")

    async def _open_child(self) -> Child:
        async with self._opening:
            if self._idle_timer is not None:
                self._idle_timer.cancel()
                self._idle_timer = None
            if self._child is None:
                self._child = await self._launcher.open()
                self._tasks.start(self._follow(self._child), name="fills")
            return self._child

    async def _follow(self, child: Child) -> None:
        has_spoken = False
        async for event in child.events():
            has_spoken = True
            self._take(event)
        if self._child is child:
            self._child, self._relaying = None, 0
        line("debug", "fills.child_ended")
        for key, fill in list(self._fills.items()):
            if fill.child is child:  # the next child may have orders already
                # One that never said a word cannot work here: to ask again would start the next one at once.
                self._end(key, "the sync child ended", is_passing=has_spoken)
        await child.close()

    def _take(self, event: dict[str, Any]) -> None:
        key = (
            str(event.get("source", "")),
            str(event.get("revision", "")),
            str(event.get("path", "")),
        )
        if event["event"] == "relaying":
            self._relaying = int(event["open"])
            self._dismiss_later()
        elif event["event"] == "kept":
            self._on_kept(key[0], key[1])
        fill = self._fills.get(key)
        if fill is None or not fill.kind:
            return
        if event["event"] == "growing":
            facts = {name: event[name] for name in ("sha256", "size", "mtime", "file")}
            fill.state = {**facts, "done": False, "error": ""}
            self._tell(fill)
        elif event["event"] == "filled":
            facts = {name: event[name] for name in ("sha256", "size", "mtime")}
            fill.state = {**facts, "file": "", "done": True, "error": ""}
            self.filled += 1
            self._finish(fill)
        elif event["event"] == "relay":
            fill.state = {"relay": event["socket"], "done": True, "error": ""}
            self._finish(fill)
        elif event["event"] == "failed":
            is_passing = (
                event["code"] in STORAGE_CODES and fill.kind == "fill" and self._can_be_relayed(key)
            )
            if is_passing:
                self._in_doubt_until = asyncio.get_running_loop().time() + STORAGE_DOUBT_S
            self._end(key, f"{event['code']}: {event['detail']}", is_passing=is_passing)

    def _can_be_relayed(self, key: Key) -> bool:
        job = self._make_job(key, True)
        return job is not None and job["kind"] == "relay"

    def _end(self, key: Key, error: str, *, is_passing: bool = False) -> None:
        """It failed; `is_passing`: by no fault of the file, so that workers may ask again at once."""
        fill = self._fills.get(key)
        if fill is not None:
            line("warning", "fill.failed", source=key[0], path=key[2], error=error)
            fill.state = {**fill.state, **_failed(error), "again": is_passing}
            self.failed += 1
            self._finish(fill)

    def _finish(self, fill: Fill) -> None:
        self._leave(fill)
        self._start_waiting()
        self._dismiss_later()

    def _leave(self, fill: Fill) -> None:
        self._tell(fill)
        if fill.timer is not None:
            fill.timer.cancel()
        del self._fills[fill.key]

    def _dismiss_later(self) -> None:
        """When nobody needs the child any more, it goes after a while."""
        if self._idle_timer is not None:
            self._idle_timer.cancel()
            self._idle_timer = None
        if self._child is not None and not self._fills and not self._relaying:
            loop = asyncio.get_running_loop()
            self._idle_timer = loop.call_later(IDLE_CHILD_S, self._dismiss)

    def _dismiss(self) -> None:
        child, self._child = self._child, None
        if child is not None:
            self._tasks.start(child.close(), name="end the idle fill child")

    def _tell(self, fill: Fill) -> None:
        for worker, number in fill.waiting:
            worker.send(_message(number, fill.key, fill.state))


def _failed(error: str) -> dict[str, Any]:
    return {"done": False, "error": error}


def _message(number: int, key: Key, state: dict[str, Any]) -> dict[str, Any]:
    source, revision, path = key
    return {"fill": {"id": number, "source": source, "path": path, "revision": revision, **state}}
