"""A sync takes exactly what upstream has, once."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from station.lab import demo
from station.model.identity import SourceId
from station.sync.memory import recall
from tests.integration.dnf import Dnf
from tests.integration.repositories import Repository, build_repository
from tests.integration.syncing import Syncing
from tests.integration.upstream import Upstream


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return build_repository(
        tmp_path / "upstream", packages=6, modules=True, updateinfo=True, comps=True
    )


@pytest.fixture
def upstream(repository: Repository) -> Iterator[Upstream]:
    with Upstream(repository.root) as upstream:
        yield upstream


@pytest.fixture
def station(tmp_path: Path, upstream: Upstream) -> Syncing:
    return Syncing(tmp_path / "station", upstream.url)


async def test_every_file_of_upstream_is_stored_byte_for_byte(
    station: Syncing, repository: Repository
) -> None:
    events = await station.events()
    end = events[-1]
    assert end["event"] == "staged", end
    assert end["package_count"] == 7
    assert station.stored(end["revision"]) == repository.files()
    kinds = {path.rpartition("-")[2] for path in station.entries(end["revision"])}
    assert {"modules.yaml.gz", "updateinfo.xml.gz", "comps.xml"} <= kinds
    assert station.is_complete(end["revision"])
    assert station.left_over() == []


async def test_metadata_is_announced_before_the_packages_are_there(station: Syncing) -> None:
    events = await station.events()
    names = [event["event"] for event in events]
    assert names.index("metadata") < names.index("progress") < names.index("staged")
    metadata = next(event for event in events if event["event"] == "metadata")
    assert metadata["revision"] == events[-1]["revision"]


async def test_progress_counts_bytes_up_to_the_total(station: Syncing) -> None:
    progress = [event for event in await station.events() if event["event"] == "progress"]
    assert progress[-1]["bytes"] == progress[-1]["bytes_total"]
    assert progress[-1]["packages"] == progress[-1]["packages_total"] == 7
    counted = [event["bytes"] for event in progress]
    assert counted == sorted(counted)


async def test_no_change_is_one_conditional_request(station: Syncing, upstream: Upstream) -> None:
    first = await station.run()
    upstream.forget()
    before = time.time()
    second = await station.run()
    assert second == {"event": "unchanged", "revision": first["revision"]}
    (request,) = upstream.requests()
    assert request.path == "/repodata/repomd.xml"
    assert request.status == 304
    remembered = recall(station.state, SourceId("lab"), station.url)
    assert remembered and remembered.looked_at >= before, "it was a look, too"


async def test_no_change_is_one_request_also_where_upstream_knows_no_validators(
    station: Syncing, upstream: Upstream, repository: Repository
) -> None:
    upstream.fault(r"repomd\.xml$", "body", repository.repomd)
    first = await station.run()
    upstream.forget()
    assert (await station.run())["event"] == "unchanged"
    assert len(upstream.requests()) == 1
    assert first["event"] == "staged"


async def test_an_object_lost_from_the_storage_is_fetched_again_although_nothing_changed(
    station: Syncing, upstream: Upstream
) -> None:
    first = await station.run()
    entry = station.entries(first["revision"])["lab-0003-1.0-1.noarch.rpm"]
    station.layout.pool(entry.sha256).unlink()
    upstream.forget()
    again = await station.run()
    assert again["event"] == "staged"
    assert [r.path for r in upstream.requests(r"\.rpm$")] == ["/lab-0003-1.0-1.noarch.rpm"]


async def test_a_bump_fetches_only_what_is_new(
    station: Syncing, upstream: Upstream, repository: Repository
) -> None:
    first = await station.run()
    repository.bump(add=1, update=1, delete=1)
    upstream.forget()
    second = await station.run()
    assert second["event"] == "staged"
    assert second["order"] >= first["order"]  # seconds: both may be of one
    assert station.stored(second["revision"]) == repository.files()
    fetched = {request.path for request in upstream.requests(r"\.rpm$")}
    assert fetched == {
        "/lab-0002-2.0-1.noarch.rpm",
        "/lab-0007-2.0-1.noarch.rpm",
        "/lab-all-2.0-1.noarch.rpm",
    }
    assert station.is_complete(first["revision"])


async def test_two_stations_make_the_same_revision_and_manifest(
    tmp_path: Path, station: Syncing, upstream: Upstream
) -> None:
    other = Syncing(tmp_path / "other", upstream.url, station="StationB")
    ours, theirs = await station.run(), await other.run()
    assert ours["revision"] == theirs["revision"]
    assert (
        station.layout.manifest("lab", ours["revision"]).read_bytes()
        == other.layout.manifest("lab", ours["revision"]).read_bytes()
    )


async def test_a_source_over_https_is_synced_with_its_certificate_verified(
    tmp_path: Path, repository: Repository
) -> None:
    with Upstream(repository.root, tls=True) as upstream:
        station = Syncing(tmp_path / "station", upstream.url)
        refused = await station.run()
        assert refused["code"] == "unreachable"
        assert "certificate" in refused["detail"]
        station.environment["SSL_CERT_FILE"] = str(upstream.ca)
        accepted = await station.run()
        assert accepted["event"] == "staged"


async def test_a_signed_repository_is_synced_and_another_key_is_refused(tmp_path: Path) -> None:
    repository = build_repository(tmp_path / "signed", packages=2, signed_repomd=True)
    other = Path(__file__).parents[2] / "station/lab/demo/RPM-GPG-KEY-demo"
    with Upstream(repository.root) as upstream:
        station = Syncing(tmp_path / "station", upstream.url)
        station.source |= {"is_repo_gpg_check_enabled": True, "gpgkey": other.read_text()}
        refused = await station.run()
        assert refused["code"] == "signature"
        assert "gpgkey" in refused["detail"]
        assert station.complete_revisions() == []
        station.source["gpgkey"] = repository.key
        assert (await station.run())["event"] == "staged"


async def test_an_unsigned_repository_is_refused_where_a_signature_is_required(
    station: Syncing,
) -> None:
    station.source |= {"is_repo_gpg_check_enabled": True, "gpgkey": "anything"}
    end = await station.run()
    assert (end["code"], station.complete_revisions()) == ("signature", [])


async def test_the_demo_repository_is_signed_by_the_key_beside_it_and_installs(
    tmp_path: Path,
) -> None:
    with Upstream(demo.REPOSITORY) as upstream:
        station = Syncing(tmp_path / "station", upstream.url)
        station.source |= {
            "is_repo_gpg_check_enabled": True,
            "gpgkey": demo.KEY.read_text(),
        }
        end = await station.run()
        assert (end["event"], end["package_count"]) == ("staged", 5)
        client = Dnf(tmp_path / "client")
        client.repo(
            "demo",
            baseurl=upstream.url,
            gpgkey=demo.KEY.read_text(),
            gpgcheck=1,
            repo_gpgcheck=1,
        )
        client.install(demo.PACKAGE).check()
        assert len([name for name in client.installed() if name.startswith("station-demo")]) == 5


async def test_a_storage_without_its_marker_is_not_written(station: Syncing) -> None:
    station.layout.marker.unlink()
    end = await station.run()
    assert end["code"] == "storage"
    assert station.pool() == set()
