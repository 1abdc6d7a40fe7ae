"""Bad clients by the hundred, in short: the honest ones are served meanwhile, and the log stays short."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.abuse import besiege, flood
from tests.integration.files_lab import FilesLab
from tests.integration.lab import wait_until
from tests.integration.load import Load

SMALL = "/repo/demo/repodata/repomd.xml"
BIG = "/repo/demo/big.rpm"
CONNECTIONS = 500

pytestmark = [
    pytest.mark.alone,
    pytest.mark.skipif(
        not all(map(shutil.which, ("slowhttptest", "wrk"))), reason="slowhttptest and wrk"
    ),
]


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FilesLab]:
    limits = {"head_s": 2, "rate_s": 1}
    with FilesLab(tmp_path_factory.mktemp("abuse"), limits=limits) as lab:
        files = {"repodata/repomd.xml": b"x" * 1000, "big.rpm": os.urandom(5_000_000)}
        lab.publish("demo", lab.storage.add("demo", files))
        yield lab


@pytest.mark.parametrize(
    ("mode", "limit", "seconds"), [("slow headers", "head", 4), ("slow read", "minimum_rate", 7)]
)
def test_five_hundred_slow_clients_are_ended_and_honest_ones_served(
    lab: FilesLab, mode: str, limit: str, seconds: int
) -> None:
    url = f"http://127.0.0.1:{lab.http}"
    with Load([url + SMALL], threads=2) as honest:
        siege = besiege(url + BIG, mode, connections=CONNECTIONS, at_most_s=seconds)
    ended = f"limit_{limit}"
    wait_until("all ended", lambda: lab.feed.counters().get(ended, 0) >= CONNECTIONS, seconds + 2.0)
    assert not honest.failures
    assert honest.count > 50
    assert honest.percentile(0.99) <= 1.0
    print(f"{mode}: over after {siege.seconds} s, honest p99 {honest.percentile(0.99):.3f} s")


def test_malformed_requests_as_fast_as_they_come_cost_no_log(lab: FilesLab, tmp_path: Path) -> None:
    url, before = f"http://127.0.0.1:{lab.http}", len(lab.log.read_text().splitlines())
    with Load([url + SMALL], threads=2) as honest:
        rate = flood(url + BIG, "two hosts", tmp_path, seconds=1)
    assert rate > 500  # of a machine that does something else besides; the long run asks for more
    assert len(lab.log.read_text().splitlines()) - before <= 2
    assert not honest.failures
    assert honest.percentile(0.99) <= 1.0
