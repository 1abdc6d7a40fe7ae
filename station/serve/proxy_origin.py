"""The far side of one proxied request: dialled or found on this station, asked, heard until its answer's head is here.

Callbacks, as everything of the proxy. It ends in `ProxyConnection.relay` or `ProxyConnection.refuse`.
"""

import socket
from typing import TYPE_CHECKING

from lbproxy.poller import IN
from station.forward.answer import ESTABLISHED
from station.forward.outer import Outer
from station.forward.policy import Allowed, ToFiles
from station.forward.request import HEAD_BYTES_MAX, BadRequest, ProxyRequest
from station.forward.response import BadResponse, Response, parse_response
from station.http.proxy_header import TLV_LISTENER, Address, encode_v2
from station.serve.egress import Dial, EgressError

if TYPE_CHECKING:
    from station.serve.proxy_connection import ProxyConnection
    from station.serve.proxy_worker import ProxyWorker


class Origin:
    """Of one connection, from the decision until the relay has the socket."""

    __slots__ = ("_buffer", "_connection", "_dial", "_request", "_sock", "_worker")

    def __init__(
        self, worker: "ProxyWorker", connection: "ProxyConnection", request: ProxyRequest
    ) -> None:
        self._worker, self._connection, self._request = worker, connection, request
        self._buffer = b""  # of the answer's head
        self._dial: Dial | None = None
        self._sock: socket.socket | None = None

    def seek(self, decision: Allowed) -> None:
        """Dial the target, or the outer proxy where there is one."""
        worker, target = self._worker, self._request.target
        assert target is not None
        judge = None if decision.any_address else worker.rulings.policy.judge_address
        if worker.outer is not None:
            target, judge = worker.outer.target, None
        self._dial = Dial(worker.poller, worker.resolver, target, judge, self._dialled)
        self._dial.start()

    def seek_files(self, decision: ToFiles, here: Address) -> None:
        """Connect to our own files workers. `here`: the address that the client has reached."""
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        try:
            sock.connect(self._worker.files)
        except OSError:
            sock.close()
            self._connection.refuse(502, "the mirror on this station does not answer")
            return
        tlvs = {TLV_LISTENER: decision.listener.encode()}
        head = encode_v2(self._connection.source, here, tlvs)
        if self._request.is_connect:
            self._connection.relay(sock, to_client=ESTABLISHED, to_origin=head)
        else:
            self._pass_on(sock, preface=head)

    def drop(self) -> None:
        """Nobody wants it any more."""
        if self._dial is not None:
            self._dial.cancel()
        if self._sock is not None:
            self._worker.poller.closing(self._sock.fileno())
            self._sock.close()
            self._sock = None

    def on_event(self, events: int) -> None:
        sock = self._sock
        assert sock is not None
        try:
            data = sock.recv(HEAD_BYTES_MAX)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._connection.refuse(502, "target closed the connection")
            return
        self._buffer += data
        try:
            response = parse_response(self._buffer, self._worker.via)
            while response is not None and response.is_interim:
                self._buffer = self._buffer[response.size :]
                response = parse_response(self._buffer, self._worker.via)
        except BadResponse:
            self._connection.refuse(502, "target gave no proper answer")
            return
        if response is not None:
            self._answered(sock, response)

    def _dialled(self, result: socket.socket | EgressError) -> None:
        self._dial = None
        if isinstance(result, EgressError):
            self._connection.refuse(result.status, result.reason)
            return
        request, outer = self._request, self._worker.outer
        assert request.target is not None
        if outer is not None and request.is_connect:
            self._ask(result, outer.connect_head(request.target, self._worker.via))
        elif request.is_connect:
            self._connection.relay(result, to_client=ESTABLISHED)
        else:
            self._pass_on(result, outer=outer)

    def _pass_on(
        self, sock: socket.socket, *, preface: bytes = b"", outer: Outer | None = None
    ) -> None:
        """Ask for the same, in a GET or HEAD of our own."""
        authorization = outer.authorization if outer else ""
        try:
            head = self._request.onward(
                self._worker.via, absolute=outer is not None, authorization=authorization
            )
        except BadRequest as error:
            sock.close()
            self._connection.refuse(error.status, error.reason)
            return
        self._ask(sock, preface + head)

    def _ask(self, sock: socket.socket, head: bytes) -> None:
        """Send a head of at most some 17 KiB, which an empty socket buffer takes whole, and await the answer's."""
        self._sock = sock
        try:
            if sock.send(head) != len(head):
                raise BlockingIOError
        except OSError:
            self._connection.refuse(502, "target closed the connection")
            return
        self._worker.guard.watch(self._connection, self._worker.guard.limits.answer_s, "answer")
        self._worker.poller.register(sock.fileno(), IN, self)

    def _answered(self, sock: socket.socket, response: Response) -> None:
        self._worker.poller.unregister(sock.fileno())
        rest = self._buffer[response.size :]
        if not self._request.is_connect:
            self._connection.relay(
                sock, to_client=response.onward + rest, status=response.status, is_mute=True
            )
        elif 200 <= response.status < 300:
            self._connection.relay(sock, to_client=ESTABLISHED + rest)
        else:
            # Its 407 is ours to solve, not the client's.
            self._connection.refuse(502, "the outer proxy refused")
