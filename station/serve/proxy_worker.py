"""The proxy worker: one process that is the forward proxy of a station.

Started by the supervisor with its settings as JSON in STATION_SETTINGS; inherits its listening sockets. The rules come
from the settings until control has sent a snapshot, from the snapshot after that.
"""

import asyncio
import contextlib
import errno
import gc
import hashlib
import json
import os
import resource
import signal
import socket
import sys
from collections.abc import Iterable
from typing import Any

from lbproxy.poller import IN, Poller
from lbproxy.relay import PIPES_MAX, Relay, Tunnel
from station.forward.outer import parse_outer
from station.forward.policy import Policy, parse_rules
from station.runtime.clock import system_clock
from station.runtime.leash import READY, Leash
from station.runtime.lines import line, set_process
from station.serve.egress import Resolver
from station.serve.feed import Feed
from station.serve.guard import Guard
from station.serve.limits import Counters, Limits
from station.serve.preface import Balancers
from station.serve.proxy_connection import ProxyConnection
from station.serve.rulings import Rulings
from station.serve.world import DRAINING, World

WAITING_MAX = (
    1000  # connections beyond the tunnels whose head is still read, so that health is answered
)
_DESCRIPTORS_RESERVED = 64 + 2 * PIPES_MAX
_ACCEPTS_MAX = 64
_REFUSALS_LOGGED_PER_S = 1
_DRAIN_CHECK_S = 0.1
_REST_S = 1.0  # without descriptors


class Listener:
    """One listening socket."""

    def __init__(self, worker: "ProxyWorker", sock: socket.socket) -> None:
        self._worker, self._sock = worker, sock
        self._is_accepting = False

    def accept(self, wanted: bool) -> None:
        """Accept, or leave clients to the backlog."""
        if wanted != self._is_accepting:
            self._is_accepting = wanted
            if wanted:
                self._worker.poller.register(self._sock.fileno(), IN, self)
            else:
                self._worker.poller.unregister(self._sock.fileno())

    def on_event(self, events: int) -> None:
        for _ in range(_ACCEPTS_MAX):
            try:
                sock, source = self._sock.accept()
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
            self._sock.shutdown(socket.SHUT_RDWR)


class ProxyWorker:
    """The composition of one worker. Settings as the supervisor writes them."""

    def __init__(self, settings: dict[str, Any], loop: asyncio.AbstractEventLoop) -> None:
        """Raises KeyError, ValueError for bad settings, OSError for a bad descriptor."""
        self._loop, self._settings = loop, settings
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
        self.ended = loop.create_future()
        self._drain_s = limits.drain_s
        self._tunnels = 0
        self._tunnels_by_client: dict[str, int] = {}
        self._tunnels_max = tunnels_possible(limits.tunnels)
        self._per_client_max = limits.tunnels_per_client
        self._logs_access = bool(settings.get("access_log", True))
        self._refusals_logged, self._refusals_logged_at = 0, 0.0
        self._balancers = Balancers(settings.get("balancers") or ())
        self._world = World(limits.stale_s)
        self._feed = Feed(
            settings["feed"],
            settings["name"],
            self._world,
            clock=system_clock(),
            counters=self._all_counters,
            in_flight=lambda: self._tunnels,
            stats=self.counters,
        )
        self._feed.on_change = self._rules_changed
        self._feed.on_stop = self.drain
        policy = Policy.build(hosts=settings["hosts"], destinations=settings["destinations"])
        self.rulings = Rulings(policy, self.via)
        self._listeners = [Listener(self, _inherited(each["fd"])) for each in settings["listeners"]]

    def start(self) -> None:
        """Begin to accept."""
        self._feed.attach(self._loop)
        self.guard.attach(self._loop)
        self._accept(True)

    def drain(self) -> None:
        """Leave new clients to the successor, if there is one; let tunnels end within drain_s, then end.

        A second call ends at once.
        """
        if self._world.is_draining:
            self._finish()
            return
        line("info", "worker.draining", connections=len(self.connections))
        self._world.drain()
        self._accept(True)
        for connection in list(self.connections):
            if connection.is_idle:
                connection.close()
        self._loop.call_later(self._drain_s, self._finish)
        self._check_drained()

    def close(self) -> None:
        """Give everything back."""
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
            self.counters.add("proxy_barred")
            self._log_refusal(client=source[0], status=403, reason="not in proxy.hosts")
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
        self._loop.call_later(_REST_S, self._accept, True)

    def admit(self, client: str) -> tuple[int, str] | None:
        """Count a tunnel of this client, or say with which status and reason not."""
        count = self._tunnels_by_client.get(client, 0)
        if count >= self._per_client_max:
            self.counters.hit("tunnels_per_client")
            return 429, "too many tunnels from your address"
        if self._tunnels >= self._tunnels_max:
            self.counters.hit("tunnels")
            return 503, "too many tunnels"
        self._tunnels += 1
        self._tunnels_by_client[client] = count + 1
        return None

    def left(self, connection: ProxyConnection, *, was_counted: bool) -> None:
        """A connection is closed; `was_counted` by `admit`."""
        self.connections.discard(connection)
        if was_counted:
            client = connection.source[0]
            self._tunnels -= 1
            count = self._tunnels_by_client[client] - 1
            if count:
                self._tunnels_by_client[client] = count
            else:
                del self._tunnels_by_client[client]
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

    def log(
        self, connection: ProxyConnection, status: int, tunnel: Tunnel | None, reason: str = ""
    ) -> None:
        """One request has ended. Never headers, which may hold credentials."""
        request = connection.request
        target = str(request.target) if request is not None and request.target else ""
        self.counters.add(f"proxy_status_{status}")
        if tunnel is None:
            self._log_refusal(
                client=connection.source[0], target=target, status=status, reason=reason
            )
            return
        up = connection.given[0] + tunnel.a.count
        down = connection.given[1] + tunnel.b.count
        self.counters.add("proxy_bytes_up", up)
        self.counters.add("proxy_bytes_down", down)
        if self._logs_access and request is not None:
            line(
                "info",
                "proxy.access",
                client=connection.source[0],
                method=request.method,
                target=target,
                status=status,
                bytes_up=up,
                bytes_down=down,
                end=tunnel.close_reason,
            )

    def _log_refusal(self, **fields: object) -> None:
        """At most one line a second: refusals cost a client nothing."""
        now = self._loop.time()
        if now - self._refusals_logged_at >= 1 / _REFUSALS_LOGGED_PER_S:
            line("warning", "proxy.refused", **fields, not_logged=self._refusals_logged)
            self._refusals_logged, self._refusals_logged_at = 0, now
        else:
            self._refusals_logged += 1

    def _is_full(self) -> bool:
        return len(self.connections) >= self._tunnels_max + WAITING_MAX

    def _accept(self, wanted: bool) -> None:
        wanted = wanted and not self._world.has_successor and not self._is_full()
        for listener in self._listeners:
            listener.accept(wanted)

    def _rules_changed(self) -> None:
        """Take the rules of the newest snapshot; tunnels of clients that are barred by them end."""
        snapshot, further = self._world.snapshot, self._settings.get("further", {})
        addresses = (member.address for member in snapshot.members)
        try:
            policy = Policy.build(
                hosts=snapshot.proxy_hosts or self._settings["hosts"],
                destinations=_valid(snapshot.proxy_destinations or self._settings["destinations"]),
                own_hosts=(snapshot.hostname, *snapshot.former_hostnames, *addresses),
                ports_http=(snapshot.port_http, *further.get("http", ())),
                ports_https=(snapshot.port_https, *further.get("https", ())),
            )
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
            self._loop.call_later(_DRAIN_CHECK_S, self._check_drained)

    def _finish(self) -> None:
        if not self.ended.done():
            self.ended.set_result(None)

    def _all_counters(self) -> dict[str, int]:
        return self.counters.all() | {
            "connections": len(self.connections),
            "tunnels": self._tunnels,
        }


def tunnels_possible(wanted: int) -> int:
    """How many tunnels the limit of descriptors allows, two for each; raises the soft limit as far as it goes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    need = _DESCRIPTORS_RESERVED + WAITING_MAX + 2 * wanted
    if soft < need:
        soft = need if hard == resource.RLIM_INFINITY else min(need, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return min(wanted, max(8, (soft - _DESCRIPTORS_RESERVED - WAITING_MAX) // 2))


def _valid(destinations: Iterable[str]) -> list[str]:
    """Without the rules that are none: one upstream with a strange name must not stop all others."""
    found = []
    for text in destinations:
        try:
            parse_rules([text.removeprefix("!")])
        except ValueError as error:
            line("error", "proxy.rule_refused", error=str(error))
        else:
            found.append(text)
    return found


def _inherited(descriptor: int) -> socket.socket:
    """The listening socket, with what accepted connections inherit from it."""
    sock = socket.socket(fileno=int(descriptor))
    sock.setblocking(False)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in (
        (socket.TCP_KEEPIDLE, 60),
        (socket.TCP_KEEPINTVL, 15),
        (socket.TCP_KEEPCNT, 4),
    ):
        sock.setsockopt(socket.IPPROTO_TCP, option, value)
    return sock


async def run(settings: dict[str, Any]) -> None:
    """Serve until told to stop."""
    loop = asyncio.get_running_loop()
    worker = ProxyWorker(settings, loop)
    leash = Leash.from_environment(worker.drain)
    if leash is not None:
        leash.attach(loop)
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, worker.drain)
    worker.start()
    if leash is not None:
        leash.report(READY)
    gc.collect()
    gc.freeze()
    line("info", "worker.started")
    await worker.ended
    worker.close()
    line("info", "worker.ended")


def main() -> int:
    """Entry point: settings from the environment, exit status as the return value."""
    settings = json.loads(os.environ["STATION_SETTINGS"])
    set_process(settings["name"])
    try:
        asyncio.run(run(settings))
    except (KeyError, ValueError, OSError) as error:
        line("error", "worker.cannot_start", error=repr(error))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
