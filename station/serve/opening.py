"""From accept to the first request: PROXY header where it is due, TLS handshake where it is due, under deadlines."""

import contextlib
import socket
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

from station.serve.connection import Connection
from station.serve.preface import Balancers, Preface
from station.serve.reader import RECEIVE_BYTES
from station.serve.reply import Client
from station.serve.shared import Shared, boot
from station.serve.tls import Certificate
from station.serve.wire import Wire

ACCEPTS_PER_EVENT = 64
_TLS_FIRST_BYTE = b"\x16"  # of a ClientHello; no HTTP method begins with it


@dataclass(frozen=True, slots=True)
class Listener:
    """One listening socket. kind: http, https or unix."""

    sock: socket.socket
    kind: str
    family: int
    accept: Callable[[], tuple[int, Any]]


def listener_of(sock: socket.socket, kind: str) -> Listener:
    """A listener on an inherited socket, which stays open as long as the process lives."""
    # What socket.accept itself calls; it adds three system calls and two look-ups that we need not have.
    accept: Callable[[], tuple[int, Any]] = cast(Any, sock)._accept
    return Listener(sock, kind, int(sock.family), accept)


class Acceptor:
    """Accepts on all listeners while the guard has room."""

    def __init__(
        self,
        shared: Shared,
        listeners: list[Listener],
        balancers: Balancers,
        certificate: Certificate | None,
    ) -> None:
        self._shared, self._listeners, self._balancers = shared, listeners, balancers
        self.certificate = certificate
        self._is_accepting = False
        shared.guard.on_room = self.start

    def start(self) -> None:
        """Accept from now on."""
        if not self._is_accepting and not self._shared.world.has_successor:
            self._is_accepting = True
            for listener in self._listeners:
                self._shared.loop.add_reader(listener.sock, self._accept, listener)

    def stop(self) -> None:
        """Leave new connections to the backlog."""
        if self._is_accepting:
            self._is_accepting = False
            for listener in self._listeners:
                self._shared.loop.remove_reader(listener.sock)

    def refuse(self) -> None:
        """No more connections to these ports, in any process: clients and balancers learn it at once."""
        self.stop()
        for listener in self._listeners:
            if listener.kind != "unix":  # that one serves the other workers too
                with contextlib.suppress(OSError):
                    listener.sock.shutdown(socket.SHUT_RDWR)

    def _accept(self, listener: Listener) -> None:
        guard = self._shared.guard
        for _ in range(ACCEPTS_PER_EVENT):
            if guard.is_full:
                self.stop()
                return
            try:
                fd, peer = listener.accept()
                sock = socket.socket(listener.family, socket.SOCK_STREAM, 0, fileno=fd)
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError:  # out of descriptors: the caps were set too high for this host
                self._shared.counters.hit("descriptors")
                self.stop()
                self._shared.loop.call_later(1.0, self.start)
                return
            sock.setblocking(False)
            if listener.kind == "http" and peer[0] not in self._balancers:
                self._open_plain(sock, peer)
            else:
                guard.enter()
                self._open(listener, sock, peer)

    def _open_plain(self, sock: socket.socket, peer: tuple[str, int]) -> None:
        """HTTP from a client itself. One that wants one known answer has it before we make a connection of it."""
        shared = self._shared
        memo = shared.memos["http"]
        data: bytes | None = None
        rest = memoryview(b"")
        try:
            data = sock.recv(RECEIVE_BYTES)
            answer = memo.last_answers.get(data)
            if answer is not None and boot() < memo.valid_until and shared.guard.has_room:
                sent = sock.send(answer)
                memo.hit(answer, sent)
                if sent == len(answer):
                    sock.close()
                    return
                rest = memoryview(answer)[sent:]
        except BlockingIOError:
            pass
        except OSError:
            sock.close()
            return
        shared.guard.enter()
        host, port = _host_and_port(peer)
        connection = Connection(shared, sock, Client(host, port, "http", "http"), host, memo)
        if rest:
            connection.finish(rest)
        else:
            connection.begin(data)

    def _open(self, listener: Listener, sock: socket.socket, peer: Any) -> None:
        host, port = ("", 0) if listener.kind == "unix" else _host_and_port(peer)
        is_proxied = listener.kind == "unix" or host in self._balancers
        Opening(self._shared, self, sock, listener.kind, (host, port), is_proxied)


class Opening(Wire):
    """A connection that has not yet come to its first request."""

    __slots__ = (
        "_acceptor", "_is_proxied", "_kind", "_listener", "_peer", "_preface", "_shared",
        "deadline", "limit", "slot",
    )  # fmt: skip

    def __init__(
        self,
        shared: Shared,
        acceptor: Acceptor,
        sock: socket.socket,
        kind: str,
        peer: tuple[str, int],
        is_proxied: bool,
    ) -> None:
        super().__init__(shared.loop, sock)
        self._shared, self._acceptor = shared, acceptor
        self._kind, self._peer, self._is_proxied = kind, peer, is_proxied
        self._listener = kind
        self.deadline, self.limit, self.slot = 0.0, "", 0
        self._preface = Preface()
        limits = shared.limits
        shared.guard.watch(self, limits.preface_s if is_proxied else limits.head_s, "head")
        if is_proxied:
            self.read_with(self._read_preface)
        else:
            self._begin()

    def expire(self, limit: str) -> None:
        """See guard.Guarded."""
        self._shared.counters.hit(limit)
        self._close()

    def _read_preface(self) -> None:
        try:
            header = self._preface.read(self._sock)
        except (BlockingIOError, InterruptedError):
            return
        except (ValueError, EOFError, OSError):
            self._shared.counters.add("proxy_header_refused")
            self._close()
            return
        if header is None:
            return
        if header.source is not None:
            self._peer = header.source
        if self._kind == "unix":
            self._listener = header.listener() or "unix"
        self._shared.guard.watch(self, self._shared.limits.head_s, "head")
        self._begin()

    def _begin(self) -> None:
        """The client's own first byte: on the unix listener it tells whether TLS is spoken."""
        is_tls = self._kind == "https"
        if self._kind == "unix":
            try:
                first = self._sock.recv(1, socket.MSG_PEEK)
            except (BlockingIOError, InterruptedError):
                self.read_with(self._begin)
                return
            except OSError:
                first = b""
            if not first:
                self._close()
                return
            is_tls = first == _TLS_FIRST_BYTE
        if is_tls:
            self._begin_tls()
        else:
            self._hand_over("http")

    def _begin_tls(self) -> None:
        self.pause_reading()
        certificate = self._acceptor.certificate
        if certificate is None:
            self._close()
            return
        try:
            self._sock = self._tls = certificate.context.wrap_socket(
                self._sock, server_side=True, do_handshake_on_connect=False
            )
        except OSError:
            self._close()
            return
        self._shared.guard.watch(self, self._shared.limits.handshake_s, "handshake")
        self._handshake()

    def _handshake(self) -> None:
        assert self._tls is not None
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            self.stop_writing()
            if not self._is_reading:
                self.read_with(self._handshake)
        except ssl.SSLWantWriteError:
            self.write_with(self._handshake)
        except OSError:
            self._shared.counters.add("tls_handshake_failed")
            self._close()
        else:
            self._hand_over("https")

    def _hand_over(self, scheme: str) -> None:
        self.pause_reading()
        self.stop_writing()
        self._fd = -1  # the connection's from now on
        self.deadline = 0.0
        client = Client(self._peer[0], self._peer[1], scheme, self._listener)
        memo = self._shared.memos["none" if self._kind == "unix" else scheme]
        address = None if self._is_proxied else self._peer[0]
        Connection(self._shared, self._sock, client, address, memo).readable()

    def _close(self) -> None:
        if self.is_open:
            self.deadline = 0.0
            self.release(is_reset=True)
            self._shared.guard.leave(None, was_admitted=False)


def _host_and_port(peer: tuple[str, int]) -> tuple[str, int]:
    host = peer[0]
    return host.removeprefix("::ffff:") if "." in host else host, peer[1]
