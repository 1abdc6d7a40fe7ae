"""Whatever ends a sync child, what it verified is not fetched again, and nothing half is visible."""

import asyncio
import hashlib
import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.repositories import Repository, build_repository
from tests.integration.syncing import QUICK, Syncing
from tests.integration.upstream import Upstream


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Repository:
    return build_repository(tmp_path_factory.mktemp("built") / "upstream", packages=5)


@pytest.fixture
def repository(tmp_path: Path, built: Repository) -> Repository:
    return built.copy(tmp_path / "upstream")


@pytest.fixture
def upstream(repository: Repository) -> Iterator[Upstream]:
    with Upstream(repository.root) as upstream:
        yield upstream


@pytest.fixture
def station(tmp_path: Path, upstream: Upstream) -> Syncing:
    return Syncing(tmp_path / "station", upstream.url, limits=dict(QUICK))


@pytest.mark.parametrize("objects", [6, 15, 30])
async def test_after_a_kill_no_verified_object_is_fetched_again(
    station: Syncing, repository: Repository, upstream: Upstream, objects: int
) -> None:
    repository.bump(add=40)
    station.limits["connections"] = 2
    upstream.fault(r"\.rpm$", "delay", 0.05)
    children = station.launcher()
    child = await children.open()
    await child.send(station.job())
    async with asyncio.timeout(20):
        while len(station.pool()) < objects:
            await asyncio.sleep(0.01)
    os.kill(child.pid, 9)
    await child.close()
    verified = station.pool()
    assert station.complete_revisions() == []
    upstream.heal()
    upstream.forget()
    end = await station.run()
    assert end["event"] == "staged", end
    files = {"/" + path: sha256 for path, sha256 in repository.files().items()}
    again = {request.path for request in upstream.requests() if files.get(request.path) in verified}
    assert {path for path in again if "repomd" not in path} == set()
    assert upstream.requests(r"\.rpm$"), "the kill came too late to show anything"
    assert station.stored(end["revision"]) == repository.files()


@pytest.mark.parametrize(
    "failpoint",
    [
        "durable.mkdir@3",
        "durable.before_write",
        "durable.after_write@2",
        "durable.fsync@5",
        "durable.before_link@6",
        "durable.after_link@7",
        "durable.before_unlink@8",
        "durable.done@9",
        "durable.fsync_directory@20",
        "revisions.before_settle",
        "revisions.before_complete",
    ],
)
async def test_a_kill_at_any_step_leaves_nothing_half_and_the_next_run_completes(
    station: Syncing, repository: Repository, failpoint: str
) -> None:
    station.environment["STATION_FAILPOINT"] = failpoint.replace("@", ":kill@")
    end = await station.run()
    assert (end["event"], end["code"], end["detail"]) == (
        "failed",
        "died",
        "the sync child ended with -9",
    )
    assert station.complete_revisions() == []
    for sha256 in station.pool():
        assert hashlib.sha256(station.layout.pool(sha256).read_bytes()).hexdigest() == sha256
    station.environment.clear()
    end = await station.run()
    assert end["event"] == "staged", end
    assert station.stored(end["revision"]) == repository.files()


async def test_a_large_file_is_resumed_after_a_kill(tmp_path: Path) -> None:
    repository = build_repository(tmp_path / "big", packages=1, size=3_000_000)
    with Upstream(repository.root) as upstream:
        station = Syncing(tmp_path / "station", upstream.url, limits=dict(QUICK))
        upstream.fault(r"\.rpm$", "hang", 2_000_000)
        station.limits["rate_window_s"] = 30.0
        child = await station.launcher().open()
        await child.send(station.job())
        async with asyncio.timeout(20):
            partial = station.layout.partial(station.station)
            while sum(path.stat().st_size >= 1_000_000 for path in partial.glob("object-*")) < 2:
                await asyncio.sleep(0.05)
        os.kill(child.pid, 9)
        await child.close()
        upstream.heal()
        upstream.forget()
        assert (await station.run())["event"] == "staged"
        requests = upstream.requests(r"\.rpm$")
        assert [request.status for request in requests] == [206, 206]
        assert all(request.sent < 2_100_000 for request in requests)


async def test_a_damaged_partial_is_found_out_and_fetched_anew(
    station: Syncing, upstream: Upstream, tmp_path: Path
) -> None:
    repository = build_repository(tmp_path / "big", packages=1, size=1_000_000)
    upstream.swap(repository.root)
    (package,) = (path for path in repository.rpms() if "0001" in path.name)
    sha256 = hashlib.sha256(package.read_bytes()).hexdigest()
    partial = station.layout.partial(station.station)
    partial.mkdir(parents=True)
    (partial / f"object-lab~{sha256}").write_bytes(bytes(600_000))
    etag = f'"{hashlib.md5(package.read_bytes()).hexdigest()}"'
    (partial / f"object-lab~{sha256}.etag").write_text(etag)
    end = await station.run()
    assert end["event"] == "staged", end
    assert [r.status for r in upstream.requests(r"lab-0001.*\.rpm$")] == [206, 200]


async def test_a_child_ends_when_control_does(station: Syncing, upstream: Upstream) -> None:
    upstream.fault(r"\.rpm$", "hang", 10)
    station.limits["rate_window_s"] = 30.0
    child = await station.launcher().open()
    await child.send(station.job())
    async for event in child.events():
        if event["event"] == "progress":
            break
    started = time.monotonic()
    assert await child.close() == 2
    assert time.monotonic() - started < 4


async def test_two_syncs_of_one_source_do_not_share_partials(
    station: Syncing, upstream: Upstream
) -> None:
    upstream.fault(r"\.rpm$", "delay", 1.0)
    first, second = await asyncio.gather(station.run(), station.run())
    assert sorted([first["event"], second["event"]]) == ["failed", "staged"]
    assert "busy" in (first.get("code"), second.get("code"))
