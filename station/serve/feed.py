"""The worker's end of the feed: beats, snapshots, fills and answers come down; wants, asks and counters go up.

Reconnects for ever: a worker goes on serving while control restarts.
"""

import asyncio
import socket
from collections.abc import Callable
from typing import Any

from station.runtime.clock import Clock
from station.runtime.frames import FrameError, FrameReader, encode_frame
from station.runtime.lines import line
from station.serve.asks import Asks, Told
from station.serve.limits import Counters
from station.serve.world import Fill, World

RECONNECT_S = 0.25
COUNTERS_EVERY_S = 1.0
READ_BYTES = 256 * 1024
OUTBOX_BYTES_MAX = 1024 * 1024  # control that does not read is control that is gone


class Feed:
    """Keeps `world` up to date. `on_change` runs after a message that may change answers, `on_beat` after any."""

    def __init__(
        self,
        path: str,
        name: str,
        world: World,
        *,
        clock: Clock,
        counters: Callable[[], dict[str, int]],
        in_flight: Callable[[], int],
        stats: Counters,
    ) -> None:
        self.on_change: Callable[[], None] = lambda: None
        self.on_beat: Callable[[], None] = lambda: None
        self.on_stop: Callable[[], None] = lambda: None
        self._path, self._name, self._world, self._clock = path, name, world, clock
        self._counters, self._in_flight, self._stats = counters, in_flight, stats
        self.asks = Asks()
        self._sock: socket.socket | None = None
        self._reader = FrameReader()
        self._outbox = bytearray()
        self._is_writing = False
        self._loop: asyncio.AbstractEventLoop

    def attach(self, loop: asyncio.AbstractEventLoop) -> None:
        """Begin to connect, and to report."""
        self._loop = loop
        self._connect()
        self._report()

    def drain(self) -> None:
        """Read all that control has sent by now. Called before a mutable name is answered after a pause."""
        while self._sock is not None and self._read_once():
            pass

    def want(self, fill: Fill) -> None:
        """Ask control for what is missing."""
        source, path, revision = fill.key
        self._send(
            {"want": {"id": fill.id, "source": source, "path": path, "revision": revision or None}}
        )

    def ask(self, message: dict[str, Any], told: Told) -> bool:
        """Ask control something, see Asks; False when it is not there."""
        if self._sock is None:
            return False
        self._send({"ask": message | {"id": self.asks.add(told)}})
        return True

    def close(self) -> None:
        """Leave control."""
        self._disconnect()

    def _connect(self) -> None:
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        sock.setblocking(False)
        try:
            sock.connect(self._path)
        except OSError:  # not there yet, or its backlog is full
            sock.close()
            self._loop.call_later(RECONNECT_S, self._connect)
            return
        self._sock, self._reader = sock, FrameReader()
        self._outbox.clear()
        self._loop.add_reader(sock, self.drain)
        self._send({"hello": self._name})
        for fill in self._world.open_fills():
            self.want(fill)

    def _disconnect(self) -> None:
        sock, self._sock = self._sock, None
        if sock is not None:
            self._loop.remove_reader(sock)
            self._loop.remove_writer(sock)
            self._is_writing = False
            sock.close()
            self.asks.drop()

    def _lost(self, why: str) -> None:
        line("warning", "feed.lost", why=why)
        self._stats.add("feed_lost")
        self._disconnect()
        self._loop.call_later(RECONNECT_S, self._connect)

    def _read_once(self) -> bool:
        """Read and take one piece; False when there was none."""
        assert self._sock is not None
        try:
            data = self._sock.recv(READ_BYTES)
        except BlockingIOError:
            return False
        except OSError as error:
            self._lost(str(error))
            return False
        if not data:
            self._lost("control closed it")
            return False
        try:
            messages = self._reader.feed(data)
        except FrameError as error:
            self._lost(str(error))
            return False
        if messages:
            self._take(messages)
        return True

    def _take(self, messages: list[dict[str, Any]]) -> None:
        changed = False
        for message in messages:
            try:
                if "told" in message:
                    self.asks.take(message["told"])
                else:
                    changed |= self._world.take(message, self._clock.boot())
            except (KeyError, TypeError, ValueError) as error:
                line("error", "feed.message_refused", error=repr(error))
                self._stats.add("feed_refused")
            if message.get("stop"):
                self.on_stop()
        if changed:
            self.on_change()
        self.on_beat()

    def _send(self, message: dict[str, Any]) -> None:
        if self._sock is None:
            return
        self._outbox += encode_frame(message)
        if len(self._outbox) > OUTBOX_BYTES_MAX:
            self._lost("control does not read")
        elif not self._is_writing:
            self._flush()

    def _flush(self) -> None:
        if self._sock is None:
            return
        try:
            while self._outbox:
                sent = self._sock.send(self._outbox)
                del self._outbox[:sent]
        except BlockingIOError:
            pass
        except OSError as error:
            self._lost(str(error))
            return
        if bool(self._outbox) != self._is_writing:
            self._is_writing = bool(self._outbox)
            if self._is_writing:
                self._loop.add_writer(self._sock, self._flush)
            else:
                self._loop.remove_writer(self._sock)

    def _report(self) -> None:
        self._send({"counters": self._counters()})
        self._send({"in_flight": self._in_flight()})
        self._loop.call_later(COUNTERS_EVERY_S, self._report)
