"""The proxy worker: one process that is the forward proxy of a station.

The rules come from the settings until control has sent a snapshot, from the snapshot after that.
"""

import asyncio
import contextlib
import errno
import hashlib
import socket
import sys
from typing import Any

from lbproxy.poller import IN, Poller
from lbproxy.relay import Relay
from station.forward.outer import parse_outer
from station.forward.policy import Policy
from station.runtime.clock import system_clock
from station.runtime.lines import line
from station.serve.egress import KEEPALIVE, Resolver
from station.serve.feed import Feed
from station.serve.guard import Guard
from station.serve.limits import Counters, Limits
from station.serve.pacing import TUNNEL_STEP_BYTES, is_paced
from station.serve.preface import Balancers
from station.serve.proxy_connection import ProxyConnection
from station.serve.proxy_log import ProxyLog
from station.serve.rulings import Rulings, policy_of
from station.serve.tunnels import WAITING_MAX, Tunnels
from station.serve.worker import Worker, inherited, run
from station.serve.world import DRAINING, World

_ACCEPTS_MAX = 64
_DRAIN_CHECK_S = 0.1
_REST_S = 1.0  # without descriptors


class Listener:
    """One listening socket."""

    def __init__(self, worker: "ProxyWorker", sock: socket.socket) -> None:
        self._worker, self.sock = worker, sock
        self._is_accepting = False

    def accept(self, wanted: bool) -> None:
        """Accept, or leave clients to the backlog."""
        if wanted != self._is_accepting:
            self._is_accepting = wanted
            if wanted:
                self._worker.poller.register(self.sock.fileno(), IN, self)
            else:
                self._worker.poller.unregister(self.sock.fileno())

    def on_event(self, events: int) -> None:
        for _ in range(_ACCEPTS_MAX):
            try:
                sock, source = self.sock.accept()
            except OSError as error:
                if error.errno in (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM):
                    self._worker.rest()
                return
            sock.setblocking(False)
            self._worker.accepted(sock, source[:2])
            if not self._is_accepting:
                return

    def refuse(self) -> None:
        """No more connections to this port, in any process: clients and balancers learn it at once."""
        self.accept(False)
        with contextlib.suppress(OSError):
            self.sock.shutdown(socket.SHUT_RDWR)


class ProxyWorker(Worker):
    """See Worker."""

    def __init__(self, settings: dict[str, Any], loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(settings, loop)
        self.counters = Counters()
        limits = Limits.from_settings(settings.get("limits") or {})
        self.guard = Guard(limits, self.counters)
        self.poller = Poller(loop)
        self.relay = Relay(self.poller)
        self.resolver = Resolver(loop)
        self.files = str(settings["files"])
        # Our mark in Via: equal in all workers of a station, and telling strangers nothing.
        self.via = "station-" + hashlib.blake2b(self.files.encode(), digest_size=6).hexdigest()
        self.outer = parse_outer(settings.get("forward") or "")
        self.connections: set[ProxyConnection] = set()
        self._drain_s = limits.drain_s
        self.tunnels = Tunnels(limits, self.counters)
        logs_access = bool(settings.get("access_log", True))
        self.log = ProxyLog(loop, self.counters, logs_access=logs_access)
        self._balancers = Balancers(settings.get("balancers") or ())
        self._world = World(limits.stale_s)
        self._feed = Feed(
            settings["feed"],
            settings["name"],
            self._world,
            clock=system_clock(),
            counters=self._all_counters,
            in_flight=lambda: self.tunnels.count,
            stats=self.counters,
        )
        self._feed.on_change = self._rules_changed
        self._feed.on_stop = self.drain
        policy = Policy.build(hosts=settings["hosts"], destinations=settings["destinations"])
        self.rulings = Rulings(policy, self.via)
        self._listeners = [
            Listener(self, _listening_socket(int(each["fd"]))) for each in settings["listeners"]
        ]
        if any(is_paced(listener.sock) for listener in self._listeners):
            self.relay.step_bytes = TUNNEL_STEP_BYTES

    def start(self) -> None:
        """Begin to accept."""
        self._feed.attach(self.loop)
        self.guard.attach(self.loop)
        self._accept(True)
        self.on_ready()

    def drain(self) -> None:
        """See Worker. A second call ends at once."""
        if self._world.is_draining:
            self._finish()
            return
        line("info", "worker.draining", connections=len(self.connections))
        self._world.drain()
        self._accept(True)
        for connection in list(self.connections):
            if connection.is_idle:
                connection.close()
        self.loop.call_later(self._drain_s, self._finish)
        self._check_drained()

    terminate = drain

    def close(self) -> None:
        """See Worker."""
        if self._world.is_draining and not self._world.has_successor:
            for listener in self._listeners:
                listener.refuse()
        for connection in list(self.connections):
            connection.close()
        self.relay.close()
        self.resolver.close()
        self._feed.close()
        self.poller.close()

    def accepted(self, sock: socket.socket, source: tuple[str, int]) -> None:
        """A new client. One outside the ranges is closed before a byte of it is read."""
        is_balancer = source[0] in self._balancers
        if not is_balancer and not self.rulings.may_ask(source[0]):
            self.log.barred(source[0])
            sock.close()
            return
        connection = ProxyConnection(self, sock, source, is_balancer=is_balancer)
        self.connections.add(connection)
        connection.start()
        if self._is_full():
            self._accept(False)

    def rest(self) -> None:
        """Out of descriptors: accept nobody for a while."""
        self.counters.hit("descriptors")
        self._accept(False)
        self.loop.call_later(_REST_S, self._accept, True)

    def left(self, connection: ProxyConnection, *, was_counted: bool) -> None:
        """A connection is closed; `was_counted` among the tunnels."""
        self.connections.discard(connection)
        if was_counted:
            self.tunnels.leave(connection.source[0])
        self._accept(True)

    def health(self, path: bytes) -> tuple[int, str]:
        """Status and text for /health/live and /health/ready.

        The proxy needs no storage: it is ready while the station is not, unless the station is about to stop.
        """
        if path == b"/health/live":
            return 200, "alive"
        if self._world.is_leaving:
            return 404, DRAINING  # what HAProxy's disable-on-404 is for
        if not self._world.has_snapshot:
            return 503, "no word from control yet"
        return 200, "ready"

    def _is_full(self) -> bool:
        return len(self.connections) >= self.tunnels.count_max + WAITING_MAX

    def _accept(self, wanted: bool) -> None:
        wanted = wanted and not self._world.has_successor and not self._is_full()
        for listener in self._listeners:
            listener.accept(wanted)

    def _rules_changed(self) -> None:
        """Take the rules of the newest snapshot; tunnels of clients that are barred by them end."""
        try:
            policy = policy_of(self._world.snapshot, self._settings)
        except ValueError as error:
            line("error", "proxy.rules_refused", error=str(error))
            return
        self.rulings = Rulings(policy, self.via)
        for connection in list(self.connections):
            if connection.tunnel is not None and not self.rulings.may_ask(connection.source[0]):
                self.counters.add("proxy_barred")
                connection.close()

    def _check_drained(self) -> None:
        if not self.connections:
            self._finish()
        else:
            self.loop.call_later(_DRAIN_CHECK_S, self._check_drained)

    def _all_counters(self) -> dict[str, int]:
        return self.counters.all() | {
            "connections": len(self.connections),
            "tunnels": self.tunnels.count,
        }


def _listening_socket(descriptor: int) -> socket.socket:
    """Clients of a tunnel may be silent for long: the kernel asks whether they are still there."""
    sock = inherited(descriptor)
    for option, value in KEEPALIVE:
        sock.setsockopt(socket.IPPROTO_TCP, option, value)
    return sock


if __name__ == "__main__":
    sys.exit(run(ProxyWorker))
