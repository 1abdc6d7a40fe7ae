"""Downloads end whole, whatever happens meanwhile: their station dies, the revision changes, a herd comes."""

import hashlib
import re
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.files_lab import header, read_answer
from tests.integration.herd import MemoryWatch, stampede
from tests.integration.lab import LabUnderTest, StationUnderTest, wait_until
from tests.integration.one_station import OneStation
from tests.integration.repositories import Repository, build_repository
from tests.integration.upstream import Upstream

NETWORK = "127.42.16"
ALONE = "127.42.17.11"
LARGE_BYTES = 8_000_000
CUT_AFTER = 3_000_000
DOWNLOADS = 200
UPSTREAM_BYTES_PER_S = 10_000_000
MEMORY_MIB = 32.0
CROWD = 300
CROWD_BYTES = 40_000
CROWD_BYTES_PER_S = 40_000


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Repository:
    return build_repository(
        tmp_path_factory.mktemp("upstream"), packages=1, size=LARGE_BYTES, prefix="large"
    )


@pytest.fixture(scope="module")
def lab(upstream: Upstream) -> Iterator[LabUnderTest]:
    with LabUnderTest(NETWORK, "--stations", "2") as running:
        running.stations[0].mirror("s", upstream.url, "p")
        running.wait_synced("s")
        yield running


def large(repository: Repository) -> Path:
    """The package as the upstream has it now."""
    (found,) = [path for path in repository.rpms() if path.name.startswith("large-0001")]
    return found


def curl(*arguments: str) -> "subprocess.CompletedProcess[str]":
    command = ["curl", "-sS", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def validators(url: str) -> dict[str, str]:
    """ETag and Last-Modified of a file."""
    head = curl("-I", url).stdout
    found = dict(re.findall(r"(?im)^(etag|last-modified): (.*?)\r?$", head))
    assert len(found) == 2, head
    return found


def test_a_download_cut_on_one_station_is_resumed_on_another_through_the_balancer(
    lab: LabUnderTest, repository: Repository, tmp_path: Path
) -> None:
    a, b = lab.stations
    package = large(repository)
    path = f"/repo/s/{package.name}"
    assert validators(f"http://{a.host}:17080{path}") == validators(f"http://{b.host}:17080{path}")
    target = tmp_path / "package"
    with begin(a, package.name) as sock:
        while b"\r\n\r\n" not in (head := sock.recv(64 * 1024, socket.MSG_PEEK)):
            pass
        sock.recv(head.index(b"\r\n\r\n") + 4)
        begun = b""
        while len(begun) < CUT_AFTER:
            begun += sock.recv(CUT_AFTER - len(begun))
    target.write_bytes(begun)
    had = len(begun)
    assert 0 < had < package.stat().st_size
    a.kill_all()
    try:
        # The balancer may learn of the death by this very request.
        again = ("--retry", "3", "--retry-all-errors", "--retry-delay", "0")
        done = curl(
            *("-f", "-C", "-", *again, "-w", "%{http_code}", "-o", str(target)), lab.http + path
        )
        assert (done.returncode, done.stdout) == (0, "206"), done.stderr
    finally:
        a.start_again()
    wait_until("ready again", lambda: (a.ask("/status") or {}).get("ready"), 30.0)
    assert sha256_of(target.read_bytes()) == sha256_of(package.read_bytes())
    print(f"{had} of {package.stat().st_size} bytes came from A, the rest from B")


def sha256_of(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def begin(station: StationUnderTest, name: str) -> socket.socket:
    """A client that has asked and reads nothing yet."""
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 * 1024)
    sock.settimeout(30)
    sock.connect((station.host, 17080))
    sock.sendall(f"GET /repo/s/{name} HTTP/1.1\r\nHost: h\r\n\r\n".encode())
    return sock


def test_downloads_that_run_while_a_revision_is_published_end_with_the_old_bytes(
    lab: LabUnderTest, repository: Repository
) -> None:
    old = large(repository)
    content = old.read_bytes()
    socks = [begin(lab.stations[n % 2], old.name) for n in range(DOWNLOADS)]
    try:
        repository.bump(update=1)
        lab.stations[0].tell("POST", "/mirrors/sync", {"sources": ["s"]})
        new = large(repository)
        assert new.name != old.name

        def is_shown(station: StationUnderTest) -> bool:
            return curl(f"http://{station.host}:17080/repo/s/repodata/repomd.xml").stdout == (
                repository.repomd.decode()
            )

        wait_until("the new revision is live", lambda: all(map(is_shown, lab.stations)), 30.0)
        expected = sha256_of(content)
        for sock in socks:
            head, body = read_answer(sock)
            assert sha256_of(body) == expected, head
    finally:
        for sock in socks:
            sock.close()
    for station in lab.stations:
        with begin(station, old.name) as sock:
            head, body = read_answer(sock)
            assert (header(head, "ETag"), sha256_of(body)) == (f'"{expected}"', expected)
    print(f"{DOWNLOADS} downloads of {len(content)} bytes ended whole over a flip")


def test_a_herd_at_a_new_station_costs_one_fetch(
    upstream: Upstream, repository: Repository
) -> None:
    """All ask as soon as it is published; the sync and the clients' fill want the same file."""
    package = large(repository)
    size = package.stat().st_size
    with OneStation(ALONE).start() as station:
        upstream.forget()
        upstream.fault(r"large-0001", "drip", UPSTREAM_BYTES_PER_S)
        station.admin.tell("POST", "/sources", {"id": "s", "url": upstream.url})
        profile = {"name": "p", "station": "StationA", "sources": ["s"]}
        station.admin.tell("POST", "/profiles", profile)
        wait_until("it is published", lambda: station.answers("/mirrorlist/s/p"), 20.0)
        with MemoryWatch(station.pid) as memory:
            result = stampede(ALONE, [f"/repo/s/{package.name}"], 50, 40.0)
        upstream.heal()
        fetched = upstream.requests(re.escape(package.name))
        print(
            f"50 clients, {size} bytes: {result.whole} whole after {result.slowest_s:.1f} s, "
            f"{len(fetched)} fetches, memory +{memory.growth:.1f} MiB"
        )
        assert (result.whole, result.statuses) == (50, {200: 50})
        assert result.sha256s == {sha256_of(package.read_bytes())}
        assert len(fetched) == 1
        assert memory.growth <= MEMORY_MIB


def test_a_herd_that_wants_more_files_than_are_fetched_at_one_time_gets_them_all(
    tmp_path: Path,
) -> None:
    """Those beyond wait for their turn; none is told that its file cannot be had."""
    repository = build_repository(
        tmp_path / "crowd", packages=CROWD, size=CROWD_BYTES, prefix="crowd"
    )
    paths = [f"/repo/s/{path.name}" for path in repository.rpms()]
    with Upstream(repository.root) as upstream, OneStation(ALONE).start() as station:
        upstream.fault(r"crowd-", "drip", CROWD_BYTES_PER_S)
        station.admin.tell("POST", "/sources", {"id": "s", "url": upstream.url})
        profile = {"name": "p", "station": "StationA", "sources": ["s"]}
        station.admin.tell("POST", "/profiles", profile)
        wait_until("it is published", lambda: station.answers("/mirrorlist/s/p"), 20.0)
        result = stampede(ALONE, paths, len(paths), 40.0)
    print(f"{len(paths)} files: {result.whole} whole after {result.slowest_s:.1f} s")
    assert (result.whole, result.statuses) == (len(paths), {200: len(paths)})
