"""Retention: a reason for each revision that is kept, and none lost before its time."""

import pytest

from station.model.identity import Revision
from station.model.publication import Publication
from station.repo.retention import (
    GRACE_S,
    Kept,
    RevisionFacts,
    advance_idle,
    judge_revisions,
    retain_for,
)

R = [Revision(f"{n:064x}") for n in range(6)]
HOUR = 3600.0


def judge(
    *facts: RevisionFacts,
    live: list[Publication],
    frozen: tuple[Revision, ...] = (),
    staged: tuple[Revision, ...] = (),
    in_use: tuple[Revision, ...] = (),
) -> dict[Revision, Kept]:
    return judge_revisions(
        facts, live, frozen=frozen, staged=staged, in_use=in_use, retain_s=72 * HOUR
    )


def fact(n: int, idle_s: float = 10**9, *, order: int = 0, complete: bool = True) -> RevisionFacts:
    return RevisionFacts(R[n], order or n + 1, complete, idle_s)


LIVE = [Publication(1, 1, R[0]), Publication(2, 2, R[1])]


def test_the_greatest_publication_is_kept_for_ever() -> None:
    assert judge(fact(1), live=LIVE) == {R[1]: Kept.LIVE}


def test_what_was_live_is_kept_for_its_time_and_no_longer() -> None:
    assert judge(fact(0, 72 * HOUR - 1), fact(1), live=LIVE)[R[0]] is Kept.WAS_LIVE
    assert R[0] not in judge(fact(0, 72 * HOUR), fact(1), live=LIVE)


def test_frozen_staged_and_used_revisions_are_kept_whatever_their_age() -> None:
    found = judge(
        fact(0),
        fact(1),
        fact(2),
        fact(3),
        live=LIVE,
        frozen=(R[0],),
        staged=(R[2],),
        in_use=(R[3],),
    )
    assert found[R[0]] is Kept.FROZEN
    assert found[R[2]] is Kept.STAGED
    assert set(found) == set(R[:4])


def test_of_several_staged_revisions_only_the_newest_is_kept() -> None:
    found = judge(fact(1), fact(2), fact(3), live=LIVE)
    assert found == {R[1]: Kept.LIVE, R[3]: Kept.STAGED}


def test_an_incomplete_revision_that_nobody_works_on_goes_after_the_grace() -> None:
    assert judge(fact(4, GRACE_S - 1, complete=False), live=LIVE)[R[4]] is Kept.FRESH
    assert judge(fact(4, GRACE_S, complete=False), live=LIVE) == {}


def test_a_source_without_publication_keeps_its_newest_complete_revision() -> None:
    assert judge(fact(0), fact(1), live=[]) == {R[1]: Kept.STAGED}


def test_what_goes_live_again_is_live() -> None:
    again = [*LIVE, Publication(3, 1, R[0])]
    assert judge(fact(0), live=again) == {R[0]: Kept.LIVE}


@pytest.mark.parametrize(("expire_h", "retained_h"), [(0, 72), (48, 72), (49, 73), (200, 224)])
def test_retention_outlasts_what_clients_cache(expire_h: int, retained_h: int) -> None:
    assert retain_for(expire_h * HOUR) == retained_h * HOUR


def test_waiting_begins_at_the_first_look_and_anew_when_wanted_again() -> None:
    first = advance_idle({}, busy=(), seen=["a", "b"], elapsed_s=100)
    assert first == {"a": 0, "b": 0}
    second = advance_idle(first, busy=("b",), seen=["a", "b"], elapsed_s=100)
    assert second == {"a": 100}
    third = advance_idle(second, busy=(), seen=["a", "b"], elapsed_s=5)
    assert third == {"a": 105, "b": 0}
