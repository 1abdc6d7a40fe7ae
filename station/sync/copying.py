"""A copy: one revision that a peer has, by hash. Nothing the peer says is believed.

The three files that make the revision's name are fetched by hash and must give that name; the metadata is what
repomd.xml says; the manifest is made again from it.
"""

from station.repo.checksum import Checksum
from station.repo.errors import RepoError
from station.repo.location import REPOMD
from station.repo.manifest import Entry, lookup
from station.storage.pool import Pool
from station.sync.content import Content
from station.sync.failure import SyncFailed
from station.sync.fetch import FetchFailed
from station.sync.index import ASC, KEY, Index, judge_index
from station.sync.objects import Objects
from station.sync.order import Order
from station.sync.partial import writing
from station.sync.peers import Peers
from station.sync.staging import Staged, Staging

_CAP = 1024 * 1024  # of each of the three files; the largest, repomd.xml, is read up to this size


async def copy_metadata(
    order: Order, peers: Peers, objects: Objects, staging: Staging, pool: Pool
) -> tuple[Index, Content]:
    """Metadata and manifest of the ordered revision. Event "metadata".

    Raises SyncFailed: "unreachable" (no peer has it), "metadata" (what a peer has is not that revision), and what
    staging raises.
    """
    assert order.revision is not None
    staging.require_storage()
    hint = await peers.manifest(order.source, order.revision)
    files: dict[str, bytes | None] = {}
    for path in (REPOMD, ASC, KEY):
        entry = _entry(hint, path)
        files[path] = None if entry is None else await _read(entry, objects, pool)
    repomd = files[REPOMD]
    if repomd is None:
        raise _not_that(order, "its manifest has no repomd.xml")
    index = judge_index(order, repomd, files[ASC], files[KEY])
    if index.revision != order.revision:
        raise _not_that(order, f"its files make revision {index.revision}")
    content = await staging.metadata(index)
    if content.manifest != hint:
        # Ours is made from verified bytes, so ours is right; the peer's must be looked after.
        raise _not_that(order, "its manifest is not the one that the metadata gives")
    return index, content


async def copy(
    order: Order, peers: Peers, objects: Objects, staging: Staging, pool: Pool
) -> Staged:
    """The whole revision: its packages from the peers, and from upstream what they lack. Raises SyncFailed."""
    index, content = await copy_metadata(order, peers, objects, staging, pool)
    return staging.complete(index, await staging.packages(content))


def _entry(hint: bytes, path: str) -> Entry | None:
    try:
        entry = lookup(hint, path.encode())
    except RepoError as error:
        raise SyncFailed("metadata", f"a peer's manifest: {error}", retriable=True) from error
    if entry is not None and entry.size > _CAP:
        raise SyncFailed("metadata", f"{path}: {entry.size} bytes, at most {_CAP}", retriable=True)
    return entry


async def _read(entry: Entry, objects: Objects, pool: Pool) -> bytes:
    with writing():
        is_here = pool.has(entry.sha256, entry.size)
    if not is_here:
        try:
            await objects.get(entry.path, Checksum("sha256", entry.sha256), entry.size, _uncounted)
        except FetchFailed as error:
            raise SyncFailed(
                "unreachable", f"{entry.path} {entry.sha256}: {error.detail}", retriable=True
            ) from error
    with writing(), pool.open(entry.sha256) as file:
        return file.read(_CAP)


def _uncounted(count: int) -> None:
    """Three small files."""


def _not_that(order: Order, why: str) -> SyncFailed:
    return SyncFailed(
        "metadata",
        f"a peer offers revision {order.revision} of {order.source}: {why}",
        retriable=True,
    )
