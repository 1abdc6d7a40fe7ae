"""From nothing to the first package: a source with 2,000 packages is of use long before it is mirrored."""

import time
from pathlib import Path

import pytest

from tests.integration.dnf import Dnf
from tests.integration.lab import LabUnderTest
from tests.integration.repositories import build_repository
from tests.integration.upstream import Upstream

NETWORK = "127.42.20"
PACKAGES = 2000
ROUND_TRIP_S = 0.05  # to the vendor: the sync would else be over before dnf is
FIRST_USE_S = 5.0

pytestmark = [pytest.mark.accept, pytest.mark.alone, pytest.mark.timeout(600)]


def test_a_package_is_installed_seconds_after_the_profile_was_created(tmp_path: Path) -> None:
    repository = build_repository(tmp_path / "upstream", packages=PACKAGES)
    with Upstream(repository.root) as upstream, LabUnderTest(NETWORK) as lab:
        upstream.fault(r"\.rpm$", "delay", ROUND_TRIP_S)
        a = lab.stations[0]
        a.tell("POST", "/sources", {"id": "s", "url": upstream.url})
        dnf = Dnf(tmp_path / "client")
        dnf.repo("s", mirrorlist=f"{lab.http}/mirrorlist/s/p")
        began = time.monotonic()
        a.tell("POST", "/profiles", {"name": "p", "station": a.name, "sources": ["s"]})
        created = time.monotonic() - began
        run = dnf.install("lab-0001").check()
        took = time.monotonic() - began
        rows = {station.name: station.mirrors()["s"] for station in lab.stations}
        states = {name: " ".join((row["state"], row["error"])) for name, row in rows.items()}
        print(
            f"\nfirst use: {took:.2f} s from the profile to the installed package of {PACKAGES} "
            f"(the profile {created:.2f} s, dnf itself {run.duration_s:.2f} s); then {states}"
        )
        assert not any(row["state"] == "SYNCED" for row in rows.values()), "the sync goes on"
        assert took <= FIRST_USE_S
        lab.wait_synced("s", deadline_s=120.0)
