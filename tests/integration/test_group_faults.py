"""A station that is killed, or fed nonsense: a clear error, nothing lost, nothing half published."""

import hashlib
import re
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.dnf import Dnf
from tests.integration.lab import LabUnderTest, wait_until
from tests.integration.repositories import build_repository
from tests.integration.upstream import Upstream

NETWORK = "127.41.2"
PACKAGES = 40


@pytest.fixture(scope="module")
def lab() -> Iterator[LabUnderTest]:
    with LabUnderTest(NETWORK, "--stations", "1") as running:
        yield running


@pytest.fixture
def upstream(tmp_path: Path) -> Iterator[Upstream]:
    repository = build_repository(tmp_path / "upstream", packages=PACKAGES, size=20_000)
    with Upstream(repository.root) as server:
        yield server


def state(lab: LabUnderTest, source: str) -> str:
    row = lab.stations[0].mirrors().get(source)
    return row["state"] if row else ""


def test_station_killed_in_the_middle_of_a_sync_fetches_no_verified_file_again(
    lab: LabUnderTest, upstream: Upstream, tmp_path: Path
) -> None:
    station = lab.stations[0]
    upstream.fault(r"\.rpm$", "delay", 0.3)
    station.mirror("killed", upstream.url)
    # 16 are under way at a time: of 30 that were asked for, some have arrived.
    wait_until("some packages fetched", lambda: len(upstream.requests(r"\.rpm$")) >= 30, 20.0)
    seen_half: list[str] = []
    is_over = threading.Event()

    def watch() -> None:
        """A client must never be told of a revision whose files it cannot have."""
        url = f"{lab.http}/repo/killed/repodata/repomd.xml"
        while not is_over.is_set():
            got = subprocess.run(
                ["curl", "-sf", "--max-time", "5", url], capture_output=True, check=False
            )
            if got.returncode == 0 and b"</repomd>" not in got.stdout:
                seen_half.append(got.stdout.decode())
            time.sleep(0.05)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        station.kill_all()
        whole = {sha256_of(path) for path in station.storage.rglob("*") if path.is_file()}
        upstream.heal()
        upstream.forget()
        station.start_again()
        lab.wait_synced("killed", deadline_s=30.0)
    finally:
        is_over.set()
        watcher.join()
    fetched = {request.path for request in upstream.requests(r"\.rpm$")}
    verified = {p.name for p in upstream.root.rglob("*.rpm") if sha256_of(p) in whole}
    again = {path for path in fetched if path.rpartition("/")[2] in verified}
    print(
        f"{len(verified)} packages were on the disk when all was killed; "
        f"{len(fetched)} fetched afterwards, {len(again)} of them again"
    )
    assert verified
    assert not again
    assert not seen_half
    dnf = Dnf(tmp_path / "client")
    dnf.repo("killed", baseurl=f"{lab.http}/repo/killed/")
    dnf.install("lab-all").check()


@pytest.mark.parametrize(
    ("name", "pattern", "body", "says"),
    [
        ("unparsable", r"repomd\.xml$", b"<repomd><oops>", "repomd"),
        ("login", r"repomd\.xml$", b"<html><body>please log in</body></html>", "repomd"),
        ("doctype", r"repomd\.xml$", b"<!DOCTYPE x><repomd/>", "DOCTYPE"),
    ],
)
def test_bad_repomd_is_a_clear_error_and_nothing_is_published(
    lab: LabUnderTest, upstream: Upstream, name: str, pattern: str, body: bytes, says: str
) -> None:
    upstream.fault(pattern, "body", body)
    lab.stations[0].mirror(name, upstream.url)
    wait_until(f"{name} FAILED", lambda: state(lab, name) == "FAILED", 20.0)
    row = lab.stations[0].mirrors()[name]
    assert says in row["error"], row["error"]
    assert row["revision"] == ""


def test_wrong_checksum_is_a_clear_error_and_the_old_revision_is_served(
    lab: LabUnderTest, upstream: Upstream, tmp_path: Path
) -> None:
    upstream.fault(r"primary", "corrupt")
    lab.stations[0].mirror("corrupt", upstream.url)
    wait_until("FAILED", lambda: state(lab, "corrupt") == "FAILED", 20.0)
    row = lab.stations[0].mirrors()["corrupt"]
    assert re.search("checksum|sha256", row["error"]), row["error"]
    assert row["revision"] == ""
    upstream.heal()
    lab.stations[0].tell("POST", "/mirrors/sync", {"sources": ["corrupt"]})
    lab.wait_synced("corrupt")


def test_location_outside_the_repository_is_refused(
    lab: LabUnderTest, upstream: Upstream, tmp_path: Path
) -> None:
    evil = (upstream.root / "repodata" / "repomd.xml").read_bytes()
    evil = re.sub(rb'href="repodata/([^"]*primary)', rb'href="../../repodata/\1', evil)
    upstream.fault(r"repomd\.xml$", "body", evil)
    lab.stations[0].mirror("evil", upstream.url)
    wait_until("FAILED", lambda: state(lab, "evil") == "FAILED", 20.0)
    row = lab.stations[0].mirrors()["evil"]
    assert "location" in row["error"] or "href" in row["error"], row["error"]
    assert row["revision"] == ""


def sha256_of(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
