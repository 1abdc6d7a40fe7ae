"""A manifest for a station whose storage takes nothing: made in memory, kept in the state directory.

As a copy (copying.py) it believes nothing that a peer says: the three files that make the revision's name must give
that name, the other metadata is what repomd.xml says, the manifest is made again from it.
"""

import asyncio
import os
from pathlib import Path

from station.repo.checksum import VerifyingHasher
from station.repo.errors import RepoError
from station.repo.location import REPOMD
from station.repo.manifest import Entry, lookup
from station.repo.repomd import Record
from station.runtime.lines import line
from station.storage.layout import manifest_copy
from station.storage.manifest_copies import keep_copy
from station.sync.content import Content, Stored, read_content
from station.sync.failure import SyncFailed
from station.sync.fetch import FetchFailed
from station.sync.index import ASC, KEY, Index, judge_index
from station.sync.judged import judged
from station.sync.order import Order
from station.sync.partial import writing
from station.sync.peers import Peers

# In memory: repomd.xml and its two companions, and primary.xml as it is sent. Of 100,000 packages it has 40 MiB.
_SMALL_BYTES_MAX = 1024 * 1024
_PRIMARY_BYTES_MAX = 256 * 1024 * 1024


def has_copy(order: Order) -> bool:
    """Whether the manifest of the ordered revision lies in the state directory."""
    assert order.revision is not None
    return manifest_copy(order.state / "manifests", order.source, order.revision).exists()


async def copy_manifest_away(order: Order, peers: Peers) -> int:
    """Bring the manifest of the ordered revision into the state directory; the order of the revision.

    Raises SyncFailed: "unreachable" (no peer has it), "metadata" (what a peer has is not that revision), "storage".
    """
    assert order.revision is not None
    hint = await peers.manifest(order.source, order.revision)
    try:
        index = await _index(order, hint, peers)
        content = await _content(index, hint, peers)
    except FetchFailed as error:
        raise SyncFailed("unreachable", error.detail, retriable=True) from error
    if content.manifest != hint:
        raise _not_that(order, "its manifest is not the one that the metadata gives")
    with writing():
        keep_copy(order.state, order.source, order.revision, content.manifest)
    line("info", "manifest.kept", source=order.source, revision=order.revision[:12])
    return index.order


async def _index(order: Order, hint: bytes, peers: Peers) -> Index:
    files: dict[str, bytes | None] = {}
    for path in (REPOMD, ASC, KEY):
        entry = _entry(hint, path)
        files[path] = await _read(entry, peers, _SMALL_BYTES_MAX) if entry else None
    repomd = files[REPOMD]
    if repomd is None:
        raise _not_that(order, "its manifest has no repomd.xml")
    index = judge_index(order, repomd, files[ASC], files[KEY])
    if index.revision != order.revision:
        raise _not_that(order, f"its files make revision {index.revision}")
    return index


async def _content(index: Index, hint: bytes, peers: Peers) -> Content:
    stored = {}
    primary = b""
    for record in index.parsed.records:
        entry = _entry(hint, record.location)
        if entry is None or (record.size is not None and entry.size != record.size):
            raise SyncFailed(
                "metadata",
                f"a peer's manifest: {record.location} is not as announced",
                retriable=True,
            )
        is_primary = record is index.parsed.primary
        if is_primary or record.checksum.kind != "sha256":
            content = await _read(entry, peers, _PRIMARY_BYTES_MAX)
            _judge(content, record)
            primary = content if is_primary else primary
        elif entry.sha256 != record.checksum.hex:
            raise SyncFailed(
                "metadata", f"a peer's manifest: {record.location} is another file", retriable=True
            )
        stored[record.location] = Stored(entry.sha256, entry.size)
    return await asyncio.to_thread(_parse, index, stored, primary)


def _parse(index: Index, stored: dict[str, Stored], primary: bytes) -> Content:
    """The parser reads a file: one that lies in memory."""
    fd = os.memfd_create("primary", os.MFD_CLOEXEC)
    try:
        with open(fd, "wb", closefd=False) as file:
            file.write(primary)
        return read_content(index, stored, Path(f"/proc/self/fd/{fd}"))
    finally:
        os.close(fd)


def _judge(content: bytes, record: Record) -> None:
    hasher = VerifyingHasher(record.checksum, record.size, record.location)
    try:
        hasher.update(content)
        hasher.finish()
    except RepoError as error:
        raise SyncFailed("metadata", f"a peer's manifest: {error}", retriable=True) from error


async def _read(entry: Entry, peers: Peers, size_max: int) -> bytes:
    if entry.size > size_max:
        raise SyncFailed(
            "metadata", f"{entry.path}: {entry.size} bytes, at most {size_max}", retriable=True
        )
    pieces = [
        p async for p in judged(peers.pieces(entry.sha256, entry.size), entry.sha256, entry.size)
    ]
    return b"".join(pieces)


def _entry(hint: bytes, path: str) -> Entry | None:
    try:
        return lookup(hint, path.encode())
    except RepoError as error:
        raise SyncFailed("metadata", f"a peer's manifest: {error}", retriable=True) from error


def _not_that(order: Order, why: str) -> SyncFailed:
    return SyncFailed(
        "metadata",
        f"a peer offers revision {order.revision} of {order.source}: {why}",
        retriable=True,
    )
