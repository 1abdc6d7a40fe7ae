"""Everything bad at one time, in 512 MiB: no process of the station dies, and honest clients are served."""

import contextlib
import gzip
import hashlib
import os
import shutil
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from tests.integration.abuse import MALFORMED, MODES, besiege, flood
from tests.integration.lab import descendants, wait_until
from tests.integration.load import Load
from tests.integration.one_station import OneStation
from tests.integration.repositories import build_repository
from tests.integration.upstream import Upstream

ADDRESS = "127.54.1.1"
LIMIT_BYTES = 512 * 1024 * 1024
SECONDS = 60
EACH = 500
BOMB_BYTES = 1 << 30
MEMORY = Path("/sys/fs/cgroup/memory")

# All clients of a test have one address; what one address may have is another test's matter.
CONFIG = "[limits]\nper_address = 100000\n"

pytestmark = [
    pytest.mark.accept,
    pytest.mark.alone,
    pytest.mark.timeout(600),
    pytest.mark.skipif(
        not (os.access(MEMORY, os.W_OK) and shutil.which("slowhttptest") and shutil.which("wrk")),
        reason="a cgroup (version 1) for the memory, slowhttptest, wrk",
    ),
]


class Cage:
    """A cgroup with a memory limit, without swap where the kernel counts it."""

    def __init__(self) -> None:
        self._path = MEMORY / f"station-test-{os.getpid()}"
        self._path.mkdir()
        self._write("memory.limit_in_bytes", LIMIT_BYTES)
        with contextlib.suppress(OSError):
            self._write("memory.memsw.limit_in_bytes", LIMIT_BYTES)

    def take(self, pid: int) -> None:
        """This process and its children to come."""
        self._write("cgroup.procs", pid)

    def peak_mib(self) -> float:
        """The most that it had, the kernel's cache of files included."""
        return int((self._path / "memory.max_usage_in_bytes").read_text()) / 2**20

    def resident_mib(self) -> float:
        """What its processes have now."""
        for line in (self._path / "memory.stat").read_text().splitlines():
            if line.startswith("total_rss "):
                return int(line.split()[1]) / 2**20
        raise AssertionError("memory.stat has no total_rss")

    def kills(self) -> int:
        """How often the kernel ended one of its processes for want of memory."""
        for line in (self._path / "memory.oom_control").read_text().splitlines():
            if line.startswith("oom_kill "):
                return int(line.split()[1])
        raise AssertionError("memory.oom_control does not count")

    def close(self) -> None:
        """When it is empty."""
        wait_until("the cage is empty", lambda: not (self._path / "cgroup.procs").read_text(), 10.0)
        self._path.rmdir()

    def _write(self, name: str, value: int) -> None:
        (self._path / name).write_text(str(value))


@pytest.fixture
def station(tmp_path: Path) -> Iterator[tuple[OneStation, Cage]]:
    cage = Cage()
    with contextlib.closing(cage), OneStation(ADDRESS, more=CONFIG) as station:
        station.start()
        cage.take(station.pid)
        before = set(descendants(station.pid))
        os.kill(station.pid, signal.SIGHUP)  # all children anew, inside
        wait_until("reloaded", lambda: not before & set(descendants(station.pid)), 60.0)
        wait_until("ready", station.is_ready, 30.0)
        yield station, cage


def bomb(root: Path) -> None:
    """Metadata of a gibibyte in a mebibyte, whose checksums are right."""
    (root / "repodata").mkdir(parents=True)
    head = b'<?xml version="1.0"?>\n<metadata xmlns="http://linux.duke.edu/metadata/common" packages="1">'
    digest, path = hashlib.sha256(head), root / "repodata/primary.xml.gz"
    blanks = b" " * (1 << 20)
    with gzip.GzipFile(path, "wb", mtime=0) as packed:
        packed.write(head)
        for _ in range(BOMB_BYTES // len(blanks)):
            packed.write(blanks)
            digest.update(blanks)
    data = path.read_bytes()
    (root / "repodata/repomd.xml").write_text(
        '<?xml version="1.0"?>\n<repomd xmlns="http://linux.duke.edu/metadata/repo"><revision>1</revision>'
        f'<data type="primary"><checksum type="sha256">{hashlib.sha256(data).hexdigest()}</checksum>'
        f'<open-checksum type="sha256">{digest.hexdigest()}</open-checksum>'
        '<location href="repodata/primary.xml.gz"/><timestamp>1700000000</timestamp>'
        f"<size>{len(data)}</size><open-size>{BOMB_BYTES}</open-size></data></repomd>"
    )


def order_bombs(station: OneStation, bombs: Upstream, endless: Upstream) -> None:
    """Sources whose upstreams are hostile, and who goes on asking for them."""
    endless.fault(r"\.rpm$", "chunked", 1_000_000)
    bombs.fault(r"doctype/repodata/repomd\.xml$", "body", b"<!DOCTYPE r [<!ENTITY a 'aaaa'>]>" * 9)
    urls = {"gz": f"{bombs.url}gz/", "doctype": f"{bombs.url}doctype/", "endless": endless.url}
    for name, url in urls.items():
        station.admin.tell("POST", "/sources", {"id": name, "url": url})
    profile = {"name": "hostile", "station": "StationA", "sources": list(urls)}
    station.admin.tell("POST", "/profiles", profile)


def half_said(port: int, first: bytes, ends: float) -> None:
    """EACH clients who say no more than that, again as soon as they are ended."""
    socks: list[socket.socket] = []
    while time.monotonic() < ends:
        for sock in socks:
            sock.close()
        socks = []
        for _ in range(EACH):
            with contextlib.suppress(OSError):
                sock = socket.create_connection((ADDRESS, port), timeout=5)
                socks.append(sock)
                sock.sendall(first)
        time.sleep(min(12.0, max(0.0, ends - time.monotonic())))
    for sock in socks:
        sock.close()


def test_all_bombs_at_once_in_half_a_gibibyte(
    station: tuple[OneStation, Cage], tmp_path: Path
) -> None:
    one, cage = station
    good = build_repository(tmp_path / "good", packages=5, size=200_000)
    # Other packages: those of the good one are in the pool, and would not be asked for.
    other = build_repository(tmp_path / "other", packages=3, size=300_000)
    bomb(tmp_path / "bombs/gz")
    ends = time.monotonic() + SECONDS
    url = f"http://{ADDRESS}:17080"
    with (
        Upstream(good.root) as upstream,
        Upstream(tmp_path / "bombs") as bombs,
        Upstream(other.root) as endless,
    ):
        one.mirror("good", upstream.url)
        there = set(one.children("station.serve") + one.children("station.control.main"))
        small, big = "/repo/good/repodata/repomd.xml", f"/repo/good/Packages/{good.rpms()[0].name}"
        if not one.answers(big):
            big = small
        misdeeds: list[Callable[[], object]] = [
            *(
                partial(besiege, url + big, mode, connections=EACH, at_most_s=SECONDS)
                for mode in MODES
            ),
            lambda: flood(url + small, next(iter(MALFORMED)), tmp_path, seconds=SECONDS),
            lambda: half_said(17443, b"\x16\x03\x01\x02\x00\x01\x00", ends),
            lambda: half_said(16080, b"CONNECT h:443 HTTP/1.1\r\nX: " + b"y" * 16_000, ends),
            lambda: half_said(17080, b"GET / HTTP/1.1\r\nX: " + b"y" * 16_000, ends),
        ]
        threads = [threading.Thread(target=misdeed) for misdeed in misdeeds]
        with Load([url + small], threads=2, pause_s=0.05) as honest:
            for thread in threads:
                thread.start()
            order_bombs(one, bombs, endless)
            for thread in threads:
                thread.join()
            resident = cage.resident_mib()
        rows = one.admin.mirrors()
    print(
        f"peak {cage.peak_mib():.0f} MiB with cache, {resident:.0f} MiB resident at the end; honest: "
        f"{honest.count} answers, p99 {honest.percentile(0.99):.3f} s; "
        f"{[(name, row['state']) for name, row in rows.items()]}"
    )
    assert cage.kills() == 0
    assert there <= set(descendants(one.pid)), "a worker or control died"
    assert not honest.failures
    assert honest.count > 100
    assert honest.percentile(0.99) <= 5.0  # the misdeeds' own programs want the two cores as well
    assert {name for name, row in rows.items() if row["state"] == "SYNCED"} == {"good"}
