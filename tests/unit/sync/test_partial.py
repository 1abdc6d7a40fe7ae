"""A growing file: hashed as written, resumed with its bytes hashed again, never changed under readers."""

import errno
import hashlib
from pathlib import Path

import pytest

from station.repo.checksum import Checksum
from station.repo.errors import RepoError
from station.sync.failure import SyncFailed
from station.sync.partial import RESUME_BYTES_MIN, Growing, Partial, writing

BODY = bytes(range(256)) * 2048  # 512 KiB
SHA256 = hashlib.sha256(BODY).hexdigest()


def partial(tmp_path: Path) -> Partial:
    return Partial(tmp_path / "object", Checksum("sha256", SHA256), len(BODY))


def test_the_whole_is_named_by_its_sha256(tmp_path: Path) -> None:
    one = partial(tmp_path)
    one.open(resume=False)
    one.write(BODY[:1000])
    one.write(BODY[1000:])
    assert one.finish() == SHA256
    one.close()
    assert one.path.read_bytes() == BODY


def test_other_bytes_and_too_few_are_refused(tmp_path: Path) -> None:
    one = partial(tmp_path)
    one.open(resume=False)
    one.write(BODY[:-1])
    with pytest.raises(RepoError, match="bytes announced"):
        one.finish()
    one.write(b"x")
    with pytest.raises(RepoError, match="announced"):
        one.finish()
    one.discard()
    assert list(tmp_path.iterdir()) == []


def test_one_byte_too_many_is_refused_at_once(tmp_path: Path) -> None:
    one = partial(tmp_path)
    one.open(resume=False)
    with pytest.raises(RepoError, match="not longer"):
        one.write(BODY + b"x")
    one.close()


def test_a_large_partial_is_continued_with_its_validator(tmp_path: Path) -> None:
    first = partial(tmp_path)
    first.open(resume=True)
    first.keep_validator('"v1"')
    first.write(BODY[:RESUME_BYTES_MIN])
    first.close()
    second = partial(tmp_path)
    second.open(resume=True)
    assert (second.received, second.validator) == (RESUME_BYTES_MIN, '"v1"')
    second.write(BODY[RESUME_BYTES_MIN:])
    assert second.finish() == SHA256
    second.discard()


@pytest.mark.parametrize("length", [1, RESUME_BYTES_MIN - 1, len(BODY) + 1])
def test_a_small_or_too_long_partial_is_begun_anew(tmp_path: Path, length: int) -> None:
    (tmp_path / "object").write_bytes(bytes(length))
    one = partial(tmp_path)
    one.open(resume=True)
    assert one.received == 0
    one.write(BODY)
    assert one.finish() == SHA256
    one.close()


def test_a_sha512_is_verified_and_the_sha256_returned(tmp_path: Path) -> None:
    checksum = Checksum("sha512", hashlib.sha512(BODY).hexdigest())
    one = Partial(tmp_path / "object", checksum, None)
    one.open(resume=False)
    one.write(BODY)
    assert one.finish() == SHA256
    one.close()


def growing(tmp_path: Path) -> Growing:
    one = Growing(tmp_path / "object", Checksum("sha256", SHA256), len(BODY))
    one.open(resume=False)
    return one


def test_an_answer_from_the_beginning_is_compared_with_what_was_sent(tmp_path: Path) -> None:
    one = growing(tmp_path)
    one.begin(0)
    one.write(BODY[:3000])
    one.begin(0)
    assert one.position == 0
    one.write(BODY[:1000])
    assert (one.position, one.received) == (1000, 3000)
    one.write(BODY[1000:5000])
    assert one.position == one.received == 5000
    one.write(BODY[5000:])
    assert one.finish() == SHA256
    one.close()
    assert one.path.read_bytes() == BODY


def test_an_answer_that_differs_from_what_was_sent_is_refused(tmp_path: Path) -> None:
    one = growing(tmp_path)
    one.begin(0)
    one.write(BODY[:3000])
    one.begin(0)
    with pytest.raises(RepoError, match="sent before"):
        one.write(b"x" + BODY[1:5000])
    one.close()
    assert one.path.read_bytes() == BODY[:3000]


@pytest.mark.parametrize(
    ("number", "code"),
    [(errno.ENOSPC, "no-space"), (errno.EDQUOT, "no-space"), (errno.EIO, "storage")],
)
def test_what_the_storage_refuses_has_a_code(number: int, code: str) -> None:
    with pytest.raises(SyncFailed) as failed, writing():
        raise OSError(number, "said the disk", "/storage/x")
    assert (failed.value.code, "/storage/x" in failed.value.detail) == (code, True)
