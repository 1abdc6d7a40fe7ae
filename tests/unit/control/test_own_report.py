from dataclasses import replace

import pytest

from station.control.own_report import (
    RETAINED_MAX,
    complete_here,
    manifests_here,
    orders_known,
    source_report,
)
from station.control.storage_view import StorageView, StoredSource
from station.model.identity import Revision
from station.model.publication import Publication
from station.model.records import PublicationRecord
from station.model.report import SourceReport
from station.model.states import StorageState
from tests.unit.control.builders import FIRST, R1, R2, R3, SECOND, held, view


def test_what_lies_on_the_storage_is_reported() -> None:
    report = source_report(
        SourceReport(activity="syncing"),
        "base",
        view(),
        live=FIRST,
        candidate=R2,
        record=PublicationRecord(number=7, order=1, revision=R3, by="A"),
        kept=SECOND,
        copies={R3: 30},
        next_at=99.0,
    )
    assert report.next_at == 99.0
    assert (report.activity, report.live, report.candidate) == ("syncing", FIRST, R2)
    assert report.revisions == {R1: 10}
    assert report.complete == {R1}
    assert report.greatest == 7, "of the registry, the storage and what was shown here"


@pytest.mark.parametrize("state", ["missing", "foreign", "stalled", "denied"])
def test_while_the_storage_cannot_be_read_only_copies_of_manifests_count(state: str) -> None:
    storage = view(state=StorageState(state))
    assert manifests_here("base", storage, {R2: 20}) == {R2: 20}
    assert complete_here("base", storage) == frozenset()


def test_what_was_live_on_this_storage_is_told_newest_first_and_nothing_else() -> None:
    third = Publication(3, 30, R3)
    revisions = {R1: held(10), R2: held(20), R3: held(30), Revision("4" * 64): held(5)}
    stored = StoredSource((FIRST, SECOND, third), revisions)
    assert retained(replace(view(), sources={"base": stored})) == (R2, R1)
    stored = StoredSource((FIRST, SECOND, third), {R1: held(10), R3: held(30)})
    assert retained(replace(view(), sources={"base": stored})) == (R1,), "the manifest is there"
    assert retained(view()) == (), "it is live"


def test_of_a_long_history_only_the_newest_are_told() -> None:
    history = [Publication(n, n, Revision(f"{n:064x}")) for n in range(1, 3 * RETAINED_MAX)]
    stored = StoredSource(tuple(history), {p.revision: held(p.order) for p in history})
    told = retained(replace(view(), sources={"base": stored}))
    assert len(told) == RETAINED_MAX
    assert told[0] == history[-2].revision


def retained(storage: StorageView) -> tuple[Revision, ...]:
    return source_report(
        SourceReport(),
        "base",
        storage,
        live=None,
        candidate=None,
        record=None,
        kept=None,
        copies={},
        next_at=0.0,
    ).retained


def test_a_storage_that_takes_nothing_more_counts_with_the_copies() -> None:
    storage = view(state=StorageState.READ_ONLY)
    assert manifests_here("base", storage, {R2: 20}) == {R1: 10, R2: 20}
    assert complete_here("base", storage) == {R1}


def test_order_of_a_copy_comes_from_whoever_knows_it() -> None:
    others = [SourceReport(revisions={R3: 30})]
    known = orders_known({R1, R2, R3}, view(), "base", [SECOND], others)
    assert known == {R1: 10, R2: 20, R3: 30}
    assert orders_known({R2}, view(), "base", [], []) == {}
