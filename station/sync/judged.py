"""Bytes on their way to a client, no file between: judged as they pass, their end withheld until they are right."""

from collections.abc import AsyncGenerator, AsyncIterator

from station.repo.checksum import Checksum, VerifyingHasher
from station.repo.errors import RepoError
from station.sync.fetch import FetchFailed

WITHHELD_BYTES = 64 * 1024  # a client never has a wrong object whole


async def judged(
    pieces: AsyncIterator[bytes], sha256: str, size: int
) -> AsyncGenerator[bytes, None]:
    """The same bytes, the last WITHHELD_BYTES only once all of them are what `sha256` and `size` say.

    Raises FetchFailed "checksum" for others; what `pieces` raises passes.
    """
    hasher = VerifyingHasher(Checksum("sha256", sha256), size, sha256)
    tail = bytearray()
    try:
        async for piece in pieces:
            hasher.update(piece)
            tail += piece
            if len(tail) > WITHHELD_BYTES:
                ready = bytes(tail[:-WITHHELD_BYTES])
                del tail[:-WITHHELD_BYTES]
                yield ready
        hasher.finish()
    except RepoError as error:
        raise FetchFailed("checksum", str(error), transient=True) from error
    yield bytes(tail)


async def part(pieces: AsyncIterator[bytes], offset: int, end: int) -> AsyncGenerator[bytes, None]:
    """Of these bytes those from `offset` to `end`."""
    at = 0
    async for piece in pieces:
        wanted = piece[max(offset - at, 0) : max(end - at, 0)]
        at += len(piece)
        if wanted:
            yield wanted
        if at >= end:
            return
