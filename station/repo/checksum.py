"""Checksums as upstream announces them, and a hasher that judges bytes while they stream through."""

import hashlib
import re
from typing import NamedTuple

from station.repo.errors import RepoError

# Hexadecimal digits by type, as createrepo_c names the types. `sha` is its old name of sha1.
STRONG = {"sha256": 64, "sha384": 96, "sha512": 128}
WEAK = {"md5": 32, "sha": 40, "sha1": 40, "sha224": 56}
_HEX = re.compile(r"[0-9a-f]+")


class Checksum(NamedTuple):
    """`kind` one of STRONG or WEAK, `hex` lower-case digits of the right number."""

    kind: str
    hex: str

    def __str__(self) -> str:
        return f"{self.kind}:{self.hex}"


def parse_checksum(
    kind: str, digits: str, field: str = "checksum", *, is_weak_allowed: bool = False
) -> Checksum:
    """The checksum. Raises RepoError naming `field` for an unknown type, one below sha256, or wrong digits."""
    length = STRONG.get(kind)
    if length is None:
        length = WEAK.get(kind)
        if length is None:
            raise RepoError(field, kind, f"one of {', '.join(STRONG)}")
        if not is_weak_allowed:
            raise RepoError(
                field, kind, "at least sha256; a weaker one only by the source's own setting"
            )
    if len(digits) != length or not _HEX.fullmatch(digits):
        raise RepoError(field, digits, f"{length} lower-case hexadecimal digits for {kind}")
    return Checksum(kind, digits)


class VerifyingHasher:
    """Feed every byte, then `finish`: it returns the sha256 that names the object in the pool.

    `checksum` and `size` (bytes) are what was announced; None where nothing was. A body longer than announced is
    refused at the first byte too many.
    """

    def __init__(self, checksum: Checksum | None, size: int | None, field: str) -> None:
        self.size = 0
        self._checksum = checksum
        self._announced = size
        self._field = field
        self._sha256 = hashlib.sha256()
        self._other = (
            None
            if checksum is None or checksum.kind == "sha256"
            else hashlib.new("sha1" if checksum.kind == "sha" else checksum.kind)
        )

    def update(self, piece: bytes | bytearray | memoryview) -> None:
        """Take the next bytes. Raises RepoError when there are more than announced."""
        self.size += len(piece)
        if self._announced is not None and self.size > self._announced:
            raise RepoError(
                self._field, f"over {self._announced} bytes", "not longer than announced"
            )
        self._sha256.update(piece)
        if self._other is not None:
            self._other.update(piece)

    def finish(self) -> str:
        """The sha256 in hex. Raises RepoError when size or checksum differ from what was announced."""
        if self._announced is not None and self.size != self._announced:
            raise RepoError(self._field, f"{self.size} bytes", f"{self._announced} bytes announced")
        sha256 = self._sha256.hexdigest()
        if self._checksum is not None:
            found = sha256 if self._other is None else self._other.hexdigest()
            if found != self._checksum.hex:
                raise RepoError(self._field, found, f"{self._checksum} announced")
        return sha256
