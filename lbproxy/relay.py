"""The relay: bytes between two sockets, both ways, through the kernel once they are many.

Each direction begins with recv and send, which is cheapest for small messages. After two full reads it moves on
to `os.splice` through a pipe: the payload never enters this process. Pipes are pooled and held only while bytes are in
them. A direction reads only when everything it read before is written, so that a slow reader stops a fast writer.

Half-close is kept: the end of one direction is passed on, the other one goes on. A tunnel ends when both directions
have ended, on an error, when nothing moved for `idle_s`, or after `life_s`.
"""

import contextlib
import fcntl
import os
import socket
from collections.abc import Callable
from typing import Final, NamedTuple

from lbproxy.poller import BROKEN, IN, OUT, Poller

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
        with contextlib.suppress(OSError):  # beyond what the user may hold: used as it is
            fcntl.fcntl(ends[1], fcntl.F_SETPIPE_SZ, _PIPE_BYTES[self._big_count >= _BIG_PIPES_MAX])
        pipe = Pipe(*ends, fcntl.fcntl(ends[1], fcntl.F_GETPIPE_SZ))
        self.open_count += 1
        self._big_count += pipe.size == _PIPE_BYTES[0]
        if pipe.size < _PIPE_BYTES_USEFUL:
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


class End:
    """One socket of a tunnel, and the direction that reads from it. What breaks either ends the tunnel."""

    __slots__ = (
        "count", "fd", "full", "in_pipe", "is_ended", "is_mute", "mask", "peer", "pending", "pipe",
        "small", "sock", "tunnel",
    )  # fmt: skip

    peer: "End"

    def __init__(self, sock: socket.socket, tunnel: "Tunnel") -> None:
        self.sock, self.fd, self.tunnel = sock, sock.fileno(), tunnel
        self.mask = self.in_pipe = 0
        self.count = 0  # bytes read from this socket
        # Read, not yet written; at most _READ_BYTES, or what `start` was given.
        self.pending: bytes | memoryview = b""
        self.pipe: Pipe | None = None
        self.full = self.small = 0  # full reads, and small splices, in a row
        self.is_mute = False  # what is read is dropped
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
            self.tunnel.close(error.strerror or "broken")

    def flush(self) -> None:
        """Write what is pending, then read on; or wait until the peer takes bytes again. Raises OSError."""
        if self._write():
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
            self.pending = view[:size]
            if not self._write():
                self.pending = bytes(self.pending)
                self._wait_for_peer()

    def _splice(self, pipe: Pipe) -> None:
        try:
            size = os.splice(self.fd, pipe.write, pipe.size, flags=_SPLICE)
        except BlockingIOError:
            size = -1
        if size <= 0:
            self._release(pipe)
            if size == 0:
                self._end()
            return
        self.count += size
        self.in_pipe = size
        self.small = self.small + 1 if size < _SMALL_SPLICE_BYTES else 0
        if self.small == _SMALL_SPLICES_TO_FALL_BACK:
            self.full = self.small = 0
        if not self._write():
            self._wait_for_peer()

    def _write(self) -> bool:
        """Write what waits, as far as the peer takes it. True: nothing is left."""
        pipe = self.pipe
        try:
            if pipe is not None:
                step = min(self.in_pipe, self.tunnel.relay.step_bytes)
                self.in_pipe -= os.splice(pipe.read, self.peer.fd, step, flags=_SPLICE)
                if not self.in_pipe:
                    self._release(pipe)
            elif self.pending:
                self.pending = self.pending[self.peer.sock.send(self.pending) :]
        except BlockingIOError:
            return False
        return self.pipe is None and not self.pending

    def _release(self, pipe: Pipe) -> None:
        self.tunnel.relay.pipes.give(pipe)
        self.pipe = None

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
    """Two sockets, `a` and `b`, that are relayed. `close_reason`: why it ended (end, idle, life, an error), or ""."""

    on_close: "Callable[[Tunnel], None]"

    def __init__(self, relay: "Relay", a: socket.socket, b: socket.socket) -> None:
        self.relay, self.close_reason = relay, ""
        self._last = self._quiet = 0
        self._ttl = relay.life_sweeps
        self.a, self.b = End(a, self), End(b, self)
        self.a.peer, self.b.peer = self.b, self.a

    def close(self, reason: str = "closed") -> None:
        """Close both sockets at once. Harmless when closed."""
        if self.close_reason:
            return
        self.close_reason = reason
        for end in (self.a, self.b):
            if end.pipe is not None:
                self.relay.pipes.drop(end.pipe)
                end.pipe = None
            self.relay.poller.closing(end.fd)
            end.mask = 0
            end.sock.close()
        self.relay.tunnels.discard(self)
        self.on_close(self)

    def sweep(self) -> None:
        """Once per sweep: close when quiet or alive for too long."""
        total = self.a.count + self.b.count
        self._quiet = self._quiet + 1 if total == self._last else 0
        self._last = total
        self._ttl -= 1
        if self._ttl <= 0:
            self.close("life")
        elif self._quiet >= self.relay.idle_sweeps:
            self.close("idle")


class Relay:
    """All tunnels of one process. `idle_s` and `life_s` are kept to a second. `step_bytes` bounds a splice out."""

    def __init__(self, poller: Poller, *, idle_s: float = 300.0, life_s: float = 86_400.0) -> None:
        self.poller = poller
        self.pipes, self.step_bytes = Pipes(), _PIPE_BYTES[0]
        self.buffer = memoryview(bytearray(_READ_BYTES))  # for all: what is not sent is copied
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
        on_close: Callable[[Tunnel], None],
    ) -> Tunnel:
        """Relay between two connected non-blocking sockets that nobody watches, and own them from now on.

        `to_b` and `to_a` are written first. `is_a_mute`: what `a` sends is dropped, its end is passed on. `on_close` is
        called once, after both sockets were closed; possibly before this returns.
        """
        tunnel = Tunnel(self, a, b)
        tunnel.a.is_mute, tunnel.on_close = is_a_mute, on_close
        self.tunnels.add(tunnel)
        try:
            for end, first in ((tunnel.a, to_b), (tunnel.b, to_a)):
                end.pending = first
                end.flush()
        except OSError as error:
            tunnel.close(error.strerror or "broken")
        return tunnel

    def close(self) -> None:
        """Close all tunnels and pipes."""
        self._timer.cancel()
        for tunnel in list(self.tunnels):
            tunnel.close("closed")
        for _ in range(self.pipes.open_count):
            self.pipes.trim()

    def _sweep(self) -> None:
        self._timer = self.poller.loop.call_later(_SWEEP_S, self._sweep)
        for tunnel in list(self.tunnels):
            tunnel.sweep()
        self.pipes.trim()
