"""A dead station's machine is gone: another one takes its place, from its peers and with one token."""

import shutil
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from station.config.parse import parse_config
from station.peering.join import JoinRefused, facts_of
from station.setup.station_toml import render_station_toml
from tests.integration.dnf import Dnf
from tests.integration.lab import LabUnderTest, StationUnderTest, wait_until
from tests.integration.repositories import build_repository
from tests.integration.upstream import Upstream

NETWORK = "127.47.1"
NEW_ADDRESS = f"{NETWORK}.21"
FIRST_ANSWER_S = 5.0
PACKAGES, PACKAGE_BYTES = 30, 1_000_000

pytestmark = [pytest.mark.timeout(300), pytest.mark.alone]


@pytest.fixture(scope="module")
def upstream(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Upstream]:
    root = tmp_path_factory.mktemp("upstream")
    repository = build_repository(root, packages=PACKAGES, size=PACKAGE_BYTES)
    with Upstream(repository.root) as server:
        yield server


@pytest.fixture(scope="module")
def lab(upstream: Upstream) -> Iterator[LabUnderTest]:
    with LabUnderTest(NETWORK, "--upstream", upstream.url) as running:
        yield running


def station_command(*arguments: str, token: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "station", *arguments],
        input=f"{token}\n",
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def token_of(station: StationUnderTest) -> str:
    token: str = station.tell("POST", "/group/token")["token"]
    return token


def new_machine(station: StationUnderTest) -> Path:
    """The disk is empty, and the address another; what is left of the old one is its configuration."""
    shutil.rmtree(station.config.parent / "state")
    shutil.rmtree(station.storage)
    text = station.config.read_text(encoding="utf-8")
    station.config.write_text(text.replace(station.host, NEW_ADDRESS), encoding="utf-8")
    return station.config


def first_package(host: str, source: str) -> bytes:
    """Metadata through the new machine, and its first answer to a client."""
    with urllib.request.urlopen(
        f"http://{host}:17080/repo/{source}/repodata/repomd.xml", timeout=5
    ) as answer:
        return bytes(answer.read())


def answers(host: str, source: str) -> bool:
    try:
        return b"<repomd" in first_package(host, source)
    except OSError:
        return False


def is_missed(name: str, token: str, keeper: StationUnderTest) -> bool:
    """Whether the name may be taken over."""
    try:
        facts_of(name, token, keeper.host)
    except JoinRefused:
        return False
    return True


def bytes_in(storage: Path) -> int:
    return sum(path.stat().st_size for path in storage.glob("pool/*/*"))


def test_a_station_that_is_present_is_not_replaced(lab: LabUnderTest) -> None:
    keeper, other = lab.stations[0], lab.stations[1]
    with pytest.raises(JoinRefused, match="which is present"):
        facts_of(other.name, token_of(keeper), keeper.host)
    with pytest.raises(JoinRefused, match="no station 'Nobody'"):
        facts_of("Nobody", token_of(keeper), keeper.host)


def test_replaced_station_answers_at_once_and_is_whole_again_without_the_upstream(
    lab: LabUnderTest, upstream: Upstream, tmp_path: Path
) -> None:
    keeper, victim = lab.stations[0], lab.stations[1]
    source = lab.facts["sources"][0]
    whole = bytes_in(keeper.storage)
    assert whole > PACKAGES * PACKAGE_BYTES
    victim.kill_all()
    token = token_of(keeper)
    wait_until("the others miss it", lambda: is_missed(victim.name, token, keeper), 30.0)
    config = new_machine(victim)
    group, record = facts_of(victim.name, token, keeper.host)
    told, kept = parse_config(render_station_toml(group, record)), parse_config(config.read_text())
    assert (told.proxy, told.mirror, told.peer) == (kept.proxy, kept.mirror, kept.peer)
    upstream.forget()
    began = time.monotonic()
    words = ("replace", victim.name, "-", keeper.host, "--config", str(config))
    done = station_command(*words, token=token)
    assert done.returncode == 0, done.stderr
    victim.start_again()
    wait_until("its first answer", lambda: answers(NEW_ADDRESS, source), 30.0)
    took, here = time.monotonic() - began, bytes_in(victim.storage)
    dnf = Dnf(tmp_path)
    dnf.repo("direct", baseurl=f"http://{NEW_ADDRESS}:17080/repo/{source}/")
    dnf.install("lab-all").check()
    wait_until("it is whole again", lambda: bytes_in(victim.storage) >= whole, 60.0)
    lab.wait_synced(source)
    print(f"first answer {took:.2f} s after the command, with {here} of {whole} bytes on its disk")
    assert took <= FIRST_ANSWER_S
    assert not upstream.requests(r"\.rpm$|primary")
    for station in lab.stations:
        rows = {row["name"]: row["address"] for row in station.ask("/stations")}
        assert rows[victim.name] == NEW_ADDRESS
    used = station_command(*words, token=token)
    assert used.returncode == 2
    assert "already belongs to station" in used.stderr
