"""The plan: exact before the first download."""

from station.repo.checksum import Checksum
from station.repo.plan import RESERVE_BYTES_MIN, Wanted, plan_disk, plan_sync

A = Wanted("a.rpm", Checksum("sha256", "aa" * 32), 100, 1)
A2 = Wanted("copy/a.rpm", A.checksum, 100, 1)
B = Wanted("b.rpm", Checksum("sha512", "bb" * 64), 50, 1)


def test_missing_content_is_counted_once_and_what_is_there_not() -> None:
    plan = plan_sync([A, A2, B], has=lambda item: item is B)
    assert plan.missing == (A,)
    assert (plan.missing_bytes, plan.total, plan.total_bytes) == (100, 3, 250)


def test_the_pool_is_asked_once_for_each_content() -> None:
    asked: list[Wanted] = []

    def has(item: Wanted) -> bool:
        asked.append(item)
        return False

    plan_sync([A, A2, A], has)
    assert asked == [A]


def test_only_sha256_names_an_object() -> None:
    assert A.sha256 == "aa" * 32
    assert B.sha256 is None


def test_a_plan_fits_up_to_the_last_byte_above_the_floor() -> None:
    needed = 1000 + RESERVE_BYTES_MIN
    assert plan_disk(1000, free=needed + 7, floor=7).fits
    short = plan_disk(1000, free=needed + 6, floor=7)
    assert not short.fits
    assert "free 1 bytes more" in short.refusal()


def test_a_full_disk_does_not_refuse_a_plan_that_writes_nothing() -> None:
    assert plan_disk(0, free=0, floor=10**9).fits
