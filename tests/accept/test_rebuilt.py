"""No dnf command fails while each station in turn loses its storage, its state, or both, and is rebuilt by README."""

import shutil
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from tests.integration.haproxy import Haproxy
from tests.integration.lab import LabUnderTest, StationUnderTest, wait_until
from tests.integration.never_fails import Blow, Plan, Scenario

NETWORK = "127.42.5"
PLAN = Plan(seconds=180, longest_s=300, flips=10, commands=60, straddling=10, nice=15)
EVERY_S = 55.0
FIRST_S = 10.0
WITHOUT_STORAGE_S = 10.0
AWAY_S = 2.0

pytestmark = [pytest.mark.accept, pytest.mark.timeout(900)]


Blows = Callable[[float, StationUnderTest, StationUnderTest], list[Blow]]


def command(*words: str) -> "subprocess.CompletedProcess[str]":
    done = subprocess.run(
        [sys.executable, "-m", "station", *words],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return done


def empty(directory: Path) -> None:
    """A new disk: nothing on it, no marker either."""
    directory.rename(directory.with_name("old-disk"))
    directory.mkdir()
    shutil.rmtree(directory.with_name("old-disk"))


def initialise(station: StationUnderTest) -> None:
    """The operator's step for a new disk."""
    done = command("storage", "init", "--config", str(station.config))
    assert done.returncode == 0, done.stderr


def replace(station: StationUnderTest, keeper: StationUnderTest) -> None:
    """The operator's steps for a machine that lost what it knew: a token, `station replace`, start."""
    token = keeper.tell("POST", "/group/token")["token"]
    words = ("replace", station.name, token, keeper.host, "--config", str(station.config))
    said: list[str] = []

    def is_done() -> bool:
        done = command(*words)
        said.append(done.stderr)
        return done.returncode == 0

    wait_until("replaced", is_done, 30.0)  # refused while the group still sees the name
    station.start_again()


def lose_storage(station: StationUnderTest) -> None:
    station.kill_all()
    empty(station.storage)


def lose_storage_of_a_running_station(station: StationUnderTest) -> None:
    empty(station.storage)


def lose_state(station: StationUnderTest) -> None:
    station.kill_all()
    shutil.rmtree(station.config.parent / "state")


def lose_both(station: StationUnderTest) -> None:
    lose_state(station)
    shutil.rmtree(station.storage)


def scenario_of(tmp_path: Path, name: str, blows_of: Blows) -> None:
    with (
        LabUnderTest(NETWORK) as lab,
        Haproxy(lab),
        Scenario(lab, tmp_path, revisions=150, source="never") as scenario,
    ):
        blows = []
        for number, station in enumerate(lab.stations):
            keeper = lab.stations[number - 1]
            blows += blows_of(FIRST_S + number * EVERY_S, station, keeper)
        scenario.run(name, PLAN, blows).check(PLAN)
        lab.wait_synced("never", deadline_s=60.0)


def storage_blows(at: float, station: StationUnderTest, keeper: StationUnderTest) -> list[Blow]:
    """The first one goes on running while its disk is exchanged; the others start without one."""
    if station.name.endswith("A"):
        lost = [Blow(at, partial(lose_storage_of_a_running_station, station))]
    else:
        lost = [
            Blow(at, partial(lose_storage, station)),
            Blow(at + AWAY_S, station.start_again),
        ]
    return [*lost, Blow(at + WITHOUT_STORAGE_S, partial(initialise, station))]


def state_blows(at: float, station: StationUnderTest, keeper: StationUnderTest) -> list[Blow]:
    return [
        Blow(at, partial(lose_state, station)),
        Blow(at + AWAY_S, partial(replace, station, keeper)),
    ]


def both_blows(at: float, station: StationUnderTest, keeper: StationUnderTest) -> list[Blow]:
    return [
        Blow(at, partial(lose_both, station)),
        Blow(at + AWAY_S, partial(replace, station, keeper)),
    ]


def test_each_storage_is_lost_with_its_marker_and_initialised_anew(tmp_path: Path) -> None:
    scenario_of(tmp_path, "each station's storage lost with its marker", storage_blows)


def test_each_state_is_lost_and_the_station_replaced(tmp_path: Path) -> None:
    scenario_of(tmp_path, "each station's state lost", state_blows)


def test_each_station_loses_both_and_is_replaced(tmp_path: Path) -> None:
    scenario_of(tmp_path, "each station's storage and state lost", both_blows)
