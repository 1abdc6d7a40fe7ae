"""The files worker against nginx as shipped: same files, same client, one process each on one core; then two each.

With two the client shares their cores, so that only the CPU time tells something.
"""

import contextlib
import http.client
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

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
from tests.bench.servers import FILES, Server, nginx
from tests.bench.wrk import wrk
from tests.integration.files_lab import FilesLab

BOTH_CORES = f"{SERVER_CORE},{CLIENT_CORE}"


@dataclass(frozen=True, slots=True)
class Work:
    """What the client asks for."""

    row: Row
    file: str
    connections: int
    header: str = ""  # `{etag}` stands for the server's own
    is_tls: bool = False


CLOSE = "Connection: close"
ROWS = [
    Work(Row("8 KiB keep-alive", 0.9, 1.5), "8k", 32),
    Work(Row("8 KiB, 1,000 connections", 0.9, 1.2), "8k", 1000),
    Work(Row("304", 0.85, 1.2), "8k", 32, "If-None-Match: {etag}"),
    Work(Row("64 KiB ranges of 1 MiB", 0.85, 1.2), "1m", 32, "Range: bytes=65536-131071"),
    Work(Row("1 MiB", 1.5, 2.0, is_bulk=True), "1m", 32),
    Work(Row("100 MiB", 1.1, 1.2, is_bulk=True), "100m", 8),
    Work(Row("new connection each", 0.7, 1.0), "8k", 32, CLOSE),
    Work(Row("https 100 MiB", 0.95, 1.1, is_bulk=True), "100m", 8, is_tls=True),
    Work(Row("https 1 MiB", 0.8, 1.0, is_bulk=True), "1m", 16, is_tls=True),
    Work(Row("https 8 KiB", 0.35, 0.8), "8k", 32, is_tls=True),
    Work(Row("https handshakes", 0.75, 1.0), "1k", 16, CLOSE, is_tls=True),
]
ROWS_OF_TWO = [
    Work(Row("two workers, 8 KiB", 1.1, 0.8, is_judged_by_cpu=True), "8k", 32),
    Work(Row("two workers, 1 MiB", 1.1, 0.8, is_bulk=True, is_judged_by_cpu=True), "1m", 32),
]


def measure(server: Server, work: Work, seconds: float) -> Sample:
    """One run."""
    scheme, port = ("https", server.https) if work.is_tls else ("http", server.http)
    path = server.base + work.file
    headers = [work.header.format(etag=etag_of(server, path))] if work.header else []
    before = cpu_s(*server.pids)
    if work.row.is_bulk and not work.is_tls:
        rate = load("bulk", port, path, work.connections, seconds)
        return Sample(rate / 1e6, (cpu_s(*server.pids) - before) / (rate * seconds) * 1e9)
    result = wrk(f"{scheme}://127.0.0.1:{port}{path}", work.connections, seconds, *headers)
    spent = cpu_s(*server.pids) - before
    if work.row.is_bulk:
        return Sample(result.bytes / result.seconds / 1e6, spent / result.bytes * 1e9)
    return Sample(result.requests / result.seconds, spent / result.requests * 1e6, result.p99_ms)


def etag_of(server: Server, path: str) -> str:
    """The tag the server gives."""
    connection = http.client.HTTPConnection("127.0.0.1", server.http, timeout=5)
    connection.request("HEAD", path)
    tag = connection.getresponse().getheader("ETag")
    connection.close()
    assert tag, "no ETag"
    return tag


@contextlib.contextmanager
def station(
    directory: Path, pair: tuple[Path, Path] | None, *, cores: str = SERVER_CORE, workers: int = 1
) -> Iterator[Server]:
    """Files workers with the same files."""
    directory.mkdir()
    with FilesLab(directory, tls=pair, command=("taskset", "-c", cores), workers=workers) as lab:
        files = {
            f"repodata/{name}": os.urandom(1024) * (size // 1024) for name, size in FILES.items()
        }
        lab.publish("bench", lab.storage.add("bench", {"repodata/repomd.xml": b"x", **files}))
        pids = tuple(process.pid for process in lab.processes)
        yield Server(pids, lab.http, lab.https, "/repo/bench/repodata/")


def certificate(directory: Path) -> tuple[Path, Path]:
    """An ECDSA pair."""
    cert, key = directory / "cert.pem", directory / "key.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
         "-keyout", str(key), "-out", str(cert), "-days", "2", "-subj", "/CN=localhost"],
        check=True, capture_output=True,
    )  # fmt: skip
    return cert, key


def main(arguments: list[str] | None = None) -> int:
    """Print the rows; 1 when one is below its least."""
    chosen = options(__doc__, arguments)
    is_reached = True
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        directory = Path(name)
        pair = certificate(directory)
        for rows, cores, workers in ((ROWS, SERVER_CORE, 1), (ROWS_OF_TWO, BOTH_CORES, 2)):
            works = [work for work in rows if is_chosen(work.row.name, chosen.only)]
            if not works:
                continue
            with (
                station(
                    directory / f"station-{workers}", pair, cores=cores, workers=workers
                ) as ours,
                nginx(
                    directory / f"nginx-{workers}", cores=cores, workers=workers, pair=pair
                ) as peer,
            ):
                for work in works:
                    run, peer_run = (
                        partial(measure, server, work, chosen.seconds) for server in (ours, peer)
                    )
                    is_reached &= compare(work.row, "nginx", run, peer_run, chosen.runs)
    return int(not is_reached)


if __name__ == "__main__":
    sys.exit(main())
