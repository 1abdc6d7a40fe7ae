"""No dnf command ever fails: each misfortune of a station that keeps what it has, for three minutes.

The misfortunes of one that loses it are those of test_rebuilt.
"""

import os
import signal
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from tests.integration.haproxy import Haproxy
from tests.integration.lab import LabUnderTest, StationUnderTest, kill
from tests.integration.never_fails import Blow, Plan, Scenario

pytestmark = [pytest.mark.accept, pytest.mark.timeout(900)]

SHORT = Plan(seconds=180, longest_s=300, flips=10, commands=60, straddling=10, nice=15)
FREEZE_S = 20.0
AWAY_S = 5.0
Strike = Callable[[StationUnderTest], None]


def send_all(number: signal.Signals) -> Strike:
    def strike(station: StationUnderTest) -> None:
        for pid in station.processes():
            kill(pid, number)

    return strike


def control_of(station: StationUnderTest) -> list[int]:
    """The pid of its control process."""
    found = []
    for pid in station.processes():
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        if b"station.control.main" in words:
            found.append(pid)
    return found


def freeze_control(station: StationUnderTest) -> None:
    for pid in control_of(station):
        kill(pid, signal.SIGSTOP)


def thaw_control(station: StationUnderTest) -> None:
    for pid in control_of(station):
        kill(pid, signal.SIGCONT)


def restart(station: StationUnderTest) -> None:
    kill(station.pid, signal.SIGTERM)


def start_again(station: StationUnderTest) -> None:
    # Of a restart the old processes must have ended, or the ports are taken.
    for pid in station.processes():
        if os.path.exists(f"/proc/{pid}"):
            kill(pid, signal.SIGKILL)
    station.start_again()


MISFORTUNES: dict[str, tuple[Strike, float, Strike]] = {
    "killed": (StationUnderTest.kill_all, AWAY_S, start_again),
    "frozen": (send_all(signal.SIGSTOP), FREEZE_S, send_all(signal.SIGCONT)),
    "control frozen": (freeze_control, FREEZE_S, thaw_control),
    "restarted": (restart, 25.0, start_again),
}


@pytest.mark.parametrize("misfortune", MISFORTUNES)
def test_each_station_in_turn_is(misfortune: str, tmp_path: Path) -> None:
    strike, lasts_s, mend = MISFORTUNES[misfortune]
    with (
        LabUnderTest("127.42.2") as lab,
        Haproxy(lab),
        Scenario(lab, tmp_path, revisions=150, source="never") as scenario,
    ):
        blows = []
        for number, station in enumerate(lab.stations):
            begins = 10.0 + number * 55.0
            blows.append(Blow(begins, partial(strike, station)))
            blows.append(Blow(begins + lasts_s, partial(mend, station)))
        scenario.run(f"each station in turn {misfortune}", SHORT, blows).check(SHORT)


def test_clocks_that_differ(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first station's clock is right; the others start again with clocks 200 ms behind and ahead."""
    with (
        LabUnderTest("127.42.3") as lab,
        Haproxy(lab),
        Scenario(lab, tmp_path, revisions=150, source="never") as scenario,
    ):
        for station, offset_ms in zip(lab.stations[1:], (-200, 200), strict=True):
            station.kill_all()
            monkeypatch.setenv("STATION_WALL_OFFSET_MS", str(offset_ms))
            station.start_again()
        monkeypatch.delenv("STATION_WALL_OFFSET_MS")
        lab.wait_synced("never")
        scenario.run("clocks -200, 0, +200 ms", SHORT).check(SHORT)
