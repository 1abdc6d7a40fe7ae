"""Decompression of metadata under bounds: bytes out, memory, members; never a ratio alone.

Measured expansion: gzip 1,028 : 1, xz 6,842 : 1, zstd 32,669 : 1, bz2 1,123,595 : 1.
"""

import bz2
import lzma
import zlib
from collections.abc import Callable, Iterator
from typing import BinaryIO, Protocol

import zstandard

from station.repo.errors import RepoError

PIECE_BYTES = 256 * 1024
INPUT_BYTES = 64 * 1024
# Nothing that is opened (primary.xml of the largest repositories has 1 GiB) is larger.
OPEN_BYTES_MAX = 4 * 1024**3
# Decoders keep a window of what they wrote. createrepo_c's strongest setting needs 9 MiB for xz and 8 MiB for zstd.
WINDOW_BYTES_MAX = 32 * 1024 * 1024
XZ_MEMORY_MAX = WINDOW_BYTES_MAX + 8 * 1024 * 1024
MEMBERS_MAX = 1000  # concatenated streams; parallel compressors write some dozens

_GZIP, _XZ, _BZ2, _ZSTD = b"\x1f\x8b", b"\xfd7zXZ\x00", b"BZh", b"\x28\xb5\x2f\xfd"


def decompressed(file: BinaryIO, open_bytes_max: int | None, field: str) -> Iterator[bytes]:
    """The bytes of `file`, opened, in pieces of at most PIECE_BYTES. The format is told by its first bytes.

    Raises RepoError naming `field` as soon as there are more than `open_bytes_max` (None: OPEN_BYTES_MAX) bytes, for
    damage, for trailing garbage, for a window or memory beyond the bounds above. OSError passes.
    """
    limit = OPEN_BYTES_MAX if open_bytes_max is None else min(open_bytes_max, OPEN_BYTES_MAX)
    written = 0
    try:
        for piece in _opened(file):
            written += len(piece)
            if written > limit:
                raise RepoError(field, f"over {limit} bytes when opened", "not more than announced")
            yield piece
    except (zlib.error, lzma.LZMAError, zstandard.ZstdError, _Damaged, EOFError) as error:
        raise RepoError(field, str(error), "a whole file in gzip, xz, bzip2 or zstd") from error
    except OSError as error:
        if error.errno is not None:
            raise
        # How bz2 reports damage.
        raise RepoError(field, str(error), "a whole bzip2 file") from error
    except ValueError as error:
        if isinstance(error, RepoError):
            raise
        raise RepoError(field, str(error), "a whole file in gzip, xz, bzip2 or zstd") from error


class _Damaged(Exception):
    """The compressed stream ends early, or something follows it."""


class _Decoder(Protocol):
    """One member. `take` gives at most PIECE_BYTES; empty means: more input, or the end."""

    def take(self, data: bytes) -> bytes: ...
    @property
    def is_hungry(self) -> bool: ...
    @property
    def is_done(self) -> bool: ...
    @property
    def rest(self) -> bytes: ...


class _Zlib:
    def __init__(self) -> None:
        self._decoder = zlib.decompressobj(31)

    def take(self, data: bytes) -> bytes:
        return self._decoder.decompress(self._decoder.unconsumed_tail + data, PIECE_BYTES)

    @property
    def is_hungry(self) -> bool:
        return not self._decoder.unconsumed_tail

    @property
    def is_done(self) -> bool:
        return self._decoder.eof

    @property
    def rest(self) -> bytes:
        return self._decoder.unused_data


class _Native:
    """xz and bzip2: their decoders are alike."""

    def __init__(self, decoder: lzma.LZMADecompressor | bz2.BZ2Decompressor) -> None:
        self._decoder = decoder

    def take(self, data: bytes) -> bytes:
        return self._decoder.decompress(data, PIECE_BYTES)

    @property
    def is_hungry(self) -> bool:
        return self._decoder.needs_input

    @property
    def is_done(self) -> bool:
        return self._decoder.eof

    @property
    def rest(self) -> bytes:
        return self._decoder.unused_data


def _xz() -> _Native:
    return _Native(lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=XZ_MEMORY_MAX))


def _bz2() -> _Native:
    return _Native(bz2.BZ2Decompressor())


def _opened(file: BinaryIO) -> Iterator[bytes]:
    begin = file.read(INPUT_BYTES)
    if begin.startswith(_ZSTD):
        file.seek(-len(begin), 1)
        yield from _zstd(file)
    elif begin.startswith(_GZIP):
        yield from _members(file, begin, _Zlib, _GZIP)
    elif begin.startswith(_XZ):
        yield from _members(file, begin, _xz, _XZ)
    elif begin.startswith(_BZ2):
        yield from _members(file, begin, _bz2, _BZ2)
    else:
        while begin:
            yield begin
            begin = file.read(PIECE_BYTES)


def _zstd(file: BinaryIO) -> Iterator[bytes]:
    decoder = zstandard.ZstdDecompressor(max_window_size=WINDOW_BYTES_MAX)
    with decoder.stream_reader(
        file, read_size=INPUT_BYTES, read_across_frames=True, closefd=False
    ) as reader:
        while piece := reader.read(PIECE_BYTES):
            yield piece


def _members(
    file: BinaryIO, data: bytes, make: Callable[[], _Decoder], magic: bytes
) -> Iterator[bytes]:
    for _ in range(MEMBERS_MAX):
        decoder = make()
        while not decoder.is_done:
            if piece := decoder.take(data):
                yield piece
            data = b""
            if decoder.is_hungry and not decoder.is_done:
                data = file.read(INPUT_BYTES)
                if not data:
                    raise _Damaged("the file ends early")
        data = decoder.rest
        if len(data) < len(magic):
            data += file.read(INPUT_BYTES)
        if magic is _XZ:
            data = data.lstrip(b"\0")  # the format's own padding
        if not data:
            return
        if not data.startswith(magic):
            raise _Damaged("something follows the end")
    raise _Damaged(f"over {MEMBERS_MAX} concatenated members")
