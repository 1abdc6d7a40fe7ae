"""The files worker: one process that serves the mirrored files over HTTP and HTTPS. It only reads."""

import asyncio
import os
import signal
import socket
import sys
from pathlib import Path
from typing import Any

from station.runtime.clock import system_clock
from station.runtime.lines import line
from station.serve.access_log import AccessLog
from station.serve.faults import NONE, Faults
from station.serve.feed import Feed
from station.serve.files import Files
from station.serve.guard import Guard
from station.serve.limits import Counters, Limits
from station.serve.lookup import Library
from station.serve.memo import Memo
from station.serve.opening import Acceptor, listener_of
from station.serve.pacing import FILE_STEP_BYTES, is_paced
from station.serve.pool import Pool
from station.serve.preface import Balancers
from station.serve.router import Router
from station.serve.shared import Shared
from station.serve.tls import Certificate
from station.serve.transfer import STEP_BYTES
from station.serve.worker import Worker, inherited, run
from station.serve.world import World

HOUSEKEEPING_S = 1.0
DRAIN_CHECK_S = 0.1
FIRST_WORD_S = 0.5  # control takes longer to start, and fixed names and health need no word of it


class FilesWorker(Worker):
    """See Worker."""

    def __init__(self, settings: dict[str, Any], loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(settings, loop)
        limits = Limits.from_settings(settings.get("limits") or {}).fitted()
        self._limits, self._counters, self._clock = limits, Counters(), system_clock()
        self._guard = Guard(limits, self._counters)
        faults = Faults.from_environment(os.environ)
        if faults != NONE:
            line("warning", "worker.faults_injected", faults=repr(faults))
        self._world = World(limits.stale_s, faults)
        storage = Path(settings["storage"])
        self._library = Library(storage, Path(settings["manifests"]), open_max=limits.manifests)
        self._pool = Pool(
            self._library.layout,
            small_bytes=limits.small_bytes,
            cache_bytes=limits.body_cache_bytes,
        )
        self._feed = Feed(
            settings["feed"],
            settings["name"],
            self._world,
            clock=self._clock,
            counters=self._all_counters,
            in_flight=self._in_flight,
            stats=self._counters,
        )
        files = Files(
            self._world, self._feed, self._pool, self._clock, limits, self._guard, self._counters
        )
        router = Router(
            self._world, self._feed, self._library, files, self._clock, limits, self._counters, faults,
        )  # fmt: skip
        log = settings.get("access_log") or {}
        self._log = AccessLog(log["format"], log["path"], self._counters) if log else None
        # A memo answers without a look at the request, which a log wants.
        is_used = self._log is None
        self._memos = {
            "http": Memo(self._world, limits, is_used=is_used),
            "https": Memo(self._world, limits, is_used=is_used),
            "none": Memo(self._world, limits, is_used=False),
        }
        listeners = [
            listener_of(_listening_socket(each, settings.get("tcp_congestion", "")), each["kind"])
            for each in settings["listeners"]
        ]
        is_any_paced = any(is_paced(listener.sock) for listener in listeners)
        step_bytes = FILE_STEP_BYTES if is_any_paced else STEP_BYTES
        self._shared = Shared(
            loop, self._guard, limits, self._counters, router, self._world, self._feed,
            settings["relay"], self._memos, step_bytes, self._log,
        )  # fmt: skip
        self._guard.on_crowded = self._shared.forget_answers
        self._feed.on_change = self._changed
        self._feed.on_beat = self._shared.wake_held
        self._feed.on_stop = self.drain
        tls = settings.get("tls")
        self._certificate = (
            Certificate(
                Path(tls["cert"]), Path(tls["key"]), lambda: self._counters.add("tls_reload_failed")
            )
            if tls
            else None
        )
        balancers = Balancers(settings.get("balancers") or ())
        self._acceptor = Acceptor(self._shared, listeners, balancers, self._certificate)
        self._is_ready = False

    def start(self) -> None:
        """Begin to work, and accept once control has spoken: until then the backlog, or the worker before us, does."""
        self.loop.add_signal_handler(signal.SIGHUP, self.reload)
        self._feed.attach(self.loop)
        self._guard.attach(self.loop)
        if self._log is not None:
            self._log.attach(self.loop)
        self.loop.call_later(FIRST_WORD_S, self._accept)
        self._housekeeping()

    def _changed(self) -> None:
        self._shared.changed()
        if self._world.has_snapshot:
            self._accept()

    def _accept(self) -> None:
        if not self._is_ready:
            self._is_ready = True
            self._acceptor.start()
            self.on_ready()

    def reload(self) -> None:
        """Take the certificate that lies there now."""
        if self._certificate is not None:
            self._certificate.reload()

    def drain(self) -> None:
        """See Worker."""
        if self._world.is_draining:
            return
        line("info", "worker.draining", connections=len(self._shared.connections))
        self._world.drain()
        if self._world.has_successor:
            self._acceptor.stop()
        self._shared.changed()
        self.loop.call_later(self._limits.drain_s, self._finish)
        self.loop.call_later(self._limits.drain_idle_s, self._close_idle)
        self._check_drained()

    def terminate(self) -> None:
        """See Worker."""
        if self._world.is_draining:
            self._finish()
        self.drain()

    def close(self) -> None:
        """Give back files and sockets."""
        if self._world.is_draining and not self._world.has_successor:
            self._acceptor.refuse()
        for connection in list(self._shared.connections):
            connection.abort()
        if self._log is not None:
            self._log.flush()
        self._feed.close()
        self._library.close()

    def _close_idle(self) -> None:
        """Whoever was silent since we began to drain is not in the middle of anything."""
        for connection in list(self._shared.connections):
            connection.close_if_idle()
        self.loop.call_later(self._limits.drain_idle_s, self._close_idle)

    def _check_drained(self) -> None:
        if not self._guard.open:
            self._finish()
        else:
            self.loop.call_later(DRAIN_CHECK_S, self._check_drained)

    def _in_flight(self) -> int:
        return sum(not connection.is_idle for connection in self._shared.connections)

    def _all_counters(self) -> dict[str, int]:
        found = self._counters.all()
        found["connections"] = self._guard.open
        for scheme, memo in self._memos.items():
            for status, count in memo.hits.items():
                name = f"requests_{scheme}_{status.decode('ascii')}"
                found[name] = found.get(name, 0) + count
                found["memo_hits"] = found.get("memo_hits", 0) + count
            if memo.hit_bytes:
                found[f"bytes_{scheme}"] = found.get(f"bytes_{scheme}", 0) + memo.hit_bytes
        found["body_hits"], found["body_misses"] = self._pool.hits, self._pool.misses
        found["held"] = len(self._shared.held)
        found["tls_bad_pair"] = int(self._certificate is not None and self._certificate.is_old)
        return found

    def _housekeeping(self) -> None:
        if self._certificate is not None:
            self._certificate.look()
        self._world.forget_fills(self._clock.boot(), self._limits.fill_start_s)
        self.loop.call_later(HOUSEKEEPING_S, self._housekeeping)


def _listening_socket(listener: dict[str, Any], congestion: str) -> socket.socket:
    is_tcp = listener["kind"] != "unix"
    sock = inherited(int(listener["fd"]), is_tcp=is_tcp)
    if is_tcp and congestion:
        try:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, congestion.encode("ascii"))
        except OSError as error:
            line("warning", "worker.tcp_congestion", value=congestion, error=str(error))
    return sock


if __name__ == "__main__":
    sys.exit(run(FilesWorker))
