"""The files worker against nginx as shipped: same files, same client, one process each, one core, interleaved.

Rates are medians over the runs; beside them stands the server's CPU time per request (microseconds) or per GB
(seconds). The client, wrk, has the other core.
"""

import argparse
import http.client
import os
import re
import ssl
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.integration.files_lab import FilesLab

SERVER_CORE, CLIENT_CORE = "0", "1"
REVISION_FILES = {
    "8k.xml": 8 * 1024,
    "1m.rpm": 1024 * 1024,
    "100m.rpm": 100 * 1024 * 1024,
    "1k.xml": 1024,
}


@dataclass(frozen=True)
class Workload:
    """What wrk does, and the least ratio (ours to nginx's rate) that is acceptable."""

    name: str
    file: str
    connections: int
    least: float
    is_bulk: bool = False
    is_tls: bool = False
    header: str = ""  # `{etag}` stands for the server's own
    is_closing: bool = False


WORKLOADS = [
    Workload("8 KiB keep-alive", "8k.xml", 32, 0.9),
    Workload("8 KiB, 1000 connections", "8k.xml", 1000, 0.9),
    Workload("304", "8k.xml", 32, 0.85, header="If-None-Match: {etag}"),
    Workload("64 KiB ranges of 1 MiB", "1m.rpm", 32, 0.85, header="Range: bytes=65536-131071"),
    Workload("1 MiB", "1m.rpm", 32, 1.5, is_bulk=True),
    Workload("100 MiB", "100m.rpm", 8, 1.1, is_bulk=True),
    Workload("new connection each, 8 KiB", "8k.xml", 32, 0.7, is_closing=True),
    Workload("https 100 MiB", "100m.rpm", 8, 0.95, is_bulk=True, is_tls=True),
    Workload("https 1 MiB", "1m.rpm", 16, 0.8, is_bulk=True, is_tls=True),
    Workload("https 8 KiB", "8k.xml", 32, 0.35, is_tls=True),
    Workload("https handshakes, 1 KiB", "1k.xml", 16, 0.75, is_tls=True, is_closing=True),
]


@dataclass(frozen=True)
class Peer:
    """A server under measurement."""

    name: str
    pid: int
    http: int
    https: int
    base: str


@dataclass(frozen=True)
class Sample:
    """One run: requests and bytes per second, CPU per request (s) and per GB (s), 99th percentile."""

    requests: float
    bytes: float
    cpu_request: float
    cpu_gb: float
    p99: str


def cpu_seconds(pid: int) -> float:
    """User and system time of a process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def etag_of(peer: Peer, file: str) -> str:
    """The tag the server gives."""
    connection = http.client.HTTPConnection("127.0.0.1", peer.http, timeout=5)
    connection.request("HEAD", peer.base + file)
    tag = connection.getresponse().getheader("ETag")
    connection.close()
    assert tag, f"{peer.name} gave no ETag"
    return tag


def measure(peer: Peer, work: Workload, seconds: float) -> Sample:
    """One run of wrk against one server."""
    scheme, port = ("https", peer.https) if work.is_tls else ("http", peer.http)
    command = [
        "taskset",
        "-c",
        CLIENT_CORE,
        "wrk",
        "-t1",
        f"-c{work.connections}",
        f"-d{seconds:.0f}s",
        "--latency",
    ]
    if work.header:
        header = work.header
        if "{etag}" in header:
            header = header.format(etag=etag_of(peer, work.file))
        command += ["-H", header]
    if work.is_closing:
        command += ["-H", "Connection: close"]
    before, started = cpu_seconds(peer.pid), time.monotonic()
    done = subprocess.run(
        [*command, f"{scheme}://127.0.0.1:{port}{peer.base}{work.file}"],
        capture_output=True, text=True, check=True, timeout=seconds + 30,
    )  # fmt: skip
    spent, took = cpu_seconds(peer.pid) - before, time.monotonic() - started
    text = done.stdout
    if "Socket errors" in text and not work.is_closing:
        print(f"    {peer.name}: {re.search('Socket errors.*', text)[0]}")  # type: ignore[index]
    found = re.search(r"(\d+) requests in [\d.]+\w+, ([\d.]+)(\w+) read", text)
    assert found, text
    units = {"B": 1, "KB": 2**10, "MB": 2**20, "GB": 2**30, "TB": 2**40}
    requests, size = int(found[1]), float(found[2]) * units[found[3]]
    p99 = re.search(r"99%\s+(\S+)", text)
    return Sample(
        requests / took, size / took, spent / max(1, requests), spent / max(1, size) * 1e9,
        p99[1] if p99 else "",
    )  # fmt: skip


@contextmanager
def ours(directory: Path, pair: tuple[Path, Path], congestion: str) -> Iterator[Peer]:
    """The files worker."""
    directory.mkdir()
    command = ("taskset", "-c", SERVER_CORE)
    with FilesLab(directory, tls=pair, congestion=congestion, command=command) as lab:
        files = {f"repodata/{name}": os.urandom(size) for name, size in REVISION_FILES.items()}
        lab.publish("bench", lab.storage.add("bench", {"repodata/repomd.xml": b"x", **files}))
        yield Peer("station", lab.process.pid, lab.http, lab.https, "/repo/bench/repodata/")


@contextmanager
def nginx(directory: Path, pair: tuple[Path, Path], workers: int) -> Iterator[Peer]:
    """nginx as shipped, access log off."""
    directory.mkdir()
    root = directory / "root"
    root.mkdir()
    for name, size in REVISION_FILES.items():
        (root / name).write_bytes(os.urandom(size))
    for path in (directory, root, *root.iterdir()):
        path.chmod(0o755)
    ports = 18471, 18472
    config = directory / "nginx.conf"
    config.write_text(f"""
        user root; worker_processes {workers}; pid {directory}/pid; error_log {directory}/error.log;
        events {{ worker_connections 4096; }}
        http {{
            sendfile on; tcp_nopush on; access_log off; default_type application/octet-stream;
            server {{
                listen 127.0.0.1:{ports[0]} backlog=1024; listen 127.0.0.1:{ports[1]} ssl;
                ssl_certificate {pair[0]}; ssl_certificate_key {pair[1]}; ssl_protocols TLSv1.2 TLSv1.3;
                root {root};
            }}
        }}
    """)
    master = subprocess.Popen(
        ["taskset", "-c", SERVER_CORE, "/usr/sbin/nginx", "-c", str(config), "-g", "daemon off;"]
    )
    try:
        yield Peer("nginx", _worker_of(master.pid), *ports, "/")
    finally:
        master.terminate()
        master.wait()


def _worker_of(master: int) -> int:
    for _ in range(100):
        time.sleep(0.05)
        children = Path(f"/proc/{master}/task/{master}/children").read_text().split()
        if children:
            return int(children[0])
    raise RuntimeError("nginx did not start")


def certificate(directory: Path) -> tuple[Path, Path]:
    """An ECDSA pair."""
    cert, key = directory / "cert.pem", directory / "key.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
         "-keyout", str(key), "-out", str(cert), "-days", "2", "-subj", "/CN=localhost"],
        check=True, capture_output=True,
    )  # fmt: skip
    ssl.create_default_context(ssl.Purpose.CLIENT_AUTH).load_cert_chain(cert, key)
    return cert, key


def report(work: Workload, samples: dict[str, list[Sample]]) -> bool:
    """Print one workload; True when the least ratio was reached."""
    rates, costs, lines = {}, {}, []
    for name, runs in samples.items():
        rate = statistics.median(run.bytes / 1e6 if work.is_bulk else run.requests for run in runs)
        cost = statistics.median(
            run.cpu_gb if work.is_bulk else run.cpu_request * 1e6 for run in runs
        )
        rates[name], costs[name] = rate, cost
        units = ("MB/s", "s/GB") if work.is_bulk else ("req/s", "µs")
        lines.append(f"{name} {rate:,.0f} {units[0]} {cost:.2f} {units[1]} p99 {runs[-1].p99}")
    ratio = rates["station"] / rates["nginx"]
    verdict = "ok" if ratio >= work.least else "BELOW"
    print(
        f"{work.name:28} x{ratio:.2f} (least {work.least}) cost x{costs['station'] / costs['nginx']:.2f} {verdict:5} "
        + " | ".join(lines),
        flush=True,
    )
    return ratio >= work.least


def main() -> int:
    """Run all workloads, or those whose name contains an argument. Exit status 1 when one is below its least."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("only", nargs="*", help="parts of names of workloads")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=3)
    parser.add_argument("--congestion", default="", help="tcp_congestion of the station")
    options = parser.parse_args()
    chosen = [w for w in WORKLOADS if not options.only or any(o in w.name for o in options.only)]
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        directory = Path(name)
        directory.chmod(0o755)
        pair = certificate(directory)
        with (
            ours(directory / "station", pair, options.congestion) as station,
            nginx(directory / "nginx", pair, 1) as peer,
        ):
            reached = []
            for work in chosen:
                samples: dict[str, list[Sample]] = {"station": [], "nginx": []}
                for _ in range(options.runs):
                    for server in (station, peer):
                        samples[server.name].append(measure(server, work, options.seconds))
                reached.append(report(work, samples))
    return 0 if all(reached) else 1


if __name__ == "__main__":
    sys.exit(main())
