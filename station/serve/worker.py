"""What workers of all kinds have in common as processes: settings, a leash, signals, a drain, an end.

Started by the supervisor with its settings as JSON in STATION_SETTINGS; inherits its listening sockets.
"""

import asyncio
import gc
import json
import os
import signal
import socket
from abc import ABC, abstractmethod
from collections.abc import Callable
from functools import partial
from typing import Any

from station.runtime.leash import READY, Leash
from station.runtime.lines import line, set_process


class Worker(ABC):
    """The composition of one worker. Calls `on_ready` once it accepts."""

    def __init__(self, settings: dict[str, Any], loop: asyncio.AbstractEventLoop) -> None:
        """Settings as the supervisor writes them.

        Raises KeyError, ValueError for bad settings, OSError for a bad certificate or descriptor.
        """
        self._settings, self.loop = settings, loop
        self.on_ready: Callable[[], None] = lambda: None
        self.ended = loop.create_future()

    @abstractmethod
    def start(self) -> None:
        """Begin to work."""

    @abstractmethod
    def drain(self) -> None:
        """Leave new clients to the successor, if there is one; finish what is under way within drain_s, then end."""

    @abstractmethod
    def terminate(self) -> None:
        """A signal: the first one drains, the second one ends at once."""

    @abstractmethod
    def close(self) -> None:
        """Give everything back."""

    def _finish(self) -> None:
        if not self.ended.done():
            self.ended.set_result(None)


def inherited(descriptor: int, *, is_tcp: bool = True) -> socket.socket:
    """The listening socket, with what accepted connections inherit from it. Raises OSError."""
    sock = socket.socket(fileno=descriptor)
    sock.setblocking(False)
    if is_tcp:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    return sock


def run(kind: type[Worker]) -> int:
    """Serve until told to stop; the exit status. The entry point of every worker."""
    settings = json.loads(os.environ["STATION_SETTINGS"])
    set_process(settings["name"])
    try:
        asyncio.run(_serve(kind, settings))
    except (KeyError, ValueError, OSError) as error:
        line("error", "worker.cannot_start", error=repr(error))
        return 1
    return 0


async def _serve(kind: type[Worker], settings: dict[str, Any]) -> None:
    loop = asyncio.get_running_loop()
    worker = kind(settings, loop)
    leash = Leash.from_environment(worker.drain)
    if leash is not None:
        leash.attach(loop)
        worker.on_ready = partial(leash.report, READY)
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, worker.terminate)
    worker.start()
    # Connections make no cycles that live; a collection of everything at start would be seen in p99.
    gc.collect()
    gc.freeze()
    line("info", "worker.started", listeners=[each["kind"] for each in settings["listeners"]])
    await worker.ended
    worker.close()
    line("info", "worker.ended")
