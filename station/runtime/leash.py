"""The leash between the supervisor and a child: a socket pair. The child beats; a silent or orphaned child ends."""

import asyncio
import os
import socket
from collections.abc import Callable

LEASH_FD_VARIABLE = "STATION_LEASH_FD"
BEAT_EVERY_S = 1.0
SILENT_AFTER_S = 5.0


class Leash:
    """The child's end. Writes a byte each second from the event loop, so that a stuck loop is seen.

    `on_stop` runs once, when the supervisor says stop or is gone.
    """

    def __init__(self, sock: socket.socket, on_stop: Callable[[], None]) -> None:
        self._sock = sock
        self._on_stop = on_stop
        self._stopped = False
        sock.setblocking(False)

    @classmethod
    def from_environment(cls, on_stop: Callable[[], None]) -> "Leash | None":
        """The leash the supervisor handed over, or None when this process was started by hand."""
        fd = os.environ.pop(LEASH_FD_VARIABLE, "")
        return cls(socket.socket(fileno=int(fd)), on_stop) if fd else None

    def attach(self, loop: asyncio.AbstractEventLoop) -> None:
        """Begin to beat and to listen."""
        self._loop = loop
        loop.add_reader(self._sock, self._readable)
        self._beat()

    def _beat(self) -> None:
        try:
            self._sock.send(b".")
        except BlockingIOError:
            pass  # the supervisor is busy; it reads any number of beats as one
        except OSError:
            self._stop()
            return
        self._loop.call_later(BEAT_EVERY_S, self._beat)

    def _readable(self) -> None:
        try:
            self._sock.recv(16)  # "stop", or the end of the supervisor: the same to us
        except BlockingIOError:
            return
        except OSError:
            pass
        self._stop()

    def _stop(self) -> None:
        if not self._stopped:
            self._stopped = True
            self._loop.remove_reader(self._sock)
            self._on_stop()
