"""The balancer as a process: front ends, health checks, the drain file, caps, the status page and a soft end."""

import asyncio
import contextlib
import itertools
import json
import resource
from functools import partial
from pathlib import Path

from lbproxy.config import Config
from lbproxy.health import unverified, watch
from lbproxy.poller import Poller
from lbproxy.proxy_header import LOCAL
from lbproxy.relay import PIPES_MAX, Relay
from lbproxy.server import FrontEnd

_TICK_S = 0.1  # granularity of connect deadlines, and how long a full balancer rests
_TICKS_PER_LOOK = 10  # at the drain file
_PAGE_S = 2.0
_SHOWN = "name state connections total transitions detail bytes_in bytes_out".split()
_DESCRIPTORS_RESERVED = 128 + 2 * PIPES_MAX  # listeners, checks, status page, pipes


def connections_possible(wanted: int) -> int:
    """How many clients the limit of descriptors allows, two for each; raises the soft limit as far as it goes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    need = _DESCRIPTORS_RESERVED + 2 * wanted
    soft = max(soft, need if hard == resource.RLIM_INFINITY else min(need, hard))
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return max(1, min(wanted, (soft - _DESCRIPTORS_RESERVED) // 2))


class Service:
    """Everything that runs, in a running loop. Raises OSError where a port cannot be had."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.connections_max = connections_possible(config.max_connections)
        self._poller = Poller(asyncio.get_running_loop())
        self._relay = Relay(self._poller, idle_s=config.idle_s, life_s=config.life_s)
        self.front_ends = [
            FrontEnd(front, config, self._relay, self.room) for front in config.front_ends
        ]
        self._status: asyncio.Server | None = None

    async def start(self) -> None:
        """Check the backends, serve, show the status page. Raises OSError."""
        self._tasks = [asyncio.create_task(self._tick())]
        for front_end in self.front_ends:
            tls = unverified() if front_end.config.name == "https" else None
            preface = LOCAL if front_end.config.send_proxy else b""
            for backend in front_end.backends:
                report = partial(front_end.reported, backend)
                checking = watch(backend.address, self.config.health, tls, preface, report)
                self._tasks.append(asyncio.create_task(checking))
        if self.config.status:
            self._status = await asyncio.start_server(self._page, *self.config.status, limit=4096)

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

    @property
    def connections(self) -> int:
        """Clients with a backend, and those that have none yet."""
        return len(self._relay.tunnels) + sum(len(each.attempts) for each in self.front_ends)

    def room(self) -> int:
        """How many more clients may come."""
        return max(0, self.connections_max - self.connections)

    async def _tick(self) -> None:
        for tick in itertools.count():
            for front_end in self.front_ends:
                front_end.accept(self.room() > 0)
            if self.config.drain_file and tick % _TICKS_PER_LOOK == 0:
                self._drain(Path(self.config.drain_file))
            await asyncio.sleep(_TICK_S)

    def _drain(self, file: Path) -> None:
        names: list[str] = []
        with contextlib.suppress(OSError, UnicodeDecodeError):  # not there: nobody drains
            names = file.read_text(encoding="utf-8").split()
        for backend in (each for front_end in self.front_ends for each in front_end.backends):
            backend.is_draining = backend.name in names

    async def _page(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        quiet = contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError)
        with contextlib.closing(writer), quiet:  # TimeoutError is an OSError
            async with asyncio.timeout(_PAGE_S):
                head = await reader.readuntil(b"\r\n\r\n")
                is_json = head.startswith(b"GET /status.json ")
                body = json.dumps(self.status(), indent=1) if is_json else self.table()
                kind = "application/json" if is_json else "text/plain; charset=utf-8"
                writer.write(
                    f"HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nCache-Control: no-store\r\n"
                    f"Connection: close\r\n\r\n{body}\n".encode()
                )
                await writer.drain()

    def status(self) -> dict[str, object]:
        """What the status page shows: front ends with their backends."""
        front_ends = [
            {"name": each.config.name, "listen": each.config.listen, "refused": each.refused,
             "backends": [{key: getattr(backend, key) for key in _SHOWN} for backend in each.backends]}
            for each in self.front_ends
        ]  # fmt: skip
        counts = {"connections": self.connections, "connections_max": self.connections_max}
        return counts | {"frontends": front_ends}

    def table(self) -> str:
        """The same for people."""
        lines = [f"{self.connections} of at most {self.connections_max} connections"]
        for front_end in self.front_ends:
            lines.append(f"\n{front_end.config.name} {front_end.config.listen}")
            lines += [
                f"  {s.name:20} {s.state:9} {s.connections:6} now {s.total:9} in all  {s.detail}"
                for s in front_end.backends
            ]
        return "\n".join(lines)
