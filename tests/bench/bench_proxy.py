"""The proxy worker against squid (no cache, no log): CONNECT bulk and set-ups, GET, interleaved, one core each.

Beside each rate stands the proxy's CPU time per GB (seconds) or per request (microseconds). The client and nginx share
the other core; the set-ups are limited by the client, so compare their CPU time.
"""

import argparse
import contextlib
import json
import os
import pwd
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.bench.peers_of_relays import (
    OTHERS_CORE,
    RELAY_CORE,
    SIZES,
    cpu_s,
    free_port,
    nginx,
    pinned,
)

# Opens tunnels one after the other on its core. Arguments: proxy port, target port, count.
SETUPS = """
import socket, sys
proxy, target, count = map(int, sys.argv[1:])
head = b"CONNECT 127.0.0.1:%d HTTP/1.1\\r\\nHost: 127.0.0.1:%d\\r\\n\\r\\n" % (target, target)
for _ in range(count):
    with socket.create_connection(("127.0.0.1", proxy)) as sock:
        sock.sendall(head)
        assert b" 200 " in sock.recv(4096)
"""


@contextlib.contextmanager
def ours(directory: Path, target: int) -> Iterator[tuple[int, int]]:
    """A proxy worker on the relays' core: (port, pid)."""
    with socket.create_server(("127.0.0.1", 0), backlog=1024) as listener:
        port, fd = listener.getsockname()[1], listener.fileno()
        settings = {
            "name": "proxy-0",
            "feed": str(directory / "none.sock"),
            "files": str(directory / "none.sock"),
            "listeners": [{"fd": fd, "kind": "proxy"}],
            "hosts": ["127.0.0.0/8"],
            "destinations": [f"127.0.0.1:{target}"],
            "access_log": False,
        }
        with pinned(
            RELAY_CORE,
            [sys.executable, "-m", "station.serve.proxy_worker"],
            port=port,
            env=os.environ | {"STATION_SETTINGS": json.dumps(settings)},
            pass_fds=(fd,),
            stderr=subprocess.DEVNULL,
        ) as pid:
            time.sleep(1.0)
            yield port, pid


@contextlib.contextmanager
def squid(directory: Path, target: int) -> Iterator[tuple[int, int]]:
    """squid on the relays' core: (port, pid)."""
    port = free_port()
    # squid refuses to stay root; the user that its package makes must reach the directory.
    user = "proxy" if os.getuid() == 0 else pwd.getpwuid(os.getuid()).pw_name
    directory.chmod(0o777)
    config = directory / "squid.conf"
    config.write_text(
        f"http_port 127.0.0.1:{port}\nhttp_access allow all\ncache deny all\naccess_log none\n"
        f"cache_log /dev/null\ncache_store_log none\npid_filename none\n"
        f"coredump_dir {directory}\ncache_effective_user {user}\nshutdown_lifetime 0 seconds\n"
        "max_filedescriptors 16384\npinger_enable off\n"
    )
    command = ["squid", "-N", "-n", f"bench{port}", "-f", str(config)]
    try:
        with pinned(RELAY_CORE, command, port=port, stderr=subprocess.DEVNULL) as pid:
            yield port, pid
    finally:
        for left in Path("/dev/shm").glob(f"bench{port}-*"):
            left.unlink()


def bulk(proxy: int, target: int, streams: int) -> float:
    """MB per second of `streams` tunnels with 100 MiB each."""
    command = ["taskset", "-c", OTHERS_CORE, "curl", "-s", "-p", "-x", f"http://127.0.0.1:{proxy}"]
    command += ["-o", "/dev/null", f"http://127.0.0.1:{target}/100m"]
    begin = time.monotonic()
    running = [subprocess.Popen(command) for _ in range(streams)]
    codes = [process.wait() for process in running]
    assert not any(codes)
    return streams * SIZES["100m"] / 1e6 / (time.monotonic() - begin)


def setups(proxy: int, target: int, count: int) -> float:
    """Tunnels opened per second."""
    command = ["taskset", "-c", OTHERS_CORE, sys.executable, "-c", SETUPS]
    begin = time.monotonic()
    subprocess.run([*command, str(proxy), str(target), str(count)], check=True)
    return count / (time.monotonic() - begin)


def gets(proxy: int, target: int, count: int) -> float:
    """GET requests of 8 KiB per second, a connection each."""
    command = ["taskset", "-c", OTHERS_CORE, sys.executable, "-c", _GETS]
    begin = time.monotonic()
    subprocess.run([*command, str(proxy), str(target), str(count)], check=True)
    return count / (time.monotonic() - begin)


_GETS = """
import socket, sys
proxy, target, count = map(int, sys.argv[1:])
head = b"GET http://127.0.0.1:%d/8k HTTP/1.1\\r\\nHost: x\\r\\nConnection: close\\r\\n\\r\\n" % target
for _ in range(count):
    with socket.create_connection(("127.0.0.1", proxy)) as sock:
        sock.sendall(head)
        size = 0
        while data := sock.recv(65536):
            size += len(data)
        assert size > 8192
"""

# Name, least ratio of rates (0: compare the CPU), is it bulk, how to measure.
WORKLOADS: list[tuple[str, float, bool, Callable[[int, int], float]]] = [
    ("CONNECT bulk, 16 streams", 2.2, True, lambda p, t: bulk(p, t, 16)),
    ("CONNECT bulk, 1 stream", 0, True, lambda p, t: bulk(p, t, 1)),
    ("CONNECT set-ups", 1.0, False, lambda p, t: setups(p, t, 3000)),
    ("GET 8 KiB", 0, False, lambda p, t: gets(p, t, 2000)),
]
AMOUNT = {"CONNECT bulk, 16 streams": 1.6 * 1.048576, "CONNECT bulk, 1 stream": 0.1 * 1.048576,
          "CONNECT set-ups": 3000, "GET 8 KiB": 2000}  # fmt: skip


def main(arguments: list[str] | None = None) -> int:
    """Print a table; 1 when a ratio is below what is acceptable."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=5)
    options = parser.parse_args(arguments)
    worst = 0
    with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as stack:
        directory = Path(name)
        target = stack.enter_context(nginx(directory))
        servers = (
            stack.enter_context(ours(directory, target)),
            stack.enter_context(squid(directory, target)),
        )
        print(f"{'workload':26} {'proxy':>18} {'squid':>18} {'ratio':>6} {'CPU':>5}  least")
        for workload, least, is_bulk, measure in WORKLOADS:
            found: list[list[tuple[float, float]]] = [[], []]
            for _ in range(options.runs):
                for results, (port, pid) in zip(found, servers, strict=True):
                    before = cpu_s(pid)
                    rate = measure(port, target)
                    each = (cpu_s(pid) - before) / AMOUNT[workload]
                    results.append((rate, each if is_bulk else each * 1e6))
            (a, a_cpu), (b, b_cpu) = (
                [statistics.median(column) for column in zip(*results, strict=True)]
                for results in found
            )
            unit = "s/GB" if is_bulk else "us"
            print(
                f"{workload:26} {a:8,.0f} {a_cpu:6.2f} {unit:4} {b:8,.0f} {b_cpu:6.2f} {unit:4} "
                f"{a / b:6.2f} {a_cpu / b_cpu:5.2f}  {least:.2f}",
                flush=True,
            )
            worst |= a / b < least
    return worst


if __name__ == "__main__":
    sys.exit(main())
