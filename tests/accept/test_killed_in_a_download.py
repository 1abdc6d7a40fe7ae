"""The station that serves a download is killed, and another one serves the rest, by way of HAProxy, to real clients."""

import gzip
import hashlib
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from urllib.request import urlopen
from xml.etree import ElementTree

import pytest

from tests.integration.haproxy import Haproxy
from tests.integration.lab import LabUnderTest, StationUnderTest, wait_until
from tests.integration.repositories import Repository, build_repository
from tests.integration.test_downloads import validators
from tests.integration.test_lifecycle import is_ready
from tests.integration.upstream import Upstream

NETWORK = "127.56.2"
SOURCE = "upstream"
PACKAGE_BYTES = 32_000_000
RATE = 3_000_000
SEEN_BYTES = 2_000_000  # has arrived when the station is killed
COMMAND_S = 60.0
ESTABLISHED = "01"
REPO = "{http://linux.duke.edu/metadata/repo}"
COMMON = "{http://linux.duke.edu/metadata/common}"

# How each begins, slowly and with one try, and how its user goes on after it failed. What it says has the status.
CLIENTS = {
    "curl": (
        f"curl -sS -f --limit-rate {RATE} -o package URL",
        "curl -sS -f -C - --retry 3 --retry-all-errors -w %{http_code} -o package URL",
    ),
    "wget": (
        f"wget -q --tries=1 --limit-rate={RATE} -O package URL",
        "wget -S -c -O package URL",
    ),
    "aria2c": (
        f"aria2c -q --max-tries=1 -x1 -s1 --file-allocation=none --max-download-limit={RATE} -o package URL",
        "aria2c -c -x1 -s1 --log=- --log-level=info -o package URL",
    ),
}

pytestmark = [
    pytest.mark.accept,
    pytest.mark.timeout(240),
    pytest.mark.skipif(
        not all(map(shutil.which, ("haproxy", "rpmbuild", "createrepo_c", *CLIENTS))),
        reason=f"haproxy, rpmbuild, createrepo_c, {', '.join(CLIENTS)}",
    ),
]


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Repository:
    return build_repository(tmp_path_factory.mktemp("upstream"), packages=1, size=PACKAGE_BYTES)


@pytest.fixture(scope="module")
def lab(repository: Repository) -> Iterator[LabUnderTest]:
    with (
        Upstream(repository.root) as upstream,
        LabUnderTest(NETWORK, "--stations", "2", "--upstream", upstream.url) as running,
        Haproxy(running),
    ):
        yield running


def connections(station: StationUnderTest) -> set[str]:
    """Established connections to its http port, each by the other end."""
    here = (
        "".join(f"{int(part):02X}" for part in reversed(station.host.split("."))) + f":{17080:04X}"
    )
    rows = (line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:])
    return {row[2] for row in rows if row[1] == here and row[3] == ESTABLISHED}


def serving(lab: LabUnderTest, candidates: list[set[str]]) -> StationUnderTest | None:
    """Whose connection has lasted: health checks come and go."""
    for station, seen in zip(lab.stations, candidates, strict=True):
        seen &= connections(station)
    left = [station for station, seen in zip(lab.stations, candidates, strict=True) if seen]
    return left[0] if len(left) == 1 else None


def run(command: str, url: str, directory: Path) -> "subprocess.Popen[str]":
    words = [url if word == "URL" else word for word in command.split()]
    return subprocess.Popen(
        words, cwd=directory, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip


def get(url: str) -> bytes:
    with urlopen(url, timeout=10) as answer:
        content: bytes = answer.read()
        return content


def checksums_of_packages(base: str) -> dict[str, str]:
    """By location, as the repomd that is shown now leads to them; its own sums hold."""
    repomd = ElementTree.fromstring(get(f"{base}/repodata/repomd.xml"))
    (entry,) = (each for each in repomd if each.get("type") == "primary")
    place, checksum = entry.find(f"{REPO}location"), entry.find(f"{REPO}checksum")
    assert place is not None and checksum is not None
    packed = get(f"{base}/{place.get('href')}")
    assert hashlib.sha256(packed).hexdigest() == checksum.text
    found = {}
    for package in ElementTree.fromstring(gzip.decompress(packed)):
        location, digest = package.find(f"{COMMON}location"), package.find(f"{COMMON}checksum")
        assert location is not None and digest is not None
        found[str(location.get("href"))] = str(digest.text)
    return found


@pytest.mark.parametrize("client", CLIENTS)
def test_a_download_whose_station_is_killed_is_resumed_on_the_other(
    lab: LabUnderTest, repository: Repository, tmp_path: Path, client: str
) -> None:
    package = max(repository.rpms(), key=lambda path: path.stat().st_size)
    path = f"/repo/{SOURCE}/{package.relative_to(repository.root)}"
    target, (begin, go_on) = tmp_path / "package", CLIENTS[client]
    with run(begin, lab.http + path, tmp_path) as first:
        wait_until(
            "it is under way",
            lambda: target.exists() and target.stat().st_size > SEEN_BYTES,
            20.0,
        )
        candidates = [connections(station) for station in lab.stations]
        wait_until("one serves it", lambda: serving(lab, candidates), 10.0)
        killed = serving(lab, candidates)
        assert killed is not None
        killed.kill_all()
        try:
            first.wait(COMMAND_S)
            had = target.stat().st_size
            assert first.returncode and 0 < had < package.stat().st_size
            with run(go_on, lab.http + path, tmp_path) as second:
                said = second.communicate(timeout=COMMAND_S)[0]
            assert second.returncode == 0 and re.search(r"\b206\b", said), said
        finally:
            killed.start_again()
    digest = hashlib.sha256(target.read_bytes()).hexdigest()
    assert digest == hashlib.sha256(package.read_bytes()).hexdigest()
    wait_until("ready again", lambda: is_ready(killed), 30.0)
    of_each = [
        (validators(f"http://{host}:17080{path}"), checksums_of_packages(f"http://{host}:17080/repo/{SOURCE}"))
        for host in (station.host for station in lab.stations)
    ]  # fmt: skip
    assert of_each[0] == of_each[1]
    assert of_each[0][0] == {**of_each[0][0], "ETag": f'"{digest}"'}
    assert of_each[0][1][package.relative_to(repository.root).as_posix()] == digest
    print(f"{client}: {had} of {package.stat().st_size} bytes by {killed.name}, which was killed")
