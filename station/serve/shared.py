"""What all connections of one worker have in common."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

from station.serve.access_log import AccessLog
from station.serve.feed import Feed
from station.serve.guard import Guard
from station.serve.limits import Counters, Limits
from station.serve.memo import Memo
from station.serve.router import Router
from station.serve.world import World

if TYPE_CHECKING:
    from station.serve.connection import Connection

boot: Callable[[], float] = partial(time.clock_gettime, time.CLOCK_BOOTTIME)


@dataclass(slots=True)
class Shared:
    """One per worker. `feed` and `relay`, the path of a socket, lead to control; `memos` by scheme."""

    loop: asyncio.AbstractEventLoop
    guard: Guard
    limits: Limits
    counters: Counters
    router: Router
    world: World
    feed: Feed
    relay: str
    memos: dict[str, Memo]
    step_bytes: int  # the most that is sent of a file at one event
    access_log: AccessLog | None = None
    connections: set["Connection"] = field(default_factory=set)
    held: set["Connection"] = field(default_factory=set)
    relays: int = 0
    _is_waking: bool = False

    def changed(self) -> None:
        """Answers may differ from now on: forget the memos, ask again for every held request."""
        self.forget_answers()
        self.wake_held()

    def forget_answers(self) -> None:
        """Clear all memos."""
        for memo in self.memos.values():
            memo.clear()

    def wake_held(self) -> None:
        """Ask again for every held request, soon: the caller may be in the middle of answering one of them."""
        if self.held and not self._is_waking:
            self._is_waking = True
            self.loop.call_soon(self._ask_held)

    def _ask_held(self) -> None:
        self._is_waking = False
        for connection in list(self.held):
            connection.ask_again()
