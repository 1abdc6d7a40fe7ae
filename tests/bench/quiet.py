"""How late the last 1 % of requests of 8 KiB are while syncs run on the same machine, against the same alone.

Two files workers, the client, sync children as control starts them, and their upstream share all cores. The upstream
has the sync's own low priority: it would be another machine.
"""

import asyncio
import contextlib
import statistics
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

from station.sync.job import NICENESS
from tests.bench.files import BOTH_CORES, station
from tests.bench.measuring import is_chosen, options
from tests.bench.servers import Server
from tests.bench.sync import Upstream, nginx
from tests.bench.wrk import Result, wrk
from tests.integration.repositories import build_repository
from tests.integration.syncing import Syncing

NAME, MOST, AIM = "p99 of 8 KiB during a sync", 3.0, 1.3
CONNECTIONS, PACKAGES = 32, 500


class Syncs:
    """Full syncs into empty directories, one after the other."""

    def __init__(self, directory: Path, upstream: Upstream) -> None:
        self.finished = 0
        self._directory, self._upstream = directory, upstream
        self._started = 0

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """They run while the block does; the one that is under way at its end is finished."""
        stop = threading.Event()
        thread = threading.Thread(target=self._run, args=(stop,))
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()

    def _run(self, stop: threading.Event) -> None:
        while not stop.is_set():
            self._started += 1
            station = Syncing(self._directory / str(self._started), self._upstream.url)
            end = asyncio.run(station.run())
            assert end["event"] == "staged", end
            self.finished += 1


def main(arguments: list[str] | None = None) -> int:
    """Print the row; 1 when the ratio is above what is acceptable."""
    chosen = options(__doc__, arguments)
    if not is_chosen(NAME, chosen.only):
        return 0

    def ask(server: Server) -> Result:
        url = f"http://127.0.0.1:{server.http}{server.base}8k"
        return wrk(url, CONNECTIONS, chosen.seconds, core=BOTH_CORES)

    alone, during = [], []
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        directory = Path(name)
        repository = build_repository(directory / "upstream", packages=PACKAGES)
        (directory / "syncs").mkdir()
        with (
            nginx(directory, repository.root, niceness=NICENESS) as upstream,
            station(directory / "station", None, cores=BOTH_CORES, workers=2) as server,
        ):
            syncs = Syncs(directory / "syncs", upstream)
            for _ in range(chosen.runs):
                alone.append(ask(server))
                with syncs.running():
                    during.append(ask(server))
    a, b = (statistics.median(run.p99_ms for run in runs) for runs in (during, alone))
    rate, rate_alone = (
        statistics.median(run.requests / run.seconds for run in runs) for runs in (during, alone)
    )
    print(
        f"{NAME:32} x{a / b:.2f} (most {MOST:.2f}, aim {AIM:.2f}) {'ok' if a / b <= MOST else 'BELOW':5} "
        f"during {a:.2f} ms at {rate:,.0f}/s | alone {b:.2f} ms at {rate_alone:,.0f}/s | "
        f"{syncs.finished} syncs of {PACKAGES} packages",
        flush=True,
    )
    return int(a / b > MOST)


if __name__ == "__main__":
    sys.exit(main())
