"""Gossip brought to life: one task owns the core and carries out its effects strictly in order.

    callers ──▶ mailbox ──▶ Gossip (pure) ──▶ Persist ──▶ answer, Changed, Send
    timer ──────▲

Nothing is acknowledged, shown or sent before it is durable.
"""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Protocol

from station.gossip.effects import Effect, Persist, Send
from station.gossip.entry import Entry, HighWater, Row
from station.gossip.machine import Gossip
from station.model.now import Now
from station.runtime.clock import Clock

MAILBOX_MAX = 1024  # some seconds of work; beyond that callers are told to come again
TURN_S_MAX = 0.25  # a status travels at most this late

Work = Callable[[Now], list[Effect]]


class Ledger(Protocol):
    """Where the registry is durable. Called from one thread at a time."""

    def load(self) -> tuple[str, list[Entry], HighWater | None]: ...
    def persist(self, entries: Iterable[Row], high_water: HighWater | None = None) -> None: ...
    def close(self) -> None: ...


class RegistryClosed(Exception):
    """The registry has ended (its disk failed, or the station stops), or has more to do than it can take."""


@dataclass(slots=True)
class _Step:
    work: Work
    done: asyncio.Future[bytes | None]


class Driver:
    """The one task. `carry_out` gets every effect that is neither Persist nor a reply, when its turn comes."""

    def __init__(
        self,
        gossip: Gossip,
        ledger: Ledger,
        clock: Clock,
        carry_out: Callable[[Effect], None],
    ) -> None:
        self._gossip = gossip
        self._ledger = ledger
        self._clock = clock
        self._carry_out = carry_out
        self._mailbox: asyncio.Queue[_Step] = asyncio.Queue(MAILBOX_MAX)
        # A write to disk takes milliseconds, on a bad day seconds; the loop answers peers meanwhile.
        self._disk = ThreadPoolExecutor(1, thread_name_prefix="ledger")
        self._end: BaseException | None = None

    async def run(self) -> None:
        """Until cancelled. Raises when the ledger fails: the core is then ahead of its disk, the process has to end."""
        try:
            while True:
                step = await self._next_step()
                if step is not None:
                    await self._take(step)
                if self._clock.boot() >= self._gossip.next_deadline():
                    await self._settle_all(self._gossip.tick(now=self.now()))
        except BaseException as error:
            self._end = error
            raise
        finally:
            while not self._mailbox.empty():
                _answer(self._mailbox.get_nowait().done, error=RegistryClosed("it has ended"))

    async def close(self) -> None:
        """After `run` has ended: what is being written is written, then the ledger is closed."""
        self._end = self._end or RegistryClosed("the station stops")
        await asyncio.to_thread(self._disk.shutdown)
        self._ledger.close()

    async def do(self, work: Work) -> bytes | None:
        """Have the task run `work` and carry out its effects; the reply among them.

        Raises what `work` raises, and RegistryClosed.
        """
        if self._end is not None:
            raise RegistryClosed(f"it has ended: {self._end!r}")
        done: asyncio.Future[bytes | None] = asyncio.get_running_loop().create_future()
        try:
            self._mailbox.put_nowait(_Step(work, done))
        except asyncio.QueueFull:
            raise RegistryClosed("too much to do: try again") from None
        return await done

    def now(self) -> Now:
        """Both clocks."""
        return Now(wall=self._clock.wall(), boot=self._clock.boot())

    async def _next_step(self) -> _Step | None:
        """The next step, or None when it is time for a tick."""
        wait = min(max(self._gossip.next_deadline() - self._clock.boot(), 0.0), TURN_S_MAX)
        try:
            async with asyncio.timeout(wait):
                return await self._mailbox.get()
        except TimeoutError:
            return None

    async def _take(self, step: _Step) -> None:
        try:
            effects = step.work(self.now())
        except Exception as error:
            _answer(step.done, error=error)
            return
        try:
            _answer(step.done, await self._settle_all(effects))
        except BaseException as error:
            _answer(step.done, error=RegistryClosed(f"not durable: {error!r}"))
            raise

    async def _settle_all(self, effects: Sequence[Effect]) -> bytes | None:
        reply = None
        for effect in effects:
            if isinstance(effect, Persist):
                await asyncio.get_running_loop().run_in_executor(
                    self._disk, self._ledger.persist, effect.entries, effect.high_water
                )
            elif isinstance(effect, Send) and effect.is_reply:
                reply = effect.data
            else:
                self._carry_out(effect)
        return reply


def _answer(
    done: asyncio.Future[bytes | None],
    reply: bytes | None = None,
    error: BaseException | None = None,
) -> None:
    """To whoever still waits."""
    if done.done():
        return
    if error is None:
        done.set_result(reply)
    else:
        done.set_exception(error)
