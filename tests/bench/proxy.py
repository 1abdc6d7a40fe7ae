"""The proxy worker against squid without cache and log: one core each, client and target on the other.

Here as there a set-up is a connection, a head, a decision, a connection out, an answer, and both ends closed.
The target of the bulk row is a files worker: nginx, which bbr makes the dearer one, would be the row's limit.
"""

import contextlib
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from tests.bench.files import station
from tests.bench.load import run as load
from tests.bench.measuring import (
    CLIENT_CORE,
    SERVER_CORE,
    Row,
    Sample,
    compare,
    cpu_s,
    is_chosen,
    options,
)
from tests.bench.servers import Server, origin, running, squid

# Row, connections.
ROWS: list[tuple[Row, int]] = [
    (Row("CONNECT bulk, 16 streams", 2.2, 2.5, is_bulk=True), 16),
    (Row("CONNECT set-ups", 1.0, 1.6), 32),
]


@contextlib.contextmanager
def proxy(directory: Path, targets: list[int]) -> Iterator[Server]:
    """A proxy worker that may reach these ports."""
    directory.mkdir()
    with socket.create_server(("127.0.0.1", 0), backlog=1024) as listener:
        port, fd = listener.getsockname()[1], listener.fileno()
        settings = {
            "name": "proxy-0",
            "feed": str(directory / "none.sock"),
            "files": str(directory / "none.sock"),
            "listeners": [{"fd": fd, "kind": "proxy"}],
            "hosts": ["127.0.0.0/8"],
            "destinations": [f"127.0.0.1:{port}" for port in targets],
            "access_log": False,
            "tunnels_per_client": 5000,  # squid has no such cap
        }
        command = [sys.executable, "-m", "station.serve.proxy_worker"]
        environment = os.environ | {"STATION_SETTINGS": json.dumps(settings)}
        with running(
            SERVER_CORE, command, port, env=environment, pass_fds=(fd,), stderr=subprocess.DEVNULL
        ) as pid:
            time.sleep(1.0)  # the port was there before the worker
            yield Server((pid,), port)


def measure(row: Row, server: Server, target: Server, connections: int, seconds: float) -> Sample:
    """One run."""
    before = cpu_s(*server.pids)
    if row.is_bulk:
        rate = load("bulk", target.http, f"{target.base}100m", connections, seconds, server.http)
        return Sample(rate / 1e6, (cpu_s(*server.pids) - before) / (rate * seconds) * 1e9)
    rate = load("setups", server.http, target.http, connections, seconds)
    return Sample(rate, (cpu_s(*server.pids) - before) / (rate * seconds) * 1e6)


def main(arguments: list[str] | None = None) -> int:
    """Print the rows; 1 when one is below its least."""
    chosen = options(__doc__, arguments)
    is_reached = True
    with tempfile.TemporaryDirectory(prefix="bench-") as name, contextlib.ExitStack() as stack:
        directory = Path(name)
        directory.chmod(0o755)
        source = stack.enter_context(station(directory / "source", None, cores=CLIENT_CORE))
        target = stack.enter_context(origin(directory / "origin"))
        ours = stack.enter_context(proxy(directory / "proxy", [source.http, target.http]))
        peer = stack.enter_context(squid(directory / "squid"))
        for row, connections in ROWS:
            if is_chosen(row.name, chosen.only):
                end = source if row.is_bulk else target
                run, peer_run = (
                    partial(measure, row, server, end, connections, chosen.seconds)
                    for server in (ours, peer)
                )
                is_reached &= compare(row, "squid", run, peer_run, chosen.runs)
    return int(not is_reached)


if __name__ == "__main__":
    sys.exit(main())
