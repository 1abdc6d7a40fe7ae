"""lbproxy against haproxy as shipped: same nginx behind, same wrk before, one process each on one core, interleaved.

Rates are medians over the runs; beside them stands the balancer's CPU time per request (microseconds) or per GB
(seconds).
wrk and nginx share the other core.
"""

import argparse
import contextlib
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.bench.peers_of_relays import RELAY_CORE, cpu_s, free_port, nginx, pinned, pss_kib, wrk


@dataclass(frozen=True)
class Workload:
    """What wrk asks, and the least ratio of rates that is acceptable."""

    name: str
    path: str
    connections: int
    least: float
    is_bulk: bool = False
    header: str = ""


WORKLOADS = [
    Workload("8 KiB keep-alive, 32", "8k", 32, 0.95),
    Workload("bulk, 64 streams", "100m", 64, 1.3, is_bulk=True),
    Workload("bulk, 1 stream", "100m", 1, 0.95, is_bulk=True),
    Workload("new connections, 32", "1k", 32, 0.7, header="Connection: close"),
]
IDLE = 2000


@contextlib.contextmanager
def lbproxy(directory: Path, backend: int) -> Iterator[tuple[int, int]]:
    """lbproxy on the relays' core: (port, pid)."""
    port = free_port()
    config = directory / "lbproxy.toml"
    config.write_text(
        f'[frontend.http]\nlisten = "127.0.0.1:{port}"\n'
        f'[[backend]]\nname = "nginx"\naddress = "127.0.0.1"\nports = {{ http = {backend} }}\n'
    )
    command = [sys.executable, "-m", "lbproxy.cli", "--config", str(config)]
    with pinned(RELAY_CORE, command, port=port, stderr=subprocess.DEVNULL) as pid:
        time.sleep(1.5)  # two checks
        yield port, pid


@contextlib.contextmanager
def haproxy(directory: Path, backend: int) -> Iterator[tuple[int, int]]:
    """haproxy on the relays' core: (port, pid)."""
    port = free_port()
    config = directory / "haproxy.cfg"
    config.write_text(
        "global\n maxconn 7000\n nbthread 1\n"
        "defaults\n mode tcp\n option splice-auto\n timeout connect 5s\n timeout client 300s\n timeout server 300s\n"
        f"listen http\n bind 127.0.0.1:{port}\n server nginx 127.0.0.1:{backend} check\n"
    )
    command = ["haproxy", "-db", "-f", str(config)]
    with pinned(RELAY_CORE, command, port=port, stderr=subprocess.DEVNULL) as pid:
        yield port, pid


def measure(workload: Workload, port: int, pid: int, seconds: float) -> tuple[float, float]:
    """Rate (req/s or MB/s), and CPU (us per request or s per GB)."""
    before = cpu_s(pid)
    rate, megabytes = wrk(
        f"http://127.0.0.1:{port}/{workload.path}",
        connections=workload.connections,
        seconds=seconds,
        header=workload.header,
    )
    used = cpu_s(pid) - before
    if workload.is_bulk:
        return megabytes, used / (megabytes * seconds / 1000)
    return rate, used / (rate * seconds) * 1e6


def idle_kib(port: int, pid: int) -> float:
    """KiB of the process for one idle connection."""
    before = pss_kib(pid)
    with contextlib.ExitStack() as stack:
        for _ in range(IDLE):
            stack.enter_context(socket.create_connection(("127.0.0.1", port), 5))
        time.sleep(1)
        return (pss_kib(pid) - before) / IDLE


def main(arguments: list[str] | None = None) -> int:
    """Print a table; 1 when a ratio is below what is acceptable."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--only", default="", help="part of a workload's name")
    options = parser.parse_args(arguments)
    worst = 0
    with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as stack:
        directory = Path(name)
        backend = stack.enter_context(nginx(directory))
        ours = stack.enter_context(lbproxy(directory, backend))
        theirs = stack.enter_context(haproxy(directory, backend))
        print(f"{'workload':24} {'lbproxy':>18} {'haproxy':>18} {'ratio':>6} {'CPU':>5}  least")
        for workload in (w for w in WORKLOADS if options.only in w.name):
            found: list[list[tuple[float, float]]] = [[], []]
            for _ in range(options.runs):
                for results, (port, pid) in zip(found, (ours, theirs), strict=True):
                    results.append(measure(workload, port, pid, options.seconds))
            (a, a_cpu), (b, b_cpu) = (
                [statistics.median(column) for column in zip(*results, strict=True)]
                for results in found
            )
            unit = "s/GB" if workload.is_bulk else "us"
            print(
                f"{workload.name:24} {a:10,.0f} {a_cpu:5.2f} {unit:4} {b:8,.0f} {b_cpu:5.2f} {unit:4} "
                f"{a / b:6.2f} {a_cpu / b_cpu:5.2f}  {workload.least:.2f}",
                flush=True,
            )
            worst |= a / b < workload.least
        if options.only in "idle":
            a, b = idle_kib(*ours), idle_kib(*theirs)
            print(f"{'KiB per idle connection':24} {a:10.2f} {'':10} {b:8.2f} {'':10} {a / b:6.2f}")
    return worst


if __name__ == "__main__":
    sys.exit(main())
