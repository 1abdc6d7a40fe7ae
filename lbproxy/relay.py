"""The relay: bytes between two sockets, both ways, through the kernel once they are many.

Each direction begins with recv and send, which is cheapest for small messages. After two full reads it moves on
to `os.splice` through a pipe: the payload never enters this process. Pipes are pooled and held only while bytes are in
them. A direction reads only when everything it read before is written, so that a slow reader stops a fast writer.

Half-close is kept: the end of one direction is passed on, the other one goes on. A tunnel ends when both directions
have ended, on an error, when nothing moved for `idle_s`, or after `life_s`.
"""

import fcntl
import os
import socket
from collections.abc import Callable
from typing import Final, NamedTuple

from lbproxy.poller import BROKEN, IN, OUT, Poller

IDLE_S: Final = 300.0
LIFE_S: Final = 24 * 3600.0
_SWEEP_S: Final = 1.0
_READ_BYTES: Final = 64 * 1024
_FULL_READS_TO_SPLICE: Final = 2
_SMALL_SPLICE_BYTES: Final = 16 * 1024  # below, recv and send are cheaper than two splices
_SMALL_SPLICES_TO_FALL_BACK: Final = 4
# One splice of 1 MiB costs 0.6 of what four of 256 KiB do. But a user without privileges may hold 64 MiB of pipes
# (fs.pipe-user-pages-soft), within which two processes of ours stay: 16 of 1 MiB, then 64 of 256 KiB.
_PIPE_BYTES: Final = 1024 * 1024, 256 * 1024
_BIG_PIPES_MAX: Final = 16
PIPES_MAX: Final = 80
_PIPE_BYTES_USEFUL: Final = 64 * 1024  # the kernel hands out pipes of one page beyond the limit
_SPLICE: Final = os.SPLICE_F_MOVE | os.SPLICE_F_NONBLOCK


class Pipe(NamedTuple):
    """An empty pipe, or one with bytes of one tunnel."""

    read: int
    write: int
    size: int


class Pipes:
    """A pool of empty pipes, the big ones last: they are taken first."""

    def __init__(self) -> None:
        self._free: list[Pipe] = []
        self.open_count = self._big_count = 0

    def take(self) -> Pipe | None:
        """An empty pipe, or None when there is none to be had."""
        if self._free:
            return self._free.pop()
        if self.open_count >= PIPES_MAX:
            return None
        try:
            ends = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError:
            return None  # out of descriptors: recv and send do as well
        wanted = _PIPE_BYTES[self._big_count >= _BIG_PIPES_MAX]
        try:
            size = fcntl.fcntl(ends[1], fcntl.F_SETPIPE_SZ, wanted)
        except OSError:
            size = fcntl.fcntl(ends[1], fcntl.F_GETPIPE_SZ)
        pipe = Pipe(*ends, size)
        self.open_count += 1
        self._big_count += size == _PIPE_BYTES[0]
        if size < _PIPE_BYTES_USEFUL:
            self.drop(pipe)
            return None
        return pipe

    def give(self, pipe: Pipe) -> None:
        """Take back an empty pipe."""
        self._free.insert(len(self._free) if pipe.size == _PIPE_BYTES[0] else 0, pipe)

    def drop(self, pipe: Pipe) -> None:
        """Close a pipe that still holds bytes of a tunnel that is gone, or that nobody needs."""
        os.close(pipe.read)
        os.close(pipe.write)
        self.open_count -= 1
        self._big_count -= pipe.size == _PIPE_BYTES[0]

    def trim(self) -> None:
        """Close one free pipe: a quiet process gives all of them back in time."""
        if self._free:
            self.drop(self._free.pop(0))

    def close(self) -> None:
        """Close all free pipes."""
        while self._free:
            self.trim()


class _End:
    """One socket of a tunnel, and the direction that reads from it. What breaks either ends the tunnel."""

    __slots__ = (
        "count", "fd", "full", "in_pipe", "is_ended", "is_mute", "mask", "peer", "pending", "pipe",
        "small", "sock", "tunnel",
    )  # fmt: skip

    peer: "_End"

    def __init__(self, sock: socket.socket, tunnel: "Tunnel", *, is_mute: bool = False) -> None:
        self.sock, self.fd, self.tunnel = sock, sock.fileno(), tunnel
        self.mask = 0
        self.count = 0  # bytes read from this socket
        self.pending = b""  # read, not yet written; at most _READ_BYTES, or what `start` was given
        self.pipe: Pipe | None = None
        self.in_pipe = 0
        self.full = 0  # full reads in a row; _FULL_READS_TO_SPLICE: bulk
        self.small = 0  # small splices in a row
        self.is_mute = is_mute  # what is read is dropped
        self.is_ended = False  # end of stream read and passed on

    def watch(self, mask: int) -> None:
        """Watch for `mask` from now on. Nothing wanted: not watched, since epoll reports BROKEN in any case."""
        poller = self.tunnel.relay.poller
        if mask == self.mask:
            return
        if self.mask == 0:
            poller.register(self.fd, mask, self)
        elif mask == 0:
            poller.unregister(self.fd)
        else:
            poller.modify(self.fd, mask)
        self.mask = mask

    def on_event(self, events: int) -> None:
        try:
            if events & (OUT | BROKEN) and self.mask & OUT:
                self.peer.flush()
            if events & (IN | BROKEN) and self.mask & IN:
                self._pump()
        except OSError as error:
            self.tunnel.close(error.strerror or type(error).__name__)

    def flush(self) -> None:
        """Write what is pending, then read on; or wait until the peer takes bytes again. Raises OSError."""
        if self.pipe is not None:
            is_empty = self._drain(self.pipe)
        else:
            if self.pending:
                self.pending = self.pending[self._send(self.pending) :]
            is_empty = not self.pending
        if is_empty:
            self.peer.watch(self.peer.mask & ~OUT)
            self.watch(self.mask | IN)
        else:
            self._wait_for_peer()

    def _pump(self) -> None:
        """Move what can be read. Called only while nothing is pending."""
        if self.full >= _FULL_READS_TO_SPLICE:
            self.pipe = self.tunnel.relay.pipes.take()
            if self.pipe is not None:
                self._splice(self.pipe)
                return
        view = self.tunnel.relay.buffer
        try:
            size = self.sock.recv_into(view)
        except BlockingIOError:
            return
        if size == 0:
            self._end()
        elif not self.is_mute:
            self.count += size
            self.full = self.full + 1 if size == _READ_BYTES else 0
            sent = self._send(view[:size])
            if sent < size:
                self.pending = bytes(view[sent:size])
                self._wait_for_peer()

    def _splice(self, pipe: Pipe) -> None:
        try:
            size = os.splice(self.fd, pipe.write, pipe.size, flags=_SPLICE)
        except BlockingIOError:
            self._release(pipe)
            return
        if size == 0:
            self._release(pipe)
            self._end()
            return
        self.count += size
        self.in_pipe = size
        self.small = self.small + 1 if size < _SMALL_SPLICE_BYTES else 0
        if self.small == _SMALL_SPLICES_TO_FALL_BACK:
            self.full = self.small = 0
        if not self._drain(pipe):
            self._wait_for_peer()

    def _drain(self, pipe: Pipe) -> bool:
        """Write what the pipe holds. True: it is empty and given back."""
        try:
            self.in_pipe -= os.splice(pipe.read, self.peer.fd, self.in_pipe, flags=_SPLICE)
        except BlockingIOError:
            return False
        if not self.in_pipe:
            self._release(pipe)
        return not self.in_pipe

    def _release(self, pipe: Pipe) -> None:
        self.tunnel.relay.pipes.give(pipe)
        self.pipe = None

    def _send(self, data: bytes | memoryview) -> int:
        try:
            return self.peer.sock.send(data)
        except BlockingIOError:
            return 0

    def _wait_for_peer(self) -> None:
        self.watch(self.mask & ~IN)
        self.peer.watch(self.peer.mask | OUT)

    def _end(self) -> None:
        """This socket's stream has ended: pass it on, and end the tunnel when it was the second one."""
        self.is_ended = True
        if self.peer.is_ended:
            self.tunnel.close("end")
        else:
            self.watch(self.mask & ~IN)
            self.peer.sock.shutdown(socket.SHUT_WR)


class Tunnel:
    """Two sockets that are relayed. `close_reason` says why it ended: end, idle, life, or an error."""

    __slots__ = (
        "__weakref__", "_ends", "_last", "_on_close", "_quiet", "_ttl", "close_reason", "relay",
    )  # fmt: skip

    def __init__(
        self,
        relay: "Relay",
        a: socket.socket,
        b: socket.socket,
        is_a_mute: bool,
        on_close: "Callable[[Tunnel], None] | None",
    ) -> None:
        self.relay, self._on_close = relay, on_close
        self.close_reason = ""
        self._last = self._quiet = 0
        self._ttl = relay.life_sweeps
        one, other = self._ends = _End(a, self, is_mute=is_a_mute), _End(b, self)
        one.peer, other.peer = other, one

    @property
    def bytes_from_a(self) -> int:
        """Bytes that went from the first socket to the second, without those given to `start`."""
        return self._ends[0].count

    @property
    def bytes_from_b(self) -> int:
        """Bytes that went from the second socket to the first, without those given to `start`."""
        return self._ends[1].count

    @property
    def is_closed(self) -> bool:
        """Both sockets are closed."""
        return bool(self.close_reason)

    def begin(self, *pending: bytes) -> None:
        """Only for Relay.start."""
        try:
            for end, data in zip(self._ends, pending, strict=True):
                end.pending = data
                end.flush()
        except OSError as error:
            self.close(error.strerror or type(error).__name__)

    def close(self, reason: str = "closed") -> None:
        """Close both sockets at once. Harmless when closed."""
        if self.close_reason:
            return
        self.close_reason = reason
        for end in self._ends:
            if end.pipe is not None:
                self.relay.pipes.drop(end.pipe)
                end.pipe = None
            self.relay.poller.closing(end.fd)
            end.mask = 0
            end.sock.close()
        self.relay.tunnels.discard(self)
        if self._on_close is not None:
            self._on_close(self)

    def sweep(self) -> None:
        """Once per sweep: close when quiet or alive for too long."""
        total = self.bytes_from_a + self.bytes_from_b
        self._quiet = self._quiet + 1 if total == self._last else 0
        self._last = total
        self._ttl -= 1
        if self._ttl <= 0:
            self.close("life")
        elif self._quiet >= self.relay.idle_sweeps:
            self.close("idle")


class Relay:
    """All tunnels of one process. `idle_s` and `life_s` are kept to a second."""

    def __init__(self, poller: Poller, *, idle_s: float = IDLE_S, life_s: float = LIFE_S) -> None:
        self.poller = poller
        self.pipes = Pipes()
        self.buffer = memoryview(
            bytearray(_READ_BYTES)
        )  # one for all: what is not sent at once is copied
        self.tunnels: set[Tunnel] = set()
        self.idle_sweeps = max(1, round(idle_s / _SWEEP_S))
        self.life_sweeps = max(1, round(life_s / _SWEEP_S))
        self._timer = poller.loop.call_later(_SWEEP_S, self._sweep)

    def start(
        self,
        a: socket.socket,
        b: socket.socket,
        *,
        to_b: bytes = b"",
        to_a: bytes = b"",
        is_a_mute: bool = False,
        on_close: Callable[[Tunnel], None] | None = None,
    ) -> Tunnel:
        """Relay between two connected non-blocking sockets that nobody watches, and own them from now on.

        `to_b` and `to_a` are written first. `is_a_mute`: what `a` sends is dropped, its end is passed on. `on_close` is
        called once, after both sockets were closed; possibly before this returns.
        """
        tunnel = Tunnel(self, a, b, is_a_mute, on_close)
        self.tunnels.add(tunnel)
        tunnel.begin(to_b, to_a)
        return tunnel

    def close(self) -> None:
        """Close all tunnels and pipes."""
        self._timer.cancel()
        for tunnel in list(self.tunnels):
            tunnel.close("closed")
        self.pipes.close()

    def _sweep(self) -> None:
        self._timer = self.poller.loop.call_later(_SWEEP_S, self._sweep)
        for tunnel in list(self.tunnels):
            tunnel.sweep()
        self.pipes.trim()
