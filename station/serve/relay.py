"""Carries what is not ours to answer to control and back: bytes, both ways, until control ends it.

A PROXY v2 header tells control who the client is and where it came in; control answers with `Connection: close`.
"""

import asyncio
import socket
import ssl
from typing import TYPE_CHECKING

from station.http.proxy_header import TLV_LISTENER, encode_v2
from station.serve.reply import Client

if TYPE_CHECKING:
    from station.serve.connection import Connection
    from station.serve.shared import Shared

PIECE_BYTES = 64 * 1024  # also the most that is kept for a side that does not read
CONNECT_S = 5.0  # control restarts within this
RETRY_S = 0.2


class Relay:
    """Two pumps between a client's connection and control. Ends by closing the client's connection."""

    def __init__(
        self, shared: "Shared", connection: "Connection", client: Client, first: bytes
    ) -> None:
        self._shared, self._connection = shared, connection
        self._loop = shared.loop
        self._client_sock = connection.sock
        self._client_fd = connection.sock.fileno()
        # The destination tells nothing here; control learns the listener from its TLV.
        source = (client.address or "127.0.0.1", client.port)
        here = ("::", 0) if ":" in source[0] else ("0.0.0.0", 0)
        self._up = bytearray(
            encode_v2(source, here, {TLV_LISTENER: client.listener.encode("ascii")}) + first
        )
        self._down = bytearray()
        self._control: socket.socket | None = None
        self._control_ended = False
        self._retry: asyncio.TimerHandle | None = None
        self._give_up_at = self._loop.time() + CONNECT_S
        self._is_closed = False
        shared.relays += 1

    def start(self) -> None:
        """Connect, trying again while control is away."""
        self._retry = None
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        sock.setblocking(False)
        try:
            sock.connect(self._shared.relay)
        except OSError:
            sock.close()
            if self._loop.time() < self._give_up_at:
                self._retry = self._loop.call_later(RETRY_S, self.start)
            else:
                self._shared.counters.add("relay_unreachable")
                self._connection.abort()
            return
        self._control = sock
        self._touch()
        self._loop.add_reader(sock, self._from_control)
        self._loop.add_reader(self._client_fd, self._from_client)
        self._to_control()

    def close(self) -> None:
        """Give back control's side; the connection closes its own socket."""
        if self._is_closed:
            return
        self._is_closed = True
        self._shared.relays -= 1
        if self._retry is not None:
            self._retry.cancel()
        self._loop.remove_reader(self._client_fd)
        self._loop.remove_writer(self._client_fd)
        if self._control is not None:
            self._loop.remove_reader(self._control)
            self._loop.remove_writer(self._control)
            self._control.close()

    def _touch(self) -> None:
        limits = self._shared.limits
        self._shared.guard.watch(self._connection, limits.relay_idle_s, "relay_idle")

    def _from_client(self) -> None:
        while True:
            try:
                data = self._client_sock.recv(PIECE_BYTES)
            except (BlockingIOError, ssl.SSLWantReadError):
                break
            except OSError:
                self._connection.close()
                return
            if not data:
                self._connection.close()
                return
            self._up += data
            if not (isinstance(self._client_sock, ssl.SSLSocket) and self._client_sock.pending()):
                break
        self._touch()
        self._to_control()

    def _to_control(self) -> None:
        assert self._control is not None
        try:
            while self._up:
                del self._up[: self._control.send(self._up)]
        except BlockingIOError:
            self._loop.add_writer(self._control, self._to_control)
            self._loop.remove_reader(self._client_fd)
            return
        except OSError:
            # Control may have answered and closed without reading all of a body: its answer is still to be read.
            self._up.clear()
            self._loop.remove_reader(self._client_fd)
            return
        self._loop.remove_writer(self._control)
        if not self._control_ended:
            self._loop.add_reader(self._client_fd, self._from_client)

    def _from_control(self) -> None:
        assert self._control is not None
        try:
            data = self._control.recv(PIECE_BYTES)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if data:
            self._down += data
        else:
            self._control_ended = True
            self._loop.remove_reader(self._control)
            self._loop.remove_reader(self._client_fd)
        self._touch()
        self._to_client()

    def _to_client(self) -> None:
        assert self._control is not None
        try:
            while self._down:
                sent = self._client_sock.send(self._down)
                del self._down[:sent]
        except (BlockingIOError, ssl.SSLWantWriteError):
            self._loop.remove_reader(self._control)
            self._loop.add_writer(self._client_fd, self._to_client)
            return
        except OSError:
            self._connection.close()
            return
        self._loop.remove_writer(self._client_fd)
        if self._control_ended:
            self._connection.close()
        else:
            self._loop.add_reader(self._control, self._from_control)
