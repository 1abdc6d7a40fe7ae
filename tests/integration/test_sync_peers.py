"""Copies and fills: what a peer has is taken by hash, what no peer has comes from upstream, nothing is believed."""

import asyncio
import shutil
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from station.sync.launcher import Child
from tests.integration.certificates import Certificate
from tests.integration.repositories import Repository, build_repository
from tests.integration.syncing import QUICK, Syncing
from tests.integration.upstream import Upstream


class Peer:
    """Another station's peer port: the files of its storage under the paths that peers ask for."""

    def __init__(self, directory: Path, upstream: Upstream) -> None:
        self.syncing = Syncing(directory / "peer", upstream.url, station="StationB")
        self.tree = directory / "tree"
        (directory / "client").mkdir()
        self.client = Certificate.make(directory / "client")
        self.server = Upstream(self.tree, tls=True, client_ca=self.client.ca)

    def offer(self, revision: str) -> None:
        """Serve this revision and everything in the pool."""
        manifest = self.syncing.layout.manifest("lab", revision)
        (self.tree / "manifest/lab").mkdir(parents=True, exist_ok=True)
        shutil.copy(manifest, self.tree / f"manifest/lab/{revision}")
        (self.tree / "pool").mkdir(exist_ok=True)
        for sha256 in self.syncing.pool():
            shutil.copy(self.syncing.layout.pool(sha256), self.tree / "pool" / sha256)

    async def sync(self) -> dict[str, Any]:
        """Have what upstream has now, and serve it; how that ended."""
        end = await self.syncing.run()
        self.offer(end["revision"])
        return end

    def introduce(self, station: Syncing) -> None:
        """Let `station` know it."""
        station.peers = [{"name": "StationB", "url": self.server.url}]
        station.peer_tls = {
            "cert": str(self.client.chain),
            "key": str(self.client.key),
            "ca": str(self.server.ca),
        }


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return build_repository(tmp_path / "upstream", packages=4, size=300_000, signed_repomd=True)


@pytest.fixture
def upstream(repository: Repository) -> Iterator[Upstream]:
    with Upstream(repository.root) as upstream:
        yield upstream


@pytest.fixture
def station(tmp_path: Path, upstream: Upstream) -> Syncing:
    return Syncing(tmp_path / "station", upstream.url, limits=dict(QUICK))


@pytest.fixture
def peer(tmp_path: Path, upstream: Upstream, station: Syncing) -> Iterator[Peer]:
    peer = Peer(tmp_path, upstream)
    with peer.server:
        peer.introduce(station)
        yield peer


async def test_a_copy_takes_the_whole_revision_from_the_peer(
    station: Syncing, peer: Peer, upstream: Upstream, repository: Repository
) -> None:
    theirs = await peer.sync()
    upstream.forget()
    end = await station.run("copy", revision=theirs["revision"])
    assert end == theirs
    assert station.stored(end["revision"]) == repository.files()
    assert upstream.requests() == []


async def test_a_sync_takes_packages_from_the_peer_and_only_metadata_names_from_upstream(
    station: Syncing, peer: Peer, upstream: Upstream
) -> None:
    await peer.sync()
    upstream.forget()
    assert (await station.run())["event"] == "staged"
    assert {request.path for request in upstream.requests()} == {
        "/repodata/repomd.xml",
        "/repodata/repomd.xml.asc",
        "/repodata/repomd.xml.key",
    }


async def test_what_the_peer_lacks_or_spoils_comes_from_upstream(
    station: Syncing, peer: Peer, upstream: Upstream, repository: Repository
) -> None:
    theirs = await peer.sync()
    entries = peer.syncing.entries(theirs["revision"])
    one, two = (entries[f"lab-000{n}-1.0-1.noarch.rpm"].sha256 for n in (1, 2))
    (peer.tree / "pool" / one).unlink()
    peer.server.fault(two, "corrupt")
    upstream.forget()
    end = await station.run("copy", revision=theirs["revision"])
    assert end["event"] == "staged", end
    assert station.stored(end["revision"]) == repository.files()
    assert {"/lab-0001-1.0-1.noarch.rpm", "/lab-0002-1.0-1.noarch.rpm"} <= {
        request.path for request in upstream.requests()
    }


async def test_a_manifest_order_takes_only_metadata(station: Syncing, peer: Peer) -> None:
    theirs = await peer.sync()
    end = await station.run("manifest", revision=theirs["revision"])
    assert (end["event"], end["revision"]) == ("metadata", theirs["revision"])
    assert station.entries(theirs["revision"]) == peer.syncing.entries(theirs["revision"])
    assert not station.is_complete(theirs["revision"])


async def test_a_peer_that_offers_other_files_under_a_revision_is_refused(
    station: Syncing, peer: Peer, repository: Repository
) -> None:
    first = await peer.syncing.run()
    repository.bump(add=1)
    second = await peer.syncing.run()
    peer.offer(second["revision"])
    shutil.move(
        peer.tree / f"manifest/lab/{second['revision']}",
        peer.tree / f"manifest/lab/{first['revision']}",
    )
    end = await station.run("copy", revision=first["revision"])
    assert (end["code"], "make revision" in end["detail"]) == ("metadata", True)
    assert station.complete_revisions() == []


async def test_a_peer_that_changed_a_line_of_the_manifest_is_refused(
    station: Syncing, peer: Peer
) -> None:
    theirs = await peer.sync()
    path = peer.tree / f"manifest/lab/{theirs['revision']}"
    entries = peer.syncing.entries(theirs["revision"])
    one, two = (entries[f"lab-000{n}-1.0-1.noarch.rpm"].sha256 for n in (1, 2))
    path.write_bytes(path.read_bytes().replace(one.encode(), two.encode()))
    end = await station.run("copy", revision=theirs["revision"])
    assert (end["code"], "manifest" in end["detail"]) == ("metadata", True)
    assert station.complete_revisions() == []


async def test_peers_that_are_away_do_not_keep_a_sync_from_upstream(
    station: Syncing, peer: Peer
) -> None:
    station.peers = [{"name": "StationB", "url": "https://127.0.0.1:1"}]
    assert (await station.run())["event"] == "staged"


class Fills:
    """A child that fills, and its events."""

    def __init__(self, station: Syncing, child: Child) -> None:
        self._station = station
        self._child = child
        self._events = child.events()

    async def order(self, **fields: Any) -> None:
        await self._child.send(self._station.job("fill", **fields))

    async def next(self) -> dict[str, Any]:
        async with asyncio.timeout(20):
            return await anext(self._events)


@pytest.fixture
async def fills(station: Syncing) -> AsyncIterator[Fills]:
    child = await station.launcher().open()
    yield Fills(station, child)
    await child.close()


PATH = "lab-0001-1.0-1.noarch.rpm"


async def test_a_fill_grows_in_staging_and_ends_in_the_pool(
    station: Syncing, fills: Fills, peer: Peer, upstream: Upstream
) -> None:
    theirs = await peer.sync()
    await station.run("manifest", revision=theirs["revision"])
    entry = station.entries(theirs["revision"])[PATH]
    upstream.forget()
    await fills.order(path=PATH, revision=theirs["revision"])
    growing = await fills.next()
    assert growing["event"] == "growing", growing
    assert (growing["sha256"], growing["size"]) == (entry.sha256, entry.size)
    filled = await fills.next()
    assert filled == {
        "event": "filled",
        "source": "lab",
        "revision": theirs["revision"],
        "path": PATH,
        "sha256": entry.sha256,
        "size": entry.size,
        "mtime": entry.mtime,
    }
    assert entry.sha256 in station.pool()
    assert not Path(growing["file"]).exists()
    assert upstream.requests() == []


async def test_a_fill_without_manifest_here_asks_a_peer_for_it(
    station: Syncing, fills: Fills, peer: Peer
) -> None:
    theirs = await peer.sync()
    await fills.order(path=PATH, revision=theirs["revision"])
    assert [(await fills.next())["event"] for _ in range(2)] == ["growing", "filled"]


async def test_a_fill_that_would_not_leave_the_floor_fails_before_a_client_has_its_first_byte(
    station: Syncing, fills: Fills, peer: Peer
) -> None:
    theirs = await peer.sync()
    await fills.order(path=PATH, revision=theirs["revision"], floor_bytes=2**60)
    end = await fills.next()
    assert (end["event"], end["code"]) == ("failed", "no-space")
    assert "stay free" in end["detail"]
    assert not station.pool()


async def test_a_fill_of_repomd_brings_the_manifest_of_its_revision(
    station: Syncing, fills: Fills, peer: Peer
) -> None:
    theirs = await peer.sync()
    await fills.order(path="repodata/repomd.xml", revision=theirs["revision"])
    assert [(await fills.next())["event"] for _ in range(2)] == ["metadata", "filled"]
    assert station.entries(theirs["revision"]) == peer.syncing.entries(theirs["revision"])
    assert not station.is_complete(theirs["revision"])


async def test_a_fill_of_repomd_and_a_copy_at_the_same_moment_write_into_files_of_their_own(
    station: Syncing, fills: Fills, peer: Peer, repository: Repository
) -> None:
    theirs = await peer.syncing.run()
    peer.offer(theirs["revision"])
    peer.server.fault("/pool/", "delay", 0.5)
    copy = asyncio.create_task(station.run("copy", revision=theirs["revision"]))
    await fills.order(path="repodata/repomd.xml", revision=theirs["revision"])
    seen: set[str] = set()
    while not copy.done():
        seen |= {name.partition("-")[0] for name in station.left_over() if "~" in name}
        await asyncio.sleep(0.01)
    assert (await copy)["event"] == "staged", await copy
    assert [(await fills.next())["event"] for _ in range(2)] == ["metadata", "filled"]
    assert seen == {"fill", "object"}
    assert station.stored(theirs["revision"]) == repository.files()
    assert station.left_over() == []


async def test_a_fill_that_the_peer_breaks_off_goes_on_from_upstream_in_the_same_file(
    station: Syncing, fills: Fills, peer: Peer, upstream: Upstream
) -> None:
    theirs = await peer.sync()
    await station.run("manifest", revision=theirs["revision"])
    entry = station.entries(theirs["revision"])[PATH]
    peer.server.fault(entry.sha256, "reset", 200_000)
    await fills.order(path=PATH, revision=theirs["revision"])
    assert [(await fills.next())["event"] for _ in range(2)] == ["growing", "filled"]
    assert len(upstream.requests(PATH)) >= 1


async def test_a_fill_whose_first_bytes_were_wrong_is_not_mended_under_its_readers(
    station: Syncing, fills: Fills, peer: Peer
) -> None:
    theirs = await peer.sync()
    await station.run("manifest", revision=theirs["revision"])
    entry = station.entries(theirs["revision"])[PATH]
    peer.server.fault(entry.sha256, "corrupt")
    await fills.order(path=PATH, revision=theirs["revision"])
    assert (await fills.next())["event"] == "growing"
    failed = await fills.next()
    assert (failed["event"], failed["code"]) == ("failed", "checksum")
    peer.server.heal()
    await fills.order(path=PATH, revision=theirs["revision"])
    assert [(await fills.next())["event"] for _ in range(2)] == ["growing", "filled"]


async def test_one_child_fills_several_files_at_once(
    station: Syncing, fills: Fills, upstream: Upstream
) -> None:
    revision = (await station.run())["revision"]
    paths = [f"lab-000{n}-1.0-1.noarch.rpm" for n in (1, 2, 3)]
    for path in paths:
        station.layout.pool(station.entries(revision)[path].sha256).unlink()
        await fills.order(path=path, revision=None)
    ended = [await fills.next() for _ in range(6)]
    assert sorted(event["path"] for event in ended if event["event"] == "filled") == paths


async def test_a_fill_of_an_unknown_path_fails_for_good(station: Syncing, fills: Fills) -> None:
    revision = (await station.run())["revision"]
    await fills.order(path="no-such.rpm", revision=revision)
    failed = await fills.next()
    assert (failed["event"], failed["code"], failed["retriable"]) == ("failed", "missing", False)
    assert (failed["source"], failed["revision"], failed["path"]) == (
        "lab",
        revision,
        "no-such.rpm",
    )


async def test_a_tolerated_miss_is_listed_and_the_revision_is_complete(
    station: Syncing, upstream: Upstream
) -> None:
    upstream.fault(PATH, "status", 404)
    station.source["tolerate_missing"] = 1
    end = await station.run()
    assert (end["event"], end["missing"]) == ("staged", [PATH])
    assert station.is_complete(end["revision"])
