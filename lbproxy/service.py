"""The balancer as a process: front ends, health checks, the drain file, caps, the status page and a soft end."""

import asyncio
import json
import logging
import resource
import socket
from functools import partial
from pathlib import Path

from lbproxy.config import Config, FrontEndConfig
from lbproxy.health import unverified, watch
from lbproxy.poller import Poller
from lbproxy.relay import PIPES_MAX, Relay
from lbproxy.server import FrontEnd

_log = logging.getLogger("lbproxy")
_BACKLOG = 4096
_TICK_S = 0.1  # granularity of connect deadlines, and how long a full balancer rests
_DRAIN_FILE_EVERY_S = 1.0
_DESCRIPTORS_RESERVED = 128 + 2 * PIPES_MAX  # listeners, checks, status page, pipes
# A client that vanished is found within two minutes. Accepted sockets inherit these.
_KEEPALIVE = ((socket.TCP_KEEPIDLE, 60), (socket.TCP_KEEPINTVL, 15), (socket.TCP_KEEPCNT, 4))


def listen(address: tuple[str, int]) -> socket.socket:
    """A listening socket for a front end. Raises OSError."""
    family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for option, value in _KEEPALIVE:
            sock.setsockopt(socket.IPPROTO_TCP, option, value)
        sock.bind(address)
        sock.listen(_BACKLOG)
    except BaseException:
        sock.close()
        raise
    return sock


def connections_possible(wanted: int) -> int:
    """How many clients the limit of descriptors allows, two for each; raises the soft limit as far as it goes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    need = _DESCRIPTORS_RESERVED + 2 * wanted
    if soft < need:
        soft = need if hard == resource.RLIM_INFINITY else min(need, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return max(1, min(wanted, (soft - _DESCRIPTORS_RESERVED) // 2))


class Service:
    """Everything that runs. `start` raises OSError where a port cannot be had."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.connections = 0
        self.front_ends: list[FrontEnd] = []
        self._max = connections_possible(config.max_connections)
        self._tasks: list[asyncio.Task[None]] = []
        self._rests_until = 0.0
        self._status: asyncio.Server | None = None

    async def start(self) -> None:
        """Listen, check, serve."""
        config = self.config
        self._loop = asyncio.get_running_loop()
        self._poller = Poller(self._loop)
        self._relay = Relay(self._poller, idle_s=config.idle_s, life_s=config.life_s)
        for front in config.front_ends:
            front_end = FrontEnd(
                front, config, self._poller, self._relay, self, listen(front.listen)
            )
            self.front_ends.append(front_end)
            self._watch(front, front_end)
        if config.status:
            self._status = await asyncio.start_server(self._page, *config.status, limit=4096)
        self._tasks += [asyncio.create_task(self._tick()), asyncio.create_task(self._drain_file())]

    async def close(self, drain_s: float = 0.0) -> None:
        """Accept no more, let connections end for `drain_s`, then close them."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for front_end in self.front_ends:
            front_end.close()
        for _ in range(round(drain_s / _TICK_S)):
            if not self._relay.tunnels:
                break
            await asyncio.sleep(_TICK_S)
        self._relay.close()
        self._poller.close()
        if self._status:
            self._status.close()

    def room(self) -> int:
        return max(0, self._max - self.connections)

    def rest(self) -> None:
        self._rests_until = self._loop.time() + _TICK_S
        for front_end in self.front_ends:
            front_end.accept(False)

    def _watch(self, front: FrontEndConfig, front_end: FrontEnd) -> None:
        tls = unverified() if front.name == "https" else None
        for backend in front_end.backends.values():
            report = partial(front_end.reported, backend)
            checking = watch(backend.address, self.config.health, tls, front.send_proxy, report)
            self._tasks.append(asyncio.create_task(checking))

    async def _tick(self) -> None:
        while True:
            now = self._loop.time()
            for front_end in self.front_ends:
                front_end.expire(now)
                if now >= self._rests_until and self.room():
                    front_end.accept(True)
            await asyncio.sleep(_TICK_S)

    async def _drain_file(self) -> None:
        while self.config.drain_file:
            self.drain(read_names(Path(self.config.drain_file)))
            await asyncio.sleep(_DRAIN_FILE_EVERY_S)

    def drain(self, names: frozenset[str]) -> None:
        """Exactly these backends get no new connections from now on."""
        for front_end in self.front_ends:
            front_end.balancer.drain(names)

    async def _page(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(2):
                head = await reader.readuntil(b"\r\n\r\n")
            is_json = head.startswith(b"GET /status.json ")
            body = json.dumps(self.status(), indent=1) if is_json else self.table()
            kind = "application/json" if is_json else "text/plain; charset=utf-8"
            writer.write(
                f"HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nCache-Control: no-store\r\n"
                f"Connection: close\r\n\r\n{body}\n".encode()
            )
            async with asyncio.timeout(2):
                await writer.drain()
        except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass  # TimeoutError is an OSError
        finally:
            writer.close()

    def status(self) -> dict[str, object]:
        """What the status page shows: front ends with their backends."""
        return {
            "connections": self.connections,
            "connections_max": self._max,
            "frontends": [front_end.status() for front_end in self.front_ends],
        }

    def table(self) -> str:
        """The same for people."""
        lines = [f"{self.connections} of at most {self._max} connections"]
        for front_end in self.front_ends:
            lines.append(f"\n{front_end.config.name} {front_end.config.listen}")
            lines += [
                f"  {s.name:20} {s.state:9} {s.connections:6} now {s.total:9} in all  {s.detail}"
                for s in front_end.balancer.states
            ]
        return "\n".join(lines)


def read_names(path: Path) -> frozenset[str]:
    """The names in a drain file, one per line; none when it is not there."""
    try:
        return frozenset(path.read_text(encoding="utf-8").split())
    except (OSError, UnicodeDecodeError):
        return frozenset()
