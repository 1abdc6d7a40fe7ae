"""Checksums: strong ones only, and every byte counted."""

import hashlib

import pytest

from station.repo.checksum import Checksum, VerifyingHasher, parse_checksum
from station.repo.errors import RepoError

BODY = b"bytes of a package"


@pytest.mark.parametrize("kind", ["sha256", "sha384", "sha512"])
def test_strong_checksums_are_accepted_and_verified(kind: str) -> None:
    checksum = parse_checksum(kind, hashlib.new(kind, BODY).hexdigest())
    hasher = VerifyingHasher(checksum, len(BODY), "package")
    hasher.update(BODY[:5])
    hasher.update(BODY[5:])
    assert hasher.finish() == hashlib.sha256(BODY).hexdigest()


@pytest.mark.parametrize(
    ("kind", "digits"),
    [
        ("sha1", "a" * 40),
        ("sha", "a" * 40),
        ("md5", "a" * 32),
        ("sha224", "a" * 56),
        ("", "a" * 64),
        ("crc32", "a" * 8),
        ("SHA256", "a" * 64),
        ("sha256", "a" * 63),
        ("sha256", "A" * 64),
        ("sha256", "g" * 64),
        ("sha256", ""),
    ],
)
def test_weak_unknown_and_misspelt_ones_are_refused(kind: str, digits: str) -> None:
    with pytest.raises(RepoError, match=r"^primary checksum: "):
        parse_checksum(kind, digits, "primary checksum")


def test_a_weak_one_passes_where_it_is_allowed() -> None:
    weak = parse_checksum("sha", hashlib.sha1(BODY).hexdigest(), is_weak_allowed=True)
    hasher = VerifyingHasher(weak, None, "package")
    hasher.update(BODY)
    assert hasher.finish() == hashlib.sha256(BODY).hexdigest()


def test_other_bytes_are_refused() -> None:
    hasher = VerifyingHasher(Checksum("sha256", "0" * 64), None, "package")
    hasher.update(BODY)
    with pytest.raises(RepoError, match="announced"):
        hasher.finish()


def test_a_body_longer_than_announced_is_refused_at_the_first_byte_too_many() -> None:
    hasher = VerifyingHasher(None, 4, "package")
    hasher.update(b"1234")
    with pytest.raises(RepoError, match="longer"):
        hasher.update(b"5")


def test_a_body_cut_short_is_refused() -> None:
    hasher = VerifyingHasher(None, 4, "package")
    hasher.update(b"123")
    with pytest.raises(RepoError, match="4 bytes announced"):
        hasher.finish()
