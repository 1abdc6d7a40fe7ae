"""What is served freezes: for everybody by a source's freeze, for one profile by its own."""

import re
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.dnf import Dnf
from tests.integration.lab import LabUnderTest, wait_until
from tests.integration.repositories import Repository, build_repository
from tests.integration.upstream import Upstream

NETWORK = "127.42.12"
FLIP_S = 20.0


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Repository:
    return build_repository(tmp_path_factory.mktemp("upstream"), packages=4)


@pytest.fixture(scope="module")
def lab(upstream: Upstream) -> Iterator[LabUnderTest]:
    with LabUnderTest(NETWORK, "--stations", "2") as running:
        running.stations[0].mirror("base", upstream.url, "web", "db")
        running.wait_synced("base")
        yield running


def live(lab: LabUnderTest) -> set[str]:
    return {station.mirrors()["base"]["revision"] for station in lab.stations}


def pinned(lab: LabUnderTest, profile: str) -> set[str]:
    """The revision in the mirrorlist that each station hands to the instances of a profile."""
    found = set()
    for station in lab.stations:
        url = f"http://{station.host}:17080/mirrorlist/base/{profile}"
        with urllib.request.urlopen(url, timeout=10) as answer:
            found |= set(re.findall(r"@([0-9a-f]{64})/", answer.read().decode()))
    return found


def bump(lab: LabUnderTest, repository: Repository) -> str:
    """The upstream changes, and some station has it whole; the new revision."""
    a = lab.stations[0]
    before = {row["revision"] for row in a.ask("/mirrors/base/revisions")}
    repository.bump(update=1)
    a.tell("POST", "/mirrors/sync", {"sources": ["base"]})

    def fresh() -> set[str]:
        return {
            row["revision"]
            for s in lab.stations
            for row in s.ask("/mirrors/base/revisions")
            if row["complete"]
        } - before

    wait_until("the new revision is whole somewhere", fresh, FLIP_S)
    (found,) = fresh()
    return found


def test_a_frozen_source_stays_as_it_is_while_syncs_go_on(
    lab: LabUnderTest, repository: Repository, tmp_path: Path
) -> None:
    a, b = lab.stations
    (before,) = live(lab)
    a.tell("POST", "/sources/base/freeze", {})
    fresh = bump(lab, repository)
    time.sleep(4.0)  # longer than a flip takes
    assert live(lab) == {before}
    assert pinned(lab, "web") == {before}
    dnf = Dnf(tmp_path)
    dnf.repo("base", mirrorlist=f"{lab.http}/mirrorlist/base/web")
    dnf.install("lab-all").check()
    b.tell("POST", "/sources/base/unfreeze")
    took = wait_until("the newest is live", lambda: live(lab) == {fresh}, FLIP_S)
    print(f"unfrozen: the newest was live everywhere after {took:.1f} s")


def test_a_frozen_profile_stays_while_the_others_go_on(
    lab: LabUnderTest, repository: Repository, tmp_path: Path
) -> None:
    a, b = lab.stations
    (before,) = live(lab)
    a.tell("POST", "/profiles/web/freeze", {})
    wait_until("known to both", lambda: b.ask("/profiles/web")["frozen"] == {"base": before}, 5.0)
    fresh = bump(lab, repository)
    wait_until("the new revision is live", lambda: live(lab) == {fresh}, FLIP_S)
    assert pinned(lab, "web") == {before}
    assert pinned(lab, "db") == {fresh}
    kept = {row["revision"]: row["kept"] for row in b.ask("/mirrors/base/revisions")}
    assert (kept[before], kept[fresh]) == ("frozen", "live")
    dnf = Dnf(tmp_path)
    dnf.repo("base", mirrorlist=f"{lab.http}/mirrorlist/base/web")
    dnf.install("lab-all").check()
    b.tell("POST", "/profiles/web/unfreeze", {"source": "base"})
    wait_until("web follows", lambda: pinned(lab, "web") == {fresh}, 5.0)


def test_a_source_is_frozen_at_an_older_revision_and_for_a_while(
    lab: LabUnderTest,
) -> None:
    a = lab.stations[0]
    (newest,) = live(lab)
    older = next(
        row["revision"]
        for row in a.ask("/mirrors/base/revisions")
        if row["revision"] != newest and row["complete"]
    )
    until = time.time() + 8.0
    a.tell("POST", "/sources/base/freeze", {"revision": older, "until": until})
    wait_until("the older one is live", lambda: live(lab) == {older}, 7.0)
    wait_until("its time is over", lambda: live(lab) == {newest}, FLIP_S)
