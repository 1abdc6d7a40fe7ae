"""What pinned URLs are for: two stations that cannot agree for two minutes, a balancer that reaches both."""

import os
from pathlib import Path

import pytest

from tests.integration.cut import Namespace
from tests.integration.haproxy import Haproxy
from tests.integration.lab import LabUnderTest
from tests.integration.never_fails import Blow, Plan, Result, Scenario
from tests.integration.never_fails_clients import ClientKind

NETWORK = "127.42.6"
PEER_PORT = 17946
CUT_S = 120.0
# Signed and unsigned, two of each: all by mirrorlist, whose URLs name the balancer first and the stations after it.
KINDS = tuple(ClientKind(signed, True) for signed in (True, False) for _ in range(2))

pytestmark = [
    pytest.mark.accept,
    pytest.mark.timeout(900),
    pytest.mark.skipif(os.geteuid() != 0, reason="only root makes a network of its own"),
]


def cut_off(tmp_path: Path, name: str, flips: int) -> Result:
    """The side with the lowest name goes on with the upstream; the other stays where it is."""
    plan = Plan(CUT_S + 20.0, flips=flips, commands=30, straddling=5, kinds=KINDS, nice=15)
    with (
        Namespace() as network,
        LabUnderTest(NETWORK, "--stations", "2") as lab,
        Haproxy(lab),
        Scenario(lab, tmp_path, revisions=120, source="never") as scenario,
    ):
        blows = [Blow(10.0, lambda: network.cut(PEER_PORT)), Blow(10.0 + CUT_S, network.heal)]
        result = scenario.run(name, plan, blows)
        assert result.flips >= plan.flips and len(result.commands) >= plan.commands, result
        assert any("showed revision" in said for said in result.downgrades), "they were apart"
        return result


def test_with_them_no_command_fails(tmp_path: Path) -> None:
    result = cut_off(tmp_path, "peer ports cut for two minutes, pinned URLs", 8)
    assert not result.failures, "\n\n".join(c.output for c in result.failures[:5])


def test_without_them_commands_fail(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STATION_FAULTS", "pins-off")
    result = cut_off(tmp_path, "peer ports cut for two minutes, pins off", 3)
    assert result.failures, "the scenario proves nothing"
