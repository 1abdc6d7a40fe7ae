"""The balancer at work: accept, pick, connect, relay. Health, drain file and limits around it are in `service`."""

import asyncio
import errno
import logging
import os
import socket
import struct
from collections.abc import Callable

from lbproxy.balancer import REFUSED, BackendState, Balancer, Verdict
from lbproxy.config import BackendConfig, Config, FrontEndConfig
from lbproxy.poller import IN, OUT
from lbproxy.proxy_header import Address, proxy_header
from lbproxy.relay import Relay, Tunnel

_log = logging.getLogger("lbproxy")
_STREAM = socket.SOCK_STREAM | socket.SOCK_NONBLOCK
_BACKLOG = 4096
_ACCEPTS_MAX = 64  # in one go; then others have their turn
# A client that vanished is found within two minutes. Accepted sockets inherit these.
_INHERITED = (
    (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1), (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 60), (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 15),
    (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 4),
)  # fmt: skip
_RESET = struct.pack("ii", 1, 0)
# What says something about the backend; a lack of local ports or descriptors says something about us.
_BACKEND_IS_SILENT = frozenset(
    (errno.ECONNREFUSED, errno.ECONNRESET, errno.EHOSTUNREACH, errno.ENETUNREACH, errno.ETIMEDOUT)
)


class Backend(BackendState):
    """One backend of one front end: where to connect, its tunnels, the bytes of those that are gone."""

    def __init__(self, config: BackendConfig, front_end: str) -> None:
        super().__init__(config.name)
        self.address = config.address, config.ports[front_end]
        self.family = socket.AF_INET6 if ":" in config.address else socket.AF_INET
        self.tunnels: set[Tunnel] = set()
        self.bytes_in = self.bytes_out = 0

    def ended(self, tunnel: Tunnel) -> None:
        """A tunnel to this backend has closed."""
        self.tunnels.discard(tunnel)
        self.bytes_in += tunnel.a.count
        self.bytes_out += tunnel.b.count
        self.connections -= 1


class Attempt:
    """A client that has no backend yet. Nothing of it is read until it has one."""

    _backend: Backend
    _server: socket.socket
    _timer: asyncio.TimerHandle

    def __init__(self, front_end: "FrontEnd", client: socket.socket, source: Address) -> None:
        self._front_end, self._client, self._source = front_end, client, source
        self._tried: list[Backend] = []

    def next(self) -> None:
        """Try the next backend; close the client when there is none left."""
        front_end = self._front_end
        while (backend := front_end.balancer.pick(self._source[0], self._tried)) is not None:
            self._backend = backend
            self._tried.append(backend)
            try:
                self._server = socket.socket(backend.family, _STREAM)
            except OSError as error:
                front_end.connect_failed(backend, error.errno or 0)
                continue
            self._server.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            code = self._connect()
            if code == 0:
                self._connected()
                return
            if code == errno.EALREADY:
                later = front_end.poller.loop.call_later
                self._timer = later(front_end.connect_timeout_s, self._settle, errno.ETIMEDOUT)
                front_end.attempts.add(self)
                front_end.poller.register(self._server.fileno(), OUT, self)
                return
            self._server.close()
            front_end.connect_failed(backend, code)
        front_end.refuse(self._client)

    def on_event(self, events: int) -> None:
        code = self._connect()  # again: the only sure way to learn
        if code != errno.EALREADY:
            self._settle(code)

    def _settle(self, code: int) -> None:
        """The connection under way has ended with `code`, 0 for a good one."""
        front_end = self._front_end
        front_end.attempts.remove(self)
        self._timer.cancel()
        if code == 0:
            front_end.poller.unregister(self._server.fileno())
            self._connected()
        else:
            self._close_server()
            front_end.connect_failed(self._backend, code)
            self.next()

    def drop(self) -> None:
        """Give up: the balancer ends."""
        self._timer.cancel()
        self._close_server()
        self._front_end.refuse(self._client)

    def _connect(self) -> int:
        code = self._server.connect_ex(self._backend.address)
        if code == errno.EINPROGRESS:
            code = self._server.connect_ex(self._backend.address)  # near ones are there by now
        return 0 if code == errno.EISCONN else code

    def _close_server(self) -> None:
        self._front_end.poller.closing(self._server.fileno())
        self._server.close()

    def _connected(self) -> None:
        front_end, backend = self._front_end, self._backend
        head, client = b"", self._client
        if front_end.config.send_proxy:
            head = proxy_header(self._source, client.getsockname()[:2])
        tunnel = front_end.relay.start(client, self._server, to_b=head, on_close=backend.ended)
        if not tunnel.close_reason:
            backend.tunnels.add(tunnel)


class FrontEnd:
    """One listening port with its balancer. Raises OSError where the port cannot be had."""

    def __init__(
        self, config: FrontEndConfig, whole: Config, relay: Relay, room: Callable[[], int]
    ) -> None:
        self.config, self.relay, self.poller, self._room = config, relay, relay.poller, room
        self.connect_timeout_s = whole.connect_timeout_s
        self.backends = [Backend(each, config.name) for each in whole.backends]
        health = whole.health
        self.balancer = Balancer(self.backends, config.policy, rise=health.rise, fall=health.fall)
        self.attempts: set[Attempt] = set()
        self.refused = 0
        self._is_accepting = False
        family = socket.AF_INET6 if ":" in config.listen[0] else socket.AF_INET
        self.listener = socket.create_server(
            config.listen, family=family, backlog=_BACKLOG, dualstack_ipv6=family == socket.AF_INET6
        )
        self.listener.setblocking(False)
        for level, option, value in _INHERITED:
            self.listener.setsockopt(level, option, value)

    def accept(self, wanted: bool) -> None:
        """Accept clients, or leave them in the listener's queue."""
        if wanted != self._is_accepting:
            self._is_accepting = wanted
            if wanted:
                self.poller.register(self.listener.fileno(), IN, self)
            else:
                self.poller.unregister(self.listener.fileno())

    def on_event(self, events: int) -> None:
        for _ in range(min(_ACCEPTS_MAX, self._room())):
            try:
                client, source = self.listener.accept()
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno in (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM):
                    self.accept(False)
                    return
                continue  # the client is gone already
            client.setblocking(False)
            Attempt(self, client, source[:2]).next()
        if not self._room():
            self.accept(False)

    def refuse(self, client: socket.socket) -> None:
        """No backend: the client learns it at once."""
        self.refused += 1
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        client.close()

    def connect_failed(self, backend: Backend, code: int) -> None:
        """A client's connection failed: where the backend is to blame, as good as a failed check."""
        backend.connections -= 1
        if code in _BACKEND_IS_SILENT:
            self.reported(backend, Verdict.SILENT, os.strerror(code))

    def reported(self, backend: Backend, verdict: Verdict, detail: str) -> None:
        """A check has ended."""
        change = self.balancer.report(backend, verdict, self.poller.loop.time(), detail)
        if change:
            _log.warning("%s %s is %s: %s", self.config.name, backend.name, change, detail)
        if change == "dead" and detail != REFUSED:  # silence lets its clients wait
            for tunnel in list(backend.tunnels):
                tunnel.close("backend is dead")

    def close(self) -> None:
        """Accept no more, for good, and drop who has no backend yet."""
        self.accept(False)
        self.listener.close()
        while self.attempts:
            self.attempts.pop().drop()
