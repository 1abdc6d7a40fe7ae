"""The leash between the supervisor and a child: a socket pair.

The child beats from its event loop, so that a stuck loop is seen. A word from the supervisor is an order; the end
of the supervisor is the end of the child, at once: whatever replaces the supervisor starts its own.
"""

import os
import socket
from collections.abc import Callable
from typing import TYPE_CHECKING

from station.runtime.lines import line

if TYPE_CHECKING:  # the supervisor has no event loop, and 4 MiB less for that
    import asyncio

LEASH_FD_VARIABLE = "STATION_LEASH_FD"
BEAT_EVERY_S = 1.0
SILENT_AFTER_S = 5.0

# Orders, supervisor → child.
STOP = b"stop\n"
DRAIN = b"drain\n"

# Reports, child → supervisor; anything else is a beat.
BEAT = b"."
READY = b"R"
STORAGE_STALLED = b"s"
STORAGE_ANSWERS = b"a"

ORPHANED_EXIT_CODE = 3


class Leash:
    """The child's end. `on_stop` runs once, when the supervisor says stop; `on_drain` when it says so."""

    def __init__(
        self,
        sock: socket.socket,
        on_stop: Callable[[], None],
        on_drain: Callable[[], None] | None = None,
    ) -> None:
        self._sock = sock
        self._on_stop = on_stop
        self._on_drain = on_drain
        self._stopped = False
        sock.setblocking(False)

    @classmethod
    def from_environment(
        cls, on_stop: Callable[[], None], on_drain: Callable[[], None] | None = None
    ) -> "Leash | None":
        """The leash the supervisor handed over, or None when this process was started by hand."""
        fd = os.environ.pop(LEASH_FD_VARIABLE, "")
        return cls(socket.socket(fileno=int(fd)), on_stop, on_drain) if fd else None

    def attach(self, loop: "asyncio.AbstractEventLoop") -> None:
        """Begin to beat and to listen."""
        self._loop = loop
        loop.add_reader(self._sock, self._readable)
        self._beat()

    def report(self, what: bytes) -> None:
        """Tell the supervisor READY, STORAGE_STALLED or STORAGE_ANSWERS."""
        try:
            self._sock.send(what)
        except BlockingIOError:
            pass  # the supervisor is busy; it reads any number of beats as one
        except OSError:
            self._orphaned()

    def _beat(self) -> None:
        self.report(BEAT)
        self._loop.call_later(BEAT_EVERY_S, self._beat)

    def _readable(self) -> None:
        try:
            orders = self._sock.recv(64)
        except BlockingIOError:
            return
        except OSError:
            orders = b""
        if not orders:
            self._orphaned()
        if DRAIN in orders and self._on_drain:
            self._on_drain()
        if STOP in orders and not self._stopped:
            self._stopped = True
            self._on_stop()

    def _orphaned(self) -> None:
        line("warning", "leash.orphaned")
        os._exit(ORPHANED_EXIT_CODE)
