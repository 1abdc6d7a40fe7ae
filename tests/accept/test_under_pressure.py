"""Stations and balancers stop and start again under 200 requests a second, 50 downloads and 200 tunnels."""

import hashlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import nullcontext
from functools import partial
from pathlib import Path

import pytest

from station.app.supervisor import CHECK_PERIOD_S
from station.serve.limits import Limits
from tests.accept.pressure import Amounts, Cut, Pressure
from tests.integration.haproxy import Haproxy
from tests.integration.lab import LabUnderTest, StationUnderTest, wait_until
from tests.integration.repositories import Repository, build_repository
from tests.integration.test_lifecycle import is_gone, is_ready, reload
from tests.integration.upstream import Upstream

NETWORK = "127.56.1"
SOURCE = "upstream"
PACKAGE_BYTES = 16_000_000
SHORTS = [f"/repo/{SOURCE}/repodata/repomd.xml", f"/mirrorlist/{SOURCE}/lab", "/health/live"]
GAP_S = 1.0
DRAIN_S = CHECK_PERIOD_S + Limits().drain_s

pytestmark = [
    pytest.mark.accept,
    pytest.mark.timeout(300),
    pytest.mark.skipif(
        not all(map(shutil.which, ("haproxy", "rpmbuild", "createrepo_c"))),
        reason="haproxy, rpmbuild and createrepo_c",
    ),
]


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Repository:
    return build_repository(tmp_path_factory.mktemp("upstream"), packages=1, size=PACKAGE_BYTES)


@pytest.fixture
def lab(repository: Repository) -> Iterator[LabUnderTest]:
    with (
        Upstream(repository.root) as upstream,
        LabUnderTest(NETWORK, "--stations", "2", "--upstream", upstream.url) as running,
    ):
        yield running


def pressure(lab: LabUnderTest, repository: Repository) -> Pressure:
    package = max(repository.rpms(), key=lambda path: path.stat().st_size)
    path = f"/repo/{SOURCE}/{package.relative_to(repository.root)}"
    content = package.read_bytes()
    return Pressure(lab, path, hashlib.sha256(content).hexdigest(), len(content), SHORTS, Amounts())


def allow(station: StationUnderTest, target: str) -> None:
    """Let tunnels lead there."""
    text = station.config.read_text()
    station.config.write_text(text.replace("[proxy]", f'[proxy]\ndestinations = ["{target}"]'))
    reload(station)


def says_up(log: Path, station: StationUnderTest) -> int:
    """How often the balancer has said, of any port, that a station is up."""
    word = f"{station.name} is up".lower()
    return sum(word in line.lower() for line in log.read_text().splitlines())


def may_have_cut(stopped_at: float, download: Cut) -> bool:
    """Whether a station that was told to stop then was right to cut it: there before the drain, not due in it.

    The moment alone does not tell: clients see it when they have read what the balancer had already sent them.
    """
    drained = stopped_at + DRAIN_S - 0.5
    is_older = download.began < stopped_at + CHECK_PERIOD_S
    return is_older and min(download.at, download.due) > drained


def stop_and_start(station: StationUnderTest, log: Path, load: Pressure) -> float:
    """SIGTERM, the drain, the end; then another one in its place, and all three ports of it in use again.

    Returns the moment of the signal.
    """
    ups, finished, cut = says_up(log, station), load.finished_tunnels, len(load.tunnel_cuts)
    began = time.monotonic()
    os.kill(station.pid, signal.SIGTERM)
    wait_until("the end", partial(is_gone, station.pid), DRAIN_S + 10)
    took = time.monotonic() - began
    wait_until("news of the end", lambda: len(load.tunnel_cuts) > cut, 10.0)
    wait_until("all under way again", load.is_full, 20.0)
    cuts = load.tunnel_cuts[cut:]
    early = [each for each in cuts if each.at < began + DRAIN_S - 0.5]
    print(
        f"{station.name} gone after {took:.1f} s; {load.finished_tunnels - finished} tunnels were ended by their "
        f"clients, {len(cuts)} cut {dict(Counter(each.how for each in cuts))}, {len(early)} of them before the "
        f"drain's end"
    )
    assert not early, log.read_text()
    assert {each.how for each in cuts} == {"end"}
    station.stop_restarted()
    station.start_again()
    wait_until("ready again", partial(is_ready, station), 30.0)
    wait_until("three ports up", lambda: says_up(log, station) >= ups + 3, 10.0)
    return began


@pytest.mark.parametrize("balancer", ["lbproxy", "haproxy"])
def test_stations_drained_and_stopped_in_turn_fail_nobody(
    balancer: str, lab: LabUnderTest, repository: Repository
) -> None:
    log = lab.root / ("l/lbproxy.log" if balancer == "lbproxy" else "haproxy/haproxy.log")
    load = pressure(lab, repository)
    for station in lab.stations:
        allow(station, load.target)
    with Haproxy(lab) if balancer == "haproxy" else nullcontext(), load:
        stops = [stop_and_start(station, log, load) for station in lab.stations]
    print(f"{balancer}: {load.account()}")
    early = [
        cut for cut in load.download_cuts if not any(may_have_cut(stop, cut) for stop in stops)
    ]
    assert not early, (stops, early)
    assert load.failures == [], log.read_text()
    # Half of what was meant is enough to tell: where others use the machine, less is asked.
    assert len(load.waits) >= len(lab.stations) * DRAIN_S * load.amounts.per_s / 2
    assert load.whole > load.amounts.downloads
    assert load.resumed == len(load.download_cuts)


@pytest.mark.alone
def test_haproxy_reloaded_fails_nobody_and_restarted_is_away_for_a_second_at_most(
    lab: LabUnderTest, repository: Repository
) -> None:
    load = pressure(lab, repository)
    for station in lab.stations:
        allow(station, load.target)
    with Haproxy(lab) as haproxy, load:
        for _ in range(2):
            haproxy.reload()
            hear(load)
        print(f"two reloads: {load.account()}")
        assert (load.failures, load.tunnel_cuts, load.download_cuts) == ([], [], [])
        haproxy.restart()
        hear(load)
    judge_restart(load)


@pytest.mark.alone
def test_lbproxy_restarted_is_away_for_a_second_at_most(
    lab: LabUnderTest, repository: Repository
) -> None:
    load = pressure(lab, repository)
    for station in lab.stations:
        allow(station, load.target)
    with load:
        # As its unit does it, except that those who are connected to the old one are not waited for.
        os.kill(lab.facts["balancer"]["pid"], signal.SIGUSR1)
        wait_until("it accepts no more", lambda: load.failures, 5.0)
        command = [
            sys.executable,
            "-m",
            "lbproxy.cli",
            "--config",
            str(lab.root / "l/lbproxy.toml"),
        ]
        with subprocess.Popen(command, stdin=subprocess.DEVNULL) as successor:
            try:
                hear(load)
                load.end()
            finally:
                successor.terminate()
    judge_restart(load)


def hear(load: Pressure) -> None:
    """Until all is under way and some seconds' worth of short requests were answered."""
    wanted = len(load.waits) + 5 * load.amounts.per_s
    wait_until("answers", lambda: load.is_full() and len(load.waits) > wanted, 40.0)


def judge_restart(load: Pressure) -> None:
    """Who failed, failed within one second; downloads went on."""
    moments = sorted(load.failed_at)
    gap = moments[-1] - moments[0] if moments else 0.0
    print(f"restart: failures over {gap:.2f} s; {load.account()}")
    assert gap <= GAP_S
    assert load.resumed == len(load.download_cuts)
    assert load.whole >= load.amounts.downloads
