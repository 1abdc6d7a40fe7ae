"""The balancer at work: accept, pick, connect, relay. Health, drain file and limits around it are in `service`."""

import errno
import logging
import os
import socket
import struct
from typing import Protocol

from lbproxy.balancer import Balancer, Change, Verdict
from lbproxy.config import BackendConfig, Config, FrontEndConfig
from lbproxy.poller import IN, OUT, Poller
from lbproxy.proxy_header import proxy_header
from lbproxy.relay import Relay, Tunnel

_log = logging.getLogger("lbproxy")
_ACCEPTS_MAX = 64  # in one go; then others have their turn
_RESET = struct.pack("ii", 1, 0)
# What says something about the backend; a lack of local ports or descriptors says something about us.
_BACKEND_IS_SILENT = frozenset(
    (errno.ECONNREFUSED, errno.ECONNRESET, errno.EHOSTUNREACH, errno.ENETUNREACH, errno.ETIMEDOUT)
)


class Clients(Protocol):
    """The count of all clients, shared by the front ends."""

    connections: int

    def room(self) -> int:
        """How many more clients may come."""

    def rest(self) -> None:
        """Accept nobody for a moment."""


class Backend:
    """One backend as seen by one front end: where to connect, and its tunnels."""

    def __init__(self, front_end: "FrontEnd", config: BackendConfig) -> None:
        self.name = config.name
        self.address = config.address, config.ports[front_end.config.name]
        self.family = socket.AF_INET6 if ":" in config.address else socket.AF_INET
        self.tunnels: set[Tunnel] = set()
        self.bytes_in = self.bytes_out = 0
        self._front_end = front_end

    def ended(self, tunnel: Tunnel) -> None:
        """A tunnel to this backend has closed."""
        self.tunnels.discard(tunnel)
        self.bytes_in += tunnel.bytes_from_a
        self.bytes_out += tunnel.bytes_from_b
        self._front_end.balancer.release(self.name)
        self._front_end.clients.connections -= 1

    def cut(self) -> None:
        """Close all tunnels: the backend is dead and would let its clients wait."""
        for tunnel in list(self.tunnels):
            tunnel.close("backend is dead")


class Attempt:
    """A client that has no backend yet. Nothing of it is read until it has one."""

    __slots__ = ("_backend", "_client", "_front_end", "_server", "_source", "_tried", "deadline")

    def __init__(
        self, front_end: "FrontEnd", client: socket.socket, source: tuple[str, int]
    ) -> None:
        self._front_end, self._client, self._source = front_end, client, source
        self._tried: list[str] = []

    def next(self) -> None:
        """Try the next backend; close the client when there is none left."""
        front_end = self._front_end
        while True:
            name = front_end.balancer.pick(self._source[0], self._tried)
            if name is None:
                front_end.refuse(self._client)
                return
            self._tried.append(name)
            self._backend = front_end.backends[name]
            try:
                self._server = socket.socket(
                    self._backend.family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK
                )
            except OSError as error:
                front_end.connect_failed(self._backend, error.errno or 0)
                continue
            self._server.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            code = self._server.connect_ex(self._backend.address)
            if code == errno.EINPROGRESS:
                code = self._server.connect_ex(self._backend.address)  # near ones are there by now
            if code in (0, errno.EISCONN):
                self._connected()
                return
            if code == errno.EALREADY:
                loop = front_end.poller.loop
                self.deadline = loop.time() + front_end.connect_timeout_s
                front_end.attempts[self] = None
                front_end.poller.register(self._server.fileno(), OUT, self)
                return
            self._failed(code)

    def on_event(self, events: int) -> None:
        code = self._server.connect_ex(self._backend.address)  # again: the only sure way to learn
        if code in (errno.EALREADY, errno.EINPROGRESS):
            return
        del self._front_end.attempts[self]
        if code in (0, errno.EISCONN):
            self._front_end.poller.unregister(self._server.fileno())
            self._connected()
            return
        self._front_end.poller.closing(self._server.fileno())
        self._failed(code)
        self.next()

    def expire(self) -> None:
        """The deadline of this connection has passed."""
        del self._front_end.attempts[self]
        self._front_end.poller.closing(self._server.fileno())
        self._failed(errno.ETIMEDOUT)
        self.next()

    def drop(self) -> None:
        """Give up: the balancer ends."""
        self._front_end.poller.closing(self._server.fileno())
        self._server.close()
        self._front_end.refuse(self._client)

    def _failed(self, code: int) -> None:
        self._server.close()
        self._front_end.connect_failed(self._backend, code)

    def _connected(self) -> None:
        front_end, backend = self._front_end, self._backend
        head = b""
        if front_end.config.send_proxy:
            head = proxy_header(self._source, self._client.getsockname()[:2])
        tunnel = front_end.relay.start(
            self._client, self._server, to_b=head, on_close=backend.ended
        )
        if not tunnel.is_closed:
            backend.tunnels.add(tunnel)


class FrontEnd:
    """One listening port with its balancer."""

    def __init__(
        self,
        config: FrontEndConfig,
        whole: Config,
        poller: Poller,
        relay: Relay,
        clients: Clients,
        listener: socket.socket,
    ) -> None:
        self.config, self.poller, self.relay, self.clients = config, poller, relay, clients
        self.connect_timeout_s = whole.connect_timeout_s
        names = [b.name for b in whole.backends]
        self.balancer = Balancer(
            names, config.policy, rise=whole.health.rise, fall=whole.health.fall
        )
        self.backends = {b.name: Backend(self, b) for b in whole.backends}
        self.attempts: dict[Attempt, None] = {}  # in the order of their deadlines
        self.refused = 0
        self.listener = listener
        self._is_accepting = False

    def accept(self, wanted: bool) -> None:
        """Accept clients, or leave them in the listener's queue."""
        if wanted != self._is_accepting:
            self._is_accepting = wanted
            if wanted:
                self.poller.register(self.listener.fileno(), IN, self)
            else:
                self.poller.unregister(self.listener.fileno())

    def on_event(self, events: int) -> None:
        for _ in range(min(_ACCEPTS_MAX, self.clients.room())):
            try:
                client, source = self.listener.accept()
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno in (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM):
                    self.clients.rest()
                    return
                continue  # the client is gone already
            client.setblocking(False)
            self.clients.connections += 1
            Attempt(self, client, source[:2]).next()
        if not self.clients.room():
            self.clients.rest()

    def expire(self, now: float) -> None:
        """Give up on connections whose deadline has passed."""
        for attempt in list(self.attempts):
            if attempt.deadline > now:
                return
            attempt.expire()

    def refuse(self, client: socket.socket) -> None:
        """No backend: the client learns it at once."""
        self.refused += 1
        self.clients.connections -= 1
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        client.close()

    def connect_failed(self, backend: Backend, code: int) -> None:
        """A client's connection failed: where the backend is to blame, as good as a failed check."""
        self.balancer.release(backend.name)
        if code in _BACKEND_IS_SILENT:
            self.reported(backend, Verdict.SILENT, os.strerror(code))

    def reported(self, backend: Backend, verdict: Verdict, detail: str) -> None:
        """A check has ended."""
        change = self.balancer.report(backend.name, verdict, self.poller.loop.time(), detail)
        if change is not Change.NONE:
            _log.warning("%s %s is %s: %s", self.config.name, backend.name, change.value, detail)
        if change is Change.DEAD:
            backend.cut()

    def status(self) -> dict[str, object]:
        """For the status page."""
        shown = "name state connections total transitions detail".split()
        backends = [
            {key: getattr(state, key) for key in shown}
            | {"bytes_in": backend.bytes_in, "bytes_out": backend.bytes_out}
            for state, backend in zip(self.balancer.states, self.backends.values(), strict=True)
        ]
        listen = self.config.listen
        return {
            "name": self.config.name, "listen": listen, "refused": self.refused, "backends": backends,
        }  # fmt: skip

    def close(self) -> None:
        """Accept no more, for good, and drop who has no backend yet."""
        self.accept(False)
        self.listener.close()
        for attempt in list(self.attempts):
            attempt.drop()
        self.attempts.clear()
