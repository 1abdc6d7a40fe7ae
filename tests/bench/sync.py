"""A sync child against `dnf reposync`: the same nginx as upstream, the same 500 small packages, interleaved.

Both fetch metadata and packages into an empty directory, then look again for changes. Figures are medians over the
runs; CPU is user and system time of the process and all its children. Ours verifies and fsyncs every file.
"""

import argparse
import asyncio
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.bench.servers import free_port
from tests.integration.dnf import Dnf
from tests.integration.repositories import Repository, build_repository
from tests.integration.syncing import Syncing

PACKAGES = 500
STARTED_S = 5.0


@dataclass(frozen=True)
class Sample:
    """One run: wall time and CPU time, seconds, and the requests that upstream saw."""

    seconds: float
    cpu: float
    requests: int


@dataclass(frozen=True)
class Upstream:
    """A running nginx."""

    url: str
    log: Path

    def requests(self) -> int:
        """How many it has answered so far."""
        return self.log.read_bytes().count(b"\n")


@contextmanager
def nginx(directory: Path, root: Path, *, niceness: int = 0) -> Iterator[Upstream]:
    """nginx as shipped, with `root` as its documents."""
    port, log = free_port(), directory / "access.log"
    config = directory / "nginx.conf"
    config.write_text(f"""
        user root; worker_processes 1; pid {directory}/pid; error_log {directory}/error.log;
        events {{ worker_connections 1024; }}
        http {{
            sendfile on; access_log {log}; default_type application/octet-stream;
            server {{ listen 127.0.0.1:{port}; root {root}; }}
        }}
    """)
    command = ["nice", "-n", str(niceness), "/usr/sbin/nginx", "-c", str(config)]
    master = subprocess.Popen([*command, "-g", "daemon off;"])
    try:
        deadline = time.monotonic() + STARTED_S
        while not (directory / "pid").exists():
            assert time.monotonic() < deadline, "nginx did not start"
            time.sleep(0.05)
        yield Upstream(f"http://127.0.0.1:{port}/", log)
    finally:
        master.terminate()
        master.wait()


def measure(upstream: Upstream, work: Callable[[], None]) -> Sample:
    """What `work`, which waits for its processes, costs."""
    before, requests, began = cpu_of_children(), upstream.requests(), time.monotonic()
    work()
    took = time.monotonic() - began
    return Sample(took, cpu_of_children() - before, upstream.requests() - requests)


def cpu_of_children() -> float:
    """User and system time of all processes that were waited for."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def ours(directory: Path, upstream: Upstream) -> tuple[Sample, Sample]:
    """A first sync and one without a change."""
    station = Syncing(directory, upstream.url)
    ends: list[dict[str, str]] = []

    def sync() -> None:
        live = ends[-1]["revision"] if ends else None
        ends.append(asyncio.run(station.run(live=live)))

    first, second = measure(upstream, sync), measure(upstream, sync)
    assert [end["event"] for end in ends] == ["staged", "unchanged"], ends
    return first, second


def reposync(directory: Path, upstream: Upstream) -> tuple[Sample, Sample]:
    """The same by dnf."""
    dnf = Dnf(directory / "dnf")
    dnf.repo("base", baseurl=upstream.url)
    words = ("--repoid=base", f"--download-path={directory}/mirror", "--download-metadata")

    def sync() -> None:
        dnf.run("reposync", *words).check()

    first, second = measure(upstream, sync), measure(upstream, sync)
    count = len(list((directory / "mirror").rglob("*.rpm")))
    assert count > PACKAGES, f"{count} packages"
    return first, second


def report(name: str, station: list[Sample], dnf: list[Sample]) -> None:
    """One line: the ratio of times, the ratio of CPU, and what they are made of."""
    texts, times, costs = [], [], []
    for who, samples in (("station", station), ("dnf reposync", dnf)):
        times.append(statistics.median(sample.seconds for sample in samples))
        costs.append(statistics.median(sample.cpu for sample in samples))
        texts.append(
            f"{who} {times[-1]:.2f} s, CPU {costs[-1]:.2f} s, {samples[-1].requests} requests"
        )
    print(
        f"{name:24} x{times[1] / times[0]:.2f} as fast, CPU x{costs[0] / costs[1]:.2f} | "
        + " | ".join(texts),
        flush=True,
    )


def main() -> int:
    """Run and print; a sync that fails ends the bench with a traceback."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        directory = Path(name)
        repository: Repository = build_repository(directory / "upstream", packages=PACKAGES)
        samples: dict[str, list[tuple[Sample, Sample]]] = {"station": [], "dnf": []}
        with nginx(directory, repository.root) as upstream:
            for number in range(options.runs):
                samples["station"].append(ours(directory / f"station-{number}", upstream))
                samples["dnf"].append(reposync(directory / f"dnf-{number}", upstream))
    for index, what in enumerate((f"{PACKAGES} packages, first", "nothing changed")):
        report(what, *([pair[index] for pair in pairs] for pairs in samples.values()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
