"""One guard for all listeners: caps on connections, and one timer wheel for every deadline.

At the cap a connection is still accepted and its head read, so that health checks get their answer; the rest waits
for room. A 503 or a reset would be taken for a failure of the mirror at once. Beyond that the backlog holds them.
"""

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import Callable
from typing import Protocol

from station.serve.limits import Counters, Limits

TICK_S = 0.25  # deadlines are kept to within two ticks


class Guarded(Protocol):
    """What has a deadline. `deadline` is in guard seconds, 0 once it needs none; `slot` belongs to the wheel."""

    deadline: float
    limit: str
    slot: int

    def expire(self, limit: str) -> None:
        """The deadline passed; `limit` names what it stood for."""


class Waiting(Protocol):
    """A connection over a cap, to be let in later."""

    address: str | None

    def let_in(self) -> None:
        """There is room now: it counts as admitted."""


class Guard:
    """Counts connections and ends what takes too long. `now` is the time of the last tick: cheap to read."""

    def __init__(self, limits: Limits, counters: Counters) -> None:
        self.limits = limits
        self.counters = counters
        self.now = time.monotonic()
        self.open = 0  # accepted, let in or not
        self.active = 0  # let in
        self.on_room: Callable[[], None] = lambda: None  # listeners may accept again
        self.on_crowded: Callable[[], None] = lambda: None  # somebody has to wait
        self._per_address: dict[str, int] = {}
        self._waiting: deque[Waiting] = deque()
        self._wheel: dict[int, list[Guarded]] = {}
        self._done_slot = int(self.now / TICK_S)
        self._was_full = False

    @property
    def is_full(self) -> bool:
        """Nothing more may be accepted now."""
        return self.open >= self.limits.connections + self.limits.waiting

    @property
    def has_room(self) -> bool:
        """One more may be let in, as far as the total goes."""
        return self.active < self.limits.connections

    @property
    def is_crowded(self) -> bool:
        """Somebody waits: connections should be given back after their answer."""
        return bool(self._waiting)

    def attach(self, loop: asyncio.AbstractEventLoop) -> None:
        """Tick until the loop ends."""
        self.tick(time.monotonic())
        loop.call_later(TICK_S, self.attach, loop)

    def enter(self) -> None:
        """A connection was accepted."""
        self.open += 1
        if self.is_full:
            self._was_full = True
            self.counters.hit("backlog")

    def admit(self, address: str | None) -> bool:
        """Let a connection in, if the caps allow. `address` None: no cap of its own (balancers, unix)."""
        cap = self._take_place(address)
        if cap:
            self.counters.hit(cap)
        return not cap

    def wait(self, item: Waiting) -> None:
        """Have `item.let_in` called once there is room; it is admitted by then.

        That may be now: somebody left after it was refused, and before it had a request to wait with.
        """
        if not self._take_place(item.address):
            item.let_in()
            return
        self._waiting.append(item)
        self.on_crowded()

    def stop_waiting(self, item: Waiting) -> None:
        """It is gone before there was room."""
        with contextlib.suppress(ValueError):  # let in a moment ago
            self._waiting.remove(item)

    def leave(self, address: str | None, *, was_admitted: bool) -> None:
        """A connection is closed; `address` as it was admitted."""
        self.open -= 1
        if was_admitted:
            self.active -= 1
            if address is not None:
                count = self._per_address.get(address, 0) - 1
                if count > 0:
                    self._per_address[address] = count
                else:
                    self._per_address.pop(address, None)
        if self._waiting:
            self._let_in()
        if self._was_full and not self.is_full:
            self._was_full = False
            self.on_room()

    def watch(self, item: Guarded, seconds: float, limit: str) -> None:
        """Expire `item` after `seconds`, unless its `deadline` is moved or set to 0 before."""
        item.deadline = self.now + seconds
        item.limit = limit
        slot = int(item.deadline / TICK_S) + 1
        if not self._done_slot < item.slot <= slot:
            item.slot = slot
            self._wheel.setdefault(slot, []).append(item)

    def tick(self, now: float) -> None:
        """Time went on to `now` (monotonic seconds)."""
        self.now = now
        slot = int(now / TICK_S)
        if slot - self._done_slot > len(self._wheel):
            due = sorted(s for s in self._wheel if s <= slot)
        else:
            due = [s for s in range(self._done_slot + 1, slot + 1) if s in self._wheel]
        self._done_slot = slot
        for each in due:
            for item in self._wheel.pop(each):
                self._judge(item, each)

    def _judge(self, item: Guarded, slot: int) -> None:
        if item.slot != slot or not item.deadline:
            return  # scheduled anew elsewhere, or gone
        item.slot = 0
        if item.deadline > self.now:
            self.watch(item, item.deadline - self.now, item.limit)
        else:
            item.deadline = 0.0
            item.expire(item.limit)

    def _let_in(self) -> None:
        for _ in range(len(self._waiting)):
            if not self.has_room:
                return
            item = self._waiting.popleft()
            if self._take_place(item.address):
                self._waiting.append(item)
            else:
                item.let_in()

    def _take_place(self, address: str | None) -> str:
        """Count one more; or else the cap that does not allow it."""
        if not self.has_room:
            return "connections"
        if address is not None:
            count = self._per_address.get(address, 0)
            if count >= self.limits.per_address:
                return "per_address"
            self._per_address[address] = count + 1
        self.active += 1
        return ""
