"""A hostile or broken upstream publishes nothing, loses nothing, and is named clearly."""

import gzip
import hashlib
import re
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.repositories import Repository, build_repository
from tests.integration.syncing import QUICK, Syncing
from tests.integration.upstream import Upstream

REPOMD = r"repodata/repomd\.xml$"


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


def rewrite_primary(repository: Repository, old: bytes, new: bytes) -> None:
    """Change primary.xml and make repomd.xml agree with it."""
    (path,) = repository.repodata.glob("*-primary.xml.gz")
    opened = gzip.decompress(path.read_bytes())
    assert old in opened
    changed = opened.replace(old, new, 1)
    packed = gzip.compress(changed, mtime=0)
    path.write_bytes(packed)
    text = repository.repomd.decode()
    start = text.index('<data type="primary">')
    end = text.index("</data>", start)
    record = text[start:end]
    for tag, content in (("checksum", packed), ("open-checksum", changed)):
        digest = hashlib.sha256(content).hexdigest()
        record = re.sub(rf'(<{tag} type="sha256">)[0-9a-f]+', rf"\g<1>{digest}", record)
    record = re.sub(r"<size>\d+", f"<size>{len(packed)}", record)
    record = re.sub(r"<open-size>\d+", f"<open-size>{len(changed)}", record)
    (repository.repodata / "repomd.xml").write_text(text[:start] + record + text[end:])


async def refused(station: Syncing, code: str, *words: str) -> None:
    """The sync fails with this code and these words, and nothing becomes visible."""
    before = station.complete_revisions()
    end = await station.run()
    assert end["event"] == "failed", end
    assert end["code"] == code, end
    for word in words:
        assert word in end["detail"], end["detail"]
    assert station.complete_revisions() == before
    assert [name for name in station.left_over() if "~" not in name] == []


@pytest.mark.parametrize(
    "content",
    [b"", b"not xml", b"<html>Please log in</html>", b"<repomd><data", b"\x1f\x8b\x08\x00garbage"],
)
async def test_an_unparsable_repomd_is_refused_by_name(
    station: Syncing, upstream: Upstream, content: bytes
) -> None:
    upstream.fault(REPOMD, "body", content)
    await refused(station, "repomd", "repomd")


async def test_a_doctype_is_refused_at_once(
    station: Syncing, upstream: Upstream, repository: Repository
) -> None:
    bomb = b'<?xml version="1.0"?><!DOCTYPE r [<!ENTITY a "aaaa">]>' + repository.repomd[38:]
    upstream.fault(REPOMD, "body", bomb)
    await refused(station, "repomd", "DOCTYPE")


@pytest.mark.parametrize(
    "href",
    [
        b"../../../../tmp/escaped.rpm",
        b"/etc/passwd",
        b"Packages/%2e%2e/%2e%2e/escaped.rpm",
        b"repodata/repomd.xml",
        b"http://other.example/x.rpm",
    ],
)
async def test_a_location_outside_the_repository_is_refused_and_nothing_is_published(
    station: Syncing, repository: Repository, href: bytes
) -> None:
    rewrite_primary(
        repository, b'<location href="lab-0001-1.0-1.noarch.rpm"', b'<location href="%s"' % href
    )
    await refused(station, "metadata", "primary location", href.decode()[:20])
    assert not (station.layout.sources / "lab").exists()


async def test_a_location_outside_the_repository_in_repomd_is_refused(
    station: Syncing, upstream: Upstream, repository: Repository
) -> None:
    bad = repository.repomd.replace(b'href="repodata/', b'href="../repodata/', 1)
    upstream.fault(REPOMD, "body", bad)
    await refused(station, "repomd", "location", "..")


@pytest.mark.parametrize("kind", ["corrupt", "short", "long", "login"])
async def test_a_package_with_other_bytes_is_refused_after_three_tries(
    station: Syncing, upstream: Upstream, kind: str
) -> None:
    upstream.fault(r"lab-0002.*\.rpm$", kind, 100)  # type: ignore[arg-type]
    await refused(station, "checksum", "lab-0002", "1 packages")
    tries = upstream.requests(r"lab-0002.*\.rpm$")
    assert len(tries) == 3
    assert tries[1].headers["cache-control"] == "no-cache"


async def test_metadata_with_other_bytes_is_refused(station: Syncing, upstream: Upstream) -> None:
    upstream.fault("primary", "corrupt")
    await refused(station, "metadata", "primary", "announced")


async def test_a_package_that_upstream_lacks_is_named_and_the_others_are_kept(
    station: Syncing, upstream: Upstream
) -> None:
    upstream.fault(r"lab-0002.*\.rpm$", "status", 404)
    await refused(station, "missing", "lab-0002", "tolerate_missing")
    upstream.heal()
    upstream.forget()
    assert (await station.run())["event"] == "staged"
    assert len(upstream.requests(r"\.rpm$")) == 1


@pytest.mark.parametrize(
    ("kind", "argument"),
    [("status", 503), ("reset", 40), ("reset", -1), ("truncate", 40), ("hang", 40), ("delay", 6)],
)
async def test_a_passing_fault_of_one_package_is_tried_again(
    station: Syncing, upstream: Upstream, kind: str, argument: int
) -> None:
    upstream.fault(r"lab-0003.*\.rpm$", kind, argument, times=1)  # type: ignore[arg-type]
    end = await station.run()
    assert end["event"] == "staged", end


async def test_an_upstream_that_drips_is_given_up(station: Syncing, upstream: Upstream) -> None:
    upstream.fault(r"lab-0003.*\.rpm$", "drip", 200)
    started = time.monotonic()
    await refused(station, "unreachable", "lab-0003", " bytes in ")
    assert time.monotonic() - started < 20


async def test_an_endless_answer_is_stopped_at_its_size(
    station: Syncing, upstream: Upstream
) -> None:
    upstream.fault(r"lab-0003.*\.rpm$", "chunked", 100_000)
    await refused(station, "checksum", "not longer than announced")
    assert all(request.sent < 30_000_000 for request in upstream.requests(r"lab-0003.*\.rpm$"))


async def test_an_upstream_that_is_away_is_unreachable(
    station: Syncing, upstream: Upstream
) -> None:
    station.source["url"] = "http://127.0.0.1:1/"
    end = await station.run()
    assert (end["code"], end["retriable"]) == ("unreachable", True)


async def test_a_wrong_url_says_to_check_it(station: Syncing, upstream: Upstream) -> None:
    station.source["url"] = upstream.url + "elsewhere/"
    await refused(station, "status", "404", "check the source's url")


async def test_a_redirect_to_an_inner_address_is_refused(
    station: Syncing, upstream: Upstream, tmp_path: Path
) -> None:
    with Upstream(upstream.root, host="127.0.0.2") as inner:
        upstream.fault(REPOMD, "redirect", inner.url)
        await refused(station, "redirect", "127.0.0.2", "loopback")
        upstream.heal()
        upstream.fault(r"\.rpm$", "redirect", inner.url)
        end = await station.run()
        assert end["event"] == "failed"
        assert inner.requests() == []


async def test_a_redirect_within_the_configured_host_is_followed(
    station: Syncing, upstream: Upstream, repository: Repository
) -> None:
    shutil.copytree(repository.root, repository.root / "moved")
    upstream.fault(r"^/lab.*\.rpm$", "redirect", upstream.url + "moved")
    assert (await station.run())["event"] == "staged"


async def test_a_redirect_loop_ends(station: Syncing, upstream: Upstream) -> None:
    upstream.fault(REPOMD, "redirect", "loop")
    await refused(station, "redirect", "more than 5")


async def test_an_older_state_than_accepted_is_kept_out_until_allowed(
    station: Syncing, repository: Repository, tmp_path: Path, upstream: Upstream
) -> None:
    old = tmp_path / "old"
    shutil.copytree(repository.root, old)
    repository.bump(add=1)
    new = await station.run()
    upstream.swap(old)
    end = await station.run(live=new["revision"], order=new["order"])
    assert end["code"] == "rollback"
    assert "allow_rollback" in end["detail"]
    allowed = await station.run(live=new["revision"], order=new["order"], allow_rollback=True)
    assert allowed["event"] == "staged"


async def test_an_upstream_that_changes_during_the_sync_is_taken_in_its_new_state(
    station: Syncing, repository: Repository, upstream: Upstream, tmp_path: Path
) -> None:
    old = dict(repository.files())
    later = repository.copy(tmp_path / "new")
    later.bump(add=1, update=2, delete=1)
    # The first package that is asked for finds the repository changed: half of the old state is gone.
    upstream.fault(r"\.rpm$", "call", lambda: upstream.swap(later.root), times=1)
    end = await station.run()
    assert end["event"] == "staged", end
    assert station.stored(end["revision"]) == later.files() != old
    assert station.complete_revisions() == [end["revision"]]


async def test_an_upstream_that_changes_between_repomd_and_metadata_is_never_a_mixture(
    station: Syncing, repository: Repository, upstream: Upstream, tmp_path: Path
) -> None:
    later = repository.copy(tmp_path / "new")
    later.bump(update=1)
    upstream.fault("primary", "call", lambda: upstream.swap(later.root), times=1)
    end = await station.run()
    assert end["event"] == "staged", end
    assert station.stored(end["revision"]) == later.files()


async def test_an_upstream_that_never_stands_still_is_given_up_after_three_passes(
    station: Syncing, repository: Repository, upstream: Upstream
) -> None:
    upstream.fault(r"-0001-.*\.rpm$|-all-.*\.rpm$", "call", lambda: touch(repository))

    def touch(repository: Repository) -> None:
        repository.revision += 1
        repository.index()

    station.limits["attempts"] = 1
    upstream.fault(r"repomd\.xml\.key$", "call", lambda: touch(repository))
    await refused(station, "changing", "3 passes")


async def test_a_full_storage_is_refused_before_the_first_download(
    station: Syncing, upstream: Upstream
) -> None:
    end = await station.run(floor_bytes=2**60)
    assert end["code"] == "no-space"
    assert "free" in end["detail"]
    assert not upstream.requests("primary|rpm$")


async def test_a_failed_fsync_loses_nothing_and_the_next_run_succeeds(station: Syncing) -> None:
    station.environment["STATION_FAILPOINT"] = "durable.fsync:eio@9"
    await refused(station, "storage")
    del station.environment["STATION_FAILPOINT"]
    assert (await station.run())["event"] == "staged"
