"""lbproxy against haproxy as shipped: same nginx behind, same client before, one process each on one core.

Client and nginx share the other core.
"""

import contextlib
import resource
import socket
import sys
import tempfile
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from tests.bench.load import run as load
from tests.bench.measuring import Row, Sample, compare, cpu_s, is_chosen, options, pss_kib
from tests.bench.servers import Server, haproxy, lbproxy, origin
from tests.bench.wrk import wrk

# Row, file, connections, headers.
ROWS: list[tuple[Row, str, int, tuple[str, ...]]] = [
    (Row("balancer bulk, 64 streams", 1.3, 2.0, is_bulk=True), "/100m", 64, ()),
    (Row("balancer bulk, 1 stream", 0.95, 1.1, is_bulk=True), "/100m", 1, ()),
    (Row("balancer 8 KiB keep-alive", 0.95, 1.1), "/8k", 32, ()),
    (Row("balancer new connections", 0.7, 1.0), "/1k", 32, ("Connection: close",)),
]
IDLE, IDLE_LEAST, IDLE_AIM, IDLE_ASKED = 5000, 0.6, 0.4, 50
_ASK = b"HEAD /1k HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"


def measure(
    row: Row, server: Server, path: str, connections: int, headers: tuple[str, ...], seconds: float
) -> Sample:
    """One run."""
    before = cpu_s(*server.pids)
    if row.is_bulk:
        rate = load("bulk", server.http, path, connections, seconds)
        return Sample(rate / 1e6, (cpu_s(*server.pids) - before) / (rate * seconds) * 1e9)
    result = wrk(f"http://127.0.0.1:{server.http}{path}", connections, seconds, *headers)
    spent = cpu_s(*server.pids) - before
    return Sample(result.requests / result.seconds, spent / result.requests * 1e6, result.p99_ms)


@contextlib.contextmanager
def idle_connections(port: int, count: int) -> Iterator[list[socket.socket]]:
    """Connections that each had one answer and ask for nothing now."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    try:
        with contextlib.ExitStack() as stack:
            socks = []
            for _ in range(count):
                sock = stack.enter_context(socket.create_connection(("127.0.0.1", port), 5))
                is_alive(sock)
                socks.append(sock)
            yield socks
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def is_alive(sock: socket.socket) -> None:
    """Fails where the connection does not answer."""
    sock.sendall(_ASK)
    assert sock.recv(4096).startswith(b"HTTP/1.1 200 ")


def idle_kib(server: Server) -> float:
    """KiB of user space for one idle connection; some of them must still work afterwards."""
    before = pss_kib(server.pids[0])
    with idle_connections(server.http, IDLE) as socks:
        time.sleep(1)  # what was freed goes back
        each = (pss_kib(server.pids[0]) - before) / IDLE
        for sock in socks[:: IDLE // IDLE_ASKED]:
            is_alive(sock)
    return each


def compare_memory(ours: Server, peer: Server) -> bool:
    """Both must be fresh: memory that earlier connections left behind would be used again. Once: it does not swing."""
    a, b = idle_kib(ours), idle_kib(peer)
    is_reached = a / b <= IDLE_LEAST
    print(
        f"{f'balancer memory, {IDLE:,} idle':32} x{a / b:.2f} (most {IDLE_LEAST:.2f}, aim {IDLE_AIM:.2f}) "
        f"{'ok' if is_reached else 'BELOW'} | ours {a:.2f} KiB each | haproxy {b:.2f} KiB each",
        flush=True,
    )
    return is_reached


def main(arguments: list[str] | None = None) -> int:
    """Print the rows; 1 when one is below its least."""
    chosen = options(__doc__, arguments)
    is_reached = True
    with tempfile.TemporaryDirectory(prefix="bench-") as name, contextlib.ExitStack() as stack:
        directory = Path(name)
        backend = stack.enter_context(origin(directory / "origin"))
        ours = stack.enter_context(lbproxy(directory / "lbproxy", backend.http))
        peer = stack.enter_context(haproxy(directory / "haproxy", backend.http))
        if is_chosen("balancer memory", chosen.only):
            is_reached &= compare_memory(ours, peer)
        for row, path, connections, headers in ROWS:
            if is_chosen(row.name, chosen.only):
                run, peer_run = (
                    partial(measure, row, server, path, connections, headers, chosen.seconds)
                    for server in (ours, peer)
                )
                is_reached &= compare(row, "haproxy", run, peer_run, chosen.runs)
    return int(not is_reached)


if __name__ == "__main__":
    sys.exit(main())
