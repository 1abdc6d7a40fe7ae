"""A non-blocking socket with its place in the event loop, plain or TLS, and the three ways to end it."""

import asyncio
import contextlib
import socket
import ssl
import struct
from collections.abc import Callable

from station.serve.transfer import Socket

_RESET = struct.pack("ii", 1, 0)


class Wire:
    """Base of a connection. `is_open` until `release`."""

    __slots__ = ("_fd", "_is_reading", "_is_writing", "_loop", "_sock", "_tls")

    def __init__(self, loop: asyncio.AbstractEventLoop, sock: Socket) -> None:
        self._loop = loop
        self._sock = sock
        self._tls = sock if isinstance(sock, ssl.SSLSocket) else None
        self._fd = sock.fileno()
        self._is_reading = self._is_writing = False

    @property
    def is_open(self) -> bool:
        """Not yet released."""
        return self._fd >= 0

    @property
    def sock(self) -> Socket:
        """The socket, for the relay."""
        return self._sock

    @property
    def has_decrypted(self) -> bool:
        """Bytes wait in OpenSSL's buffer, where they raise no event."""
        return self._tls is not None and self._tls.pending() > 0

    def read_with(self, callback: Callable[[], None]) -> None:
        """Call back whenever there are bytes."""
        self._is_reading = True
        self._loop.add_reader(self._fd, callback)

    def pause_reading(self) -> None:
        """Leave the client's bytes in the kernel, which bounds them."""
        if self._is_reading:
            self._is_reading = False
            self._loop.remove_reader(self._fd)

    def write_with(self, callback: Callable[[], None]) -> None:
        """Call back whenever the socket takes bytes."""
        if not self._is_writing:
            self._is_writing = True
            self._loop.add_writer(self._fd, callback)

    def stop_writing(self) -> None:
        """No more calls for writing."""
        if self._is_writing:
            self._is_writing = False
            self._loop.remove_writer(self._fd)

    def end_sending(self) -> None:
        """Tell the client that nothing more comes. Raises OSError when it is gone."""
        if self._tls is not None:
            self._goodbye(self._tls)
        self._sock.shutdown(socket.SHUT_WR)

    def release(self, *, is_reset: bool) -> None:
        """Close: politely, or by a reset, so that a cut answer is not taken for a whole one."""
        self.pause_reading()
        self.stop_writing()
        self._fd = -1
        with contextlib.suppress(OSError, ValueError):
            if is_reset:
                self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            elif self._tls is not None:
                self._goodbye(self._tls)
        self._sock.close()

    @staticmethod
    def _goodbye(tls: ssl.SSLSocket) -> None:
        """close_notify, without waiting for the other side's."""
        with contextlib.suppress(ssl.SSLWantReadError, ssl.SSLWantWriteError):
            tls.unwrap()
