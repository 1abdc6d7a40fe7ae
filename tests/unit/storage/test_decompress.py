"""Decompression: right for what createrepo writes, bounded for what a hostile upstream sends."""

import bz2
import gzip
import io
import lzma
import tracemalloc

import pytest
import zstandard

from station.repo.errors import RepoError
from station.storage.decompress import PIECE_BYTES, decompressed

TEXT = b"<metadata>" + b"0123456789" * 100_000 + b"</metadata>"
COMPRESSED = {
    "gzip": gzip.compress(TEXT),
    "xz": lzma.compress(TEXT),
    "bz2": bz2.compress(TEXT),
    "zstd": zstandard.compress(TEXT),
    "plain": TEXT,
}


def opened(content: bytes, limit: int | None = None) -> bytes:
    pieces = list(decompressed(io.BytesIO(content), limit, "primary"))
    assert all(len(piece) <= PIECE_BYTES for piece in pieces)
    return b"".join(pieces)


@pytest.mark.parametrize("kind", COMPRESSED)
def test_each_format_is_told_by_its_first_bytes(kind: str) -> None:
    assert opened(COMPRESSED[kind], len(TEXT)) == TEXT


@pytest.mark.parametrize("kind", COMPRESSED)
def test_one_byte_more_than_announced_is_refused(kind: str) -> None:
    with pytest.raises(RepoError, match=r"^primary: "):
        opened(COMPRESSED[kind], len(TEXT) - 1)


@pytest.mark.parametrize("kind", ["gzip", "xz", "bz2", "zstd"])
def test_members_one_after_another_are_one_file(kind: str) -> None:
    assert opened(COMPRESSED[kind] * 2) == TEXT * 2


@pytest.mark.parametrize("kind", ["gzip", "xz", "bz2", "zstd"])
@pytest.mark.parametrize("damage", ["cut", "flipped", "garbage"])
def test_damage_is_refused(kind: str, damage: str) -> None:
    content = bytearray(COMPRESSED[kind])
    if damage == "cut":
        del content[-9:]
    elif damage == "flipped":
        content[len(content) // 2] ^= 0xFF
    else:
        content += b"garbage"
    try:
        found = opened(bytes(content))
    except RepoError:
        return
    assert kind == "zstd" and damage in ("cut", "flipped") and found != TEXT


BOMB = bytes(256 * 1024 * 1024)


@pytest.mark.parametrize("kind", ["gzip", "xz", "bz2", "zstd"])
def test_a_bomb_stops_at_the_announced_size_in_little_memory(kind: str) -> None:
    content = {
        "gzip": lambda: gzip.compress(BOMB, 1),
        "xz": lambda: lzma.compress(BOMB, preset=0),
        "bz2": lambda: bz2.compress(BOMB[: 64 * 1024 * 1024], 1),
        "zstd": lambda: zstandard.compress(BOMB),
    }[kind]()
    tracemalloc.start()
    try:
        with pytest.raises(RepoError, match="not more than announced"):
            for _ in decompressed(io.BytesIO(content), 1_000_000, "primary"):
                pass
        assert tracemalloc.get_traced_memory()[1] < 16 * 1024 * 1024
    finally:
        tracemalloc.stop()


def test_many_members_are_refused() -> None:
    with pytest.raises(RepoError, match="members"):
        opened(gzip.compress(b"") * 100_000)


def test_a_window_that_needs_much_memory_is_refused() -> None:
    head = lzma.LZMACompressor(lzma.FORMAT_XZ, preset=9)
    with pytest.raises(RepoError):
        opened(head.compress(TEXT) + head.flush())
    parameters = zstandard.ZstdCompressionParameters.from_level(3, window_log=27)
    wide = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
    with pytest.raises(RepoError):
        opened(wide.compress(TEXT) + wide.flush())
