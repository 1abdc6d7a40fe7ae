"""One client of the proxy: PROXY header where it is due, one request head, a decision, a connection out, the relay.

Callbacks, no task per connection. After a refusal the connection is closed; nothing on it is read as a second request.
"""

import socket
from typing import TYPE_CHECKING

from lbproxy.poller import IN
from lbproxy.relay import Tunnel
from station.forward.policy import Allowed, Decision, Refused, ToFiles
from station.forward.request import HEAD_BYTES_MAX, BadRequest, ProxyRequest
from station.forward.response import BadResponse, Response, parse_response
from station.http.proxy_header import TLV_LISTENER, Address, encode_v2, parse
from station.serve.egress import Dial, EgressError

if TYPE_CHECKING:
    from station.serve.proxy_worker import ProxyWorker

_BUFFER_BYTES_MAX = HEAD_BYTES_MAX + 4096  # a head and a PROXY header; more waits in the kernel
_ESTABLISHED = b"HTTP/1.1 200 Connection established\r\n\r\n"
_PHRASES = {
    200: "OK", 400: "Bad Request", 403: "Forbidden", 404: "Not Found", 405: "Method Not Allowed",
    429: "Too Many Requests", 431: "Request Header Fields Too Large", 502: "Bad Gateway", 503: "Service Unavailable",
    504: "Gateway Timeout", 508: "Loop Detected",
}  # fmt: skip


def answer(status: int, text: str, *, has_body: bool = True) -> bytes:
    """A complete answer in plain text, after which the connection ends."""
    body = f"{text}\n".encode()
    allow = "Allow: CONNECT, GET, HEAD\r\n" if status == 405 else ""
    head = (
        f"HTTP/1.1 {status} {_PHRASES[status]}\r\nContent-Type: text/plain; charset=utf-8\r\n"
        f"Content-Length: {len(body)}\r\nX-Content-Type-Options: nosniff\r\nCache-Control: no-store\r\n"
        f"{allow}Connection: close\r\n\r\n"
    )
    return head.encode() + (body if has_body else b"")


class ProxyConnection:
    """From accept to the relay, or to a refusal. `source`: the client, as the balancer says if there is one."""

    __slots__ = (
        "_buffer", "_dial", "_early", "_mask", "_needs_preface", "_origin", "_request", "_sock", "_state",
        "_was_counted", "_worker", "deadline", "given", "is_barred", "limit", "slot", "source", "status", "tunnel",
    )  # fmt: skip

    def __init__(
        self, worker: "ProxyWorker", sock: socket.socket, source: Address, *, is_balancer: bool
    ) -> None:
        self._worker, self._sock, self.source = worker, sock, source
        self._needs_preface = is_balancer
        self.is_barred = False
        self._buffer = bytearray()
        self._early = b""  # what the client sent after its head, for the target
        self._request: ProxyRequest | None = None
        self._dial: Dial | None = None
        self._origin: socket.socket | None = None
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
        """The client's socket, or the origin's while its answer is awaited, has something."""
        if self._state == "answer":
            self._read_answer()
        else:
            self._read_client()

    def expire(self, limit: str) -> None:
        """See Guarded."""
        self._worker.counters.hit(limit)
        if self._state == "answer":
            self._refuse(504, "target does not answer")
        else:
            self.close()

    def close(self) -> None:
        """End at once, in any state."""
        if self._state == "closed":
            return
        self.deadline = 0.0
        if self._dial is not None:
            self._dial.cancel()
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
            self._refuse(error.status, error.reason)
            return
        if ruling is None:
            return
        request, decision = ruling
        self._request = request
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
            self._refuse(status, reason, counts=False)
            return
        if self.is_barred:
            self._refuse(403, "your address may not use this proxy")
            return
        if isinstance(decision, Refused):
            self._refuse(decision.status, decision.reason)
            return
        refusal = self._worker.admit(self.source[0])
        if refusal is not None:
            self._refuse(*refusal)
            return
        self._was_counted = True
        self.deadline = 0.0
        self._state = "dial"
        self._watch(0)  # early bytes wait in the kernel
        if isinstance(decision, ToFiles):
            self._to_files(decision.listener)
        else:
            self._out(decision)

    def _out(self, decision: Allowed) -> None:
        worker, request = self._worker, self._request
        assert request is not None and request.target is not None
        if worker.outer is not None:
            target, judge = worker.outer.target, None
        else:
            target = request.target
            judge = None if decision.any_address else worker.rulings.policy.judge_address
        self._dial = Dial(worker.poller, worker.resolver, target, judge, self._dialled)
        self._dial.start()

    def _dialled(self, result: socket.socket | EgressError) -> None:
        self._dial = None
        if isinstance(result, EgressError):
            self._refuse(result.status, result.reason)
            return
        request, outer = self._request, self._worker.outer
        assert request is not None and request.target is not None
        if outer is not None and request.is_connect:
            self._ask(result, outer.connect_head(request.target, self._worker.via))
        elif request.is_connect:
            self._relay(result, to_client=_ESTABLISHED)
        else:
            authorization = outer.authorization if outer else ""
            self._ask_for(result, b"", absolute=outer is not None, authorization=authorization)

    def _to_files(self, listener: str) -> None:
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        try:
            sock.connect(self._worker.files)
        except OSError:
            sock.close()
            self._refuse(502, "the mirror on this station does not answer")
            return
        here = self._sock.getsockname()[:2]
        head = encode_v2(self.source, here, {TLV_LISTENER: listener.encode()})
        assert self._request is not None
        if self._request.is_connect:
            self._relay(sock, to_client=_ESTABLISHED, to_origin=head)
        else:
            self._ask_for(sock, head)

    def _ask_for(
        self,
        origin: socket.socket,
        preface: bytes,
        *,
        absolute: bool = False,
        authorization: str = "",
    ) -> None:
        """Pass a GET or HEAD on."""
        assert self._request is not None
        try:
            head = self._request.onward(
                self._worker.via, absolute=absolute, authorization=authorization
            )
        except BadRequest as error:
            origin.close()
            self._refuse(error.status, error.reason)
            return
        self._ask(origin, preface + head)

    def _ask(self, origin: socket.socket, head: bytes) -> None:
        """Send a head of at most some 17 KiB, which an empty socket buffer takes whole, and await the answer's."""
        self._origin = origin
        try:
            if origin.send(head) != len(head):
                raise BlockingIOError
        except OSError:
            self._refuse(502, "target closed the connection")
            return
        self._state = "answer"
        self._worker.guard.watch(self, self._worker.guard.limits.answer_s, "answer")
        self._worker.poller.register(origin.fileno(), IN, self)

    def _read_answer(self) -> None:
        origin = self._origin
        assert origin is not None and self._request is not None
        try:
            data = origin.recv(HEAD_BYTES_MAX)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._refuse(502, "target closed the connection")
            return
        self._buffer += data
        try:
            response = parse_response(self._buffer, self._worker.via)
            while response is not None and response.is_interim:
                del self._buffer[: response.size]
                response = parse_response(self._buffer, self._worker.via)
        except BadResponse:
            self._refuse(502, "target gave no proper answer")
            return
        if response is not None:
            self._answered(origin, response)

    def _answered(self, origin: socket.socket, response: Response) -> None:
        assert self._request is not None
        rest = bytes(self._buffer[response.size :])
        self._worker.poller.unregister(origin.fileno())
        if not self._request.is_connect:
            self.status = response.status
            self._relay(origin, to_client=response.onward + rest, is_mute=True)
        elif 200 <= response.status < 300:
            self._relay(origin, to_client=_ESTABLISHED + rest)
        else:
            self._refuse(
                502, "the outer proxy refused"
            )  # its 407 is ours to solve, not the client's

    def _relay(
        self,
        origin: socket.socket,
        *,
        to_client: bytes,
        to_origin: bytes = b"",
        is_mute: bool = False,
    ) -> None:
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
        self._worker.log(self, self.status, tunnel)
        self._worker.left(self, was_counted=self._was_counted)

    def _refuse(self, status: int, reason: str, *, counts: bool = True) -> None:
        """Answer, send no more, drop what still comes for a moment (or our reset would eat the answer), close."""
        is_head = self._request is not None and self._request.method == "HEAD"
        self._drop_origin()
        self._buffer.clear()
        if counts:
            self._worker.log(self, status, None, reason)
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
            self._worker.poller.closing(self._origin.fileno())
            self._origin.close()
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

    @property
    def request(self) -> ProxyRequest | None:
        """What was asked for, once it is known."""
        return self._request
