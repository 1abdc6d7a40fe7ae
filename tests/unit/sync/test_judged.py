"""What passes on its way to a client: right bytes whole, wrong ones never."""

import hashlib
from collections.abc import AsyncIterator

import pytest

from station.sync.fetch import FetchFailed
from station.sync.judged import WITHHELD_BYTES, judged, part

DATA = bytes(range(256)) * 1024  # 256 KiB
SHA256 = hashlib.sha256(DATA).hexdigest()


async def in_pieces(data: bytes, size: int = 10_000) -> AsyncIterator[bytes]:
    for start in range(0, len(data), size):
        yield data[start : start + size]


async def passed(data: bytes) -> tuple[bytes, bool]:
    """What a client has in the end, and whether it was told that this is all."""
    received = b""
    try:
        async for piece in judged(in_pieces(data), SHA256, len(DATA)):
            received += piece
    except FetchFailed as error:
        assert error.code == "checksum"
        return received, False
    return received, True


async def test_right_bytes_pass_whole() -> None:
    assert await passed(DATA) == (DATA, True)


@pytest.mark.parametrize("at", [0, len(DATA) // 2, len(DATA) - 1])
async def test_one_wrong_byte_anywhere_and_the_end_is_withheld(at: int) -> None:
    wrong = DATA[:at] + bytes([DATA[at] ^ 1]) + DATA[at + 1 :]
    received, is_whole = await passed(wrong)
    assert not is_whole
    assert len(received) == len(DATA) - WITHHELD_BYTES


async def test_too_few_and_too_many_bytes_are_wrong() -> None:
    for wrong in (DATA[:-1], DATA + b"x"):
        received, is_whole = await passed(wrong)
        assert not is_whole
        assert len(received) < len(DATA)


async def test_an_empty_object_passes() -> None:
    sha256 = hashlib.sha256(b"").hexdigest()
    assert [p async for p in judged(in_pieces(b""), sha256, 0)] == [b""]


@pytest.mark.parametrize(
    ("offset", "end"), [(0, len(DATA)), (9_999, 10_001), (5, 5), (200_000, 262_144)]
)
async def test_a_part_is_what_was_asked_for(offset: int, end: int) -> None:
    found = [piece async for piece in part(in_pieces(DATA), offset, end)]
    assert b"".join(found) == DATA[offset:end]
