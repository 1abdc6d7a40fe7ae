"""One client of the proxy: PROXY header where it is due, one request head, a decision, the relay or a refusal.

Callbacks, no task per connection. After a refusal the connection is closed; nothing on it is read as a second request.
"""

import socket
from typing import TYPE_CHECKING

from lbproxy.poller import IN
from lbproxy.relay import Tunnel
from station.forward.answer import answer
from station.forward.policy import Decision, Refused, ToFiles
from station.forward.request import HEAD_BYTES_MAX, BadRequest, ProxyRequest
from station.http.proxy_header import Address, parse
from station.serve.proxy_origin import Origin

if TYPE_CHECKING:
    from station.serve.proxy_worker import ProxyWorker

_BUFFER_BYTES_MAX = HEAD_BYTES_MAX + 4096  # a head and a PROXY header; more waits in the kernel


class ProxyConnection:
    """From accept to the relay, or to a refusal. `source`: the client, as the balancer says if there is one."""

    __slots__ = (
        "_buffer", "_early", "_mask", "_needs_preface", "_origin", "_sock", "_state", "_was_counted", "_worker",
        "deadline", "given", "is_barred", "limit", "request", "slot", "source", "status", "tunnel",
    )  # fmt: skip

    def __init__(
        self, worker: "ProxyWorker", sock: socket.socket, source: Address, *, is_balancer: bool
    ) -> None:
        self._worker, self._sock, self.source = worker, sock, source
        self._needs_preface = is_balancer
        self.is_barred = False
        self._buffer = bytearray()
        self._early = b""  # what the client sent after its head, for the target
        self.request: ProxyRequest | None = None  # once it is known
        self._origin: Origin | None = None
        self.tunnel: Tunnel | None = None
        self.status = 200  # of the answer, for the log
        self.given = (0, 0)  # bytes up and down that the tunnel began with, and does not count
        self._was_counted = False
        self._state = "head"
        self._mask = 0
        self.deadline, self.limit, self.slot = 0.0, "", 0

    def start(self) -> None:
        """Read what is there already, which is mostly the whole head; wait for the rest."""
        limits = self._worker.guard.limits
        seconds = limits.preface_s if self._needs_preface else limits.head_s
        self._worker.guard.watch(self, seconds, "head")
        self._read_client()
        if self._state == "head":
            self._watch(IN)

    @property
    def is_idle(self) -> bool:
        """No request of this client is under way."""
        return self._state == "head" and not self._buffer

    def on_event(self, events: int) -> None:
        self._read_client()

    def expire(self, limit: str) -> None:
        """See Guarded."""
        self._worker.counters.hit(limit)
        if limit == "answer":
            self.refuse(504, "target does not answer")
        else:
            self.close()

    def close(self) -> None:
        """End at once, in any state."""
        if self._state == "closed":
            return
        self.deadline = 0.0
        if self.tunnel is not None:
            self.tunnel.close()  # comes back as _ended
            return
        self._state = "closed"
        self._drop_origin()
        self._worker.poller.closing(self._sock.fileno())
        self._sock.close()
        self._worker.left(self, was_counted=self._was_counted)

    def _read_client(self) -> None:
        try:
            data = self._sock.recv(_BUFFER_BYTES_MAX - len(self._buffer))
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self.close()
        elif self._state == "head":
            self._buffer += data
            self._advance()
        # lingering: what comes after a refusal is dropped

    def _advance(self) -> None:
        if self._needs_preface and not self._take_preface():
            return
        if not self._buffer:
            return
        try:
            ruling = self._worker.rulings.read(self._buffer)
        except BadRequest as error:
            self.refuse(error.status, error.reason)
            return
        if ruling is None:
            return
        request, decision = ruling
        self.request = request
        if request.is_connect:
            self._early = bytes(self._buffer[request.size :])
        self._buffer.clear()
        self._follow(request, decision)

    def _take_preface(self) -> bool:
        """True once the balancer's header is read."""
        try:
            header = parse(self._buffer)
        except ValueError:
            self._worker.counters.add("proxy_header_refused")
            self.close()
            return False
        if header is None:
            return False
        del self._buffer[: header.size]
        self._needs_preface = False
        if header.source is not None:
            self.source = header.source
        # Without a client the balancer speaks for itself, and may ask for our health.
        self.is_barred = header.source is None or not self._worker.rulings.may_ask(self.source[0])
        self._worker.guard.watch(self, self._worker.guard.limits.head_s, "head")
        return True

    def _follow(self, request: ProxyRequest, decision: Decision | None) -> None:
        if decision is None:
            status, reason = self._worker.health(request.path)
            self.refuse(status, reason, counts=False)
            return
        if self.is_barred:
            self.refuse(403, "your address may not use this proxy")
            return
        if isinstance(decision, Refused):
            self.refuse(decision.status, decision.reason)
            return
        refusal = self._worker.tunnels.admit(self.source[0])
        if refusal is not None:
            self.refuse(*refusal)
            return
        self._was_counted = True
        self.deadline = 0.0
        self._state = "origin"
        self._watch(0)  # early bytes wait in the kernel
        self._origin = origin = Origin(self._worker, self, request)
        if isinstance(decision, ToFiles):
            origin.seek_files(decision, self._sock.getsockname()[:2])
        else:
            origin.seek(decision)

    def relay(
        self,
        origin: socket.socket,
        *,
        to_client: bytes,
        to_origin: bytes = b"",
        status: int = 200,
        is_mute: bool = False,
    ) -> None:
        """Pass bytes both ways from now on, these first; `is_mute`: the client has nothing more to say."""
        self.status = status
        self.deadline = 0.0
        self._origin = None
        self._state = "relay"
        early, self._early = self._early, b""
        self.given = len(early), len(to_client)
        self._buffer.clear()
        self.tunnel = self._worker.relay.start(
            self._sock,
            origin,
            to_b=to_origin + early,
            to_a=to_client,
            is_a_mute=is_mute,
            on_close=self._ended,
        )

    def _ended(self, tunnel: Tunnel) -> None:
        self._state = "closed"
        self._worker.log.ended(self, tunnel)
        self._worker.left(self, was_counted=self._was_counted)

    def refuse(self, status: int, reason: str, *, counts: bool = True) -> None:
        """Answer, send no more, drop what still comes for a moment (or our reset would eat the answer), close."""
        is_head = self.request is not None and self.request.method == "HEAD"
        self._drop_origin()
        self._buffer.clear()
        if counts:
            self._worker.log.refused(self, status, reason)
        try:
            self._sock.send(answer(status, reason, has_body=not is_head))
            self._sock.shutdown(socket.SHUT_WR)
        except OSError:
            self.close()
            return
        self._state = "linger"
        self._watch(IN)
        self._worker.guard.watch(self, self._worker.guard.limits.linger_s, "linger")

    def _drop_origin(self) -> None:
        if self._origin is not None:
            self._origin.drop()
            self._origin = None

    def _watch(self, mask: int) -> None:
        """Watch the client's socket, or leave it alone."""
        if mask == self._mask:
            return
        if mask:
            self._worker.poller.register(self._sock.fileno(), mask, self)
        else:
            self._worker.poller.unregister(self._sock.fileno())
        self._mask = mask
