from station.control.storage_view import StoredRevision, StoredSource
from station.control.sync_plan import (
    AskUpstream,
    Attempts,
    CopyFromPeers,
    FetchManifest,
    Work,
    choose_manifest,
    choose_work,
)
from station.model.identity import Revision
from station.model.publication import Publication
from station.model.report import SourceReport

R1, R2 = Revision("1" * 64), Revision("2" * 64)
NOTHING, SILENT, NO_ATTEMPTS = StoredSource(), SourceReport(), Attempts()
WHOLE = StoredSource((Publication(1, 10, R1),), {R1: StoredRevision(True, 5, 500, 10)})
PARTIAL = StoredSource((Publication(1, 10, R1),), {R1: StoredRevision(False, 5, 500, 10)})
PEER_HAS_R1 = {"B": SourceReport(revisions={R1: 10}, complete=frozenset({R1}))}
PEER_HAS_R2 = {"B": SourceReport(revisions={R2: 20}, complete=frozenset({R2}))}


def choose(
    stored: StoredSource = NOTHING,
    own: SourceReport = SILENT,
    peers: dict[str, SourceReport] | None = None,
    attempts: Attempts = NO_ATTEMPTS,
    *,
    is_on_duty: bool = True,
    wall: float = 1000.0,
) -> Work | None:
    return choose_work("base", stored, own, peers or {}, attempts, is_on_duty=is_on_duty, wall=wall)


def test_station_on_duty_asks_upstream_at_once_for_a_new_source() -> None:
    assert choose() == AskUpstream("base", "new on the mirror list")


def test_station_without_duty_never_asks_upstream() -> None:
    assert choose(is_on_duty=False) is None
    assert choose(is_on_duty=False, attempts=Attempts(is_due=True)) is None


def test_candidate_that_a_peer_has_is_copied_not_fetched_from_upstream() -> None:
    wants = SourceReport(candidate=R1)
    assert choose(own=wants, peers=PEER_HAS_R1) == CopyFromPeers("base", R1)
    assert choose(own=wants, peers=PEER_HAS_R1, is_on_duty=False) == CopyFromPeers("base", R1)


def test_what_the_barrier_waits_for_is_copied_before_newer_content() -> None:
    peer = SourceReport(revisions={R1: 10, R2: 20}, complete=frozenset({R1, R2}))
    wants = SourceReport(candidate=R1)
    assert choose(own=wants, peers={"B": peer}) == CopyFromPeers("base", R1)


def test_candidate_of_a_peer_is_copied_before_our_own_barrier_has_heard_of_it() -> None:
    peer = SourceReport(revisions={R2: 20}, complete=frozenset({R2}), candidate=str(R2))
    assert choose(WHOLE, peers={"B": peer}) == CopyFromPeers("base", R2)


def test_manifest_of_what_is_shown_comes_before_the_candidate() -> None:
    peer = SourceReport(
        revisions={R1: 10, R2: 20},
        complete=frozenset({R1, R2}),
        candidate=str(R2),
        live=Publication(1, 10, R1),
    )
    assert choose(peers={"B": peer}) == FetchManifest("base", R1)


def test_what_nobody_waits_for_is_not_copied() -> None:
    assert choose(WHOLE, peers=PEER_HAS_R2) is None


def test_older_revision_that_is_live_elsewhere_is_copied() -> None:
    here = {R1: StoredRevision(True, 5, 500, 30), R2: StoredRevision(False, 5, 500, 20)}
    newer = StoredSource((Publication(2, 30, R1),), here)
    peer = SourceReport(Publication(3, 20, R2), revisions={R2: 20}, complete=frozenset({R2}))
    assert choose(newer, peers={"B": peer}) == CopyFromPeers("base", R2)


def test_complete_source_is_left_alone_until_the_schedule_or_somebody_asks() -> None:
    assert choose(WHOLE) is None
    assert choose(WHOLE, attempts=Attempts(is_due=True)) == AskUpstream("base", "scheduled")
    assert choose(WHOLE, SourceReport(requested_at=999.0)) == AskUpstream("base", "requested")


def test_wish_made_on_another_station_is_heard_by_the_one_on_duty() -> None:
    peers = {"B": SourceReport(requested_at=999.0)}
    assert choose(WHOLE, peers=peers) == AskUpstream("base", "requested")
    assert choose(WHOLE, SourceReport(checked_at=999.5), peers) is None


def test_interrupted_first_sync_is_taken_up_again() -> None:
    assert choose(PARTIAL) == AskUpstream("base", "new on the mirror list")


def test_failed_run_waits_for_the_schedule() -> None:
    assert choose(attempts=Attempts(1, 999.0)) is None
    assert choose(attempts=Attempts(1, 999.0, is_due=True)) == AskUpstream("base", "scheduled")


def test_failed_copy_is_tried_again_after_a_growing_pause() -> None:
    wants = SourceReport(candidate=R1)
    assert choose(own=wants, peers=PEER_HAS_R1, attempts=Attempts(1, 998.0)) is None
    again = choose(own=wants, peers=PEER_HAS_R1, attempts=Attempts(1, 995.0))
    assert again == CopyFromPeers("base", R1)
    assert choose(own=wants, peers=PEER_HAS_R1, attempts=Attempts(9, 950.0)) is None


def test_manifest_of_what_the_group_shows_is_fetched_before_its_files_are_anywhere() -> None:
    peer = SourceReport(Publication(1, 20, R2), revisions={R2: 20})
    assert choose(peers={"B": peer}, is_on_duty=False) == FetchManifest("base", R2)


def test_while_the_storage_takes_nothing_the_manifests_of_what_is_shown_and_coming_are_fetched() -> (
    None
):
    def chosen(*kept: Revision, attempts: Attempts = NO_ATTEMPTS) -> Work | None:
        return choose_manifest("base", kept, {"B": peer}, attempts, wall=1000.0)

    peer = SourceReport(Publication(1, 10, R1), revisions={R1: 10, R2: 20}, candidate=R2)
    assert chosen() == FetchManifest("base", R1)
    assert chosen(R1) == FetchManifest("base", R2)
    assert chosen(R1, R2) is None
    assert chosen(attempts=Attempts(failures=1, failed_at=999.0)) is None, "it rests"
    peer = SourceReport(Publication(1, 10, R1), candidate=R2)
    assert chosen() is None, "nobody has them"
