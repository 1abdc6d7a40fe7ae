"""No dnf command ever fails: a changing signed upstream, haproxy by random, a kill and a freeze, four clients."""

import signal
from pathlib import Path

import pytest

from tests.integration.haproxy import Haproxy
from tests.integration.lab import LabUnderTest, kill
from tests.integration.never_fails import Blow, Plan, Scenario

NETWORK = "127.41.7"
FREEZE_S = 8.0


@pytest.mark.alone
@pytest.mark.timeout(180)
def test_no_command_fails_while_upstream_changes_one_station_is_killed_and_one_is_frozen(
    tmp_path: Path,
) -> None:
    plan = Plan(seconds=45, longest_s=60, flips=6, commands=30, straddling=5, held=2)
    with (
        LabUnderTest(NETWORK) as lab,
        Haproxy(lab),
        Scenario(lab, tmp_path, revisions=40, source="never") as scenario,
    ):
        killed, frozen = lab.stations[1], lab.stations[2]

        def freeze(number: signal.Signals) -> None:
            for pid in frozen.processes():
                kill(pid, number)

        blows = [
            Blow(8, killed.kill_all),
            Blow(12, killed.start_again),
            Blow(24, lambda: freeze(signal.SIGSTOP)),
            Blow(24 + FREEZE_S, lambda: freeze(signal.SIGCONT)),
        ]
        result = scenario.run("mixed, haproxy", plan, blows)
        result.check(plan)
