"""No dnf command ever fails: the base at full length, with each balancer."""

from contextlib import nullcontext
from pathlib import Path

import pytest

from tests.integration.haproxy import Haproxy
from tests.integration.lab import LabUnderTest
from tests.integration.never_fails import Plan, Scenario

# Ten minutes by themselves; beside two other tests the thousand commands take longer.
BASE = Plan(seconds=60, longest_s=1500, flips=100, commands=1000, straddling=100, held=50)

pytestmark = [pytest.mark.accept, pytest.mark.timeout(1800)]


@pytest.mark.parametrize("balancer", ["haproxy", "lbproxy"])
def test_base(balancer: str, tmp_path: Path) -> None:
    with (
        LabUnderTest("127.42.1") as lab,
        Haproxy(lab) if balancer == "haproxy" else nullcontext(),
        Scenario(lab, tmp_path, revisions=500, source="never") as scenario,
    ):
        scenario.run(f"base with {balancer}", BASE).check(BASE)
