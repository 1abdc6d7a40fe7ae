"""What a worker believes: snapshots, freshness, flips, fills."""

import pytest

from station.http.view import Name, Shown
from station.model.identity import Revision
from station.model.publication import Publication
from station.model.snapshot import MemberView, Snapshot, SourceView, to_wire
from station.serve.world import World

OLD, NEW = Revision("a" * 64), Revision("b" * 64)
NOW = 1000.0
KEY = ("s", "p.rpm", OLD)


def take(world: World, view: SourceView, now: float, number: int = 1) -> None:
    world.take({"snapshot": to_wire(Snapshot(number, True, sources={"s": view})), "beat": now}, now)


def test_without_a_snapshot_nothing_is_fresh_and_nothing_stale_is_used() -> None:
    world = World(2.0)
    world.take({"beat": NOW}, NOW)
    assert not world.is_fresh(NOW)
    assert not world.may_answer_stale()
    assert world.not_ready_reason(NOW) == "no word from control yet"


def test_freshness_ends_two_seconds_after_the_newest_beat() -> None:
    world = World(2.0)
    take(world, SourceView(), NOW)
    world.take({"beat": NOW - 5}, NOW)
    assert world.is_fresh(NOW + 2)
    assert not world.is_fresh(NOW + 2.01)


def test_an_old_snapshot_is_used_only_where_nobody_else_is_ready() -> None:
    members = (MemberView("A", "a"), MemberView("B", "b"))
    world = World(2.0)
    world.take({"snapshot": to_wire(Snapshot(1, True, station="A", members=members))}, NOW)
    assert not world.may_answer_stale()
    world.take({"snapshot": to_wire(Snapshot(2, True, station="A", members=members[:1]))}, NOW)
    assert world.may_answer_stale()


def test_a_flip_comes_by_itself_and_its_hold_outlives_the_next_snapshot() -> None:
    world = World(2.0)
    take(world, SourceView(Publication(1, 1, OLD), Publication(2, 2, NEW), NOW + 1), NOW)
    assert world.shown("s", Name.SIGNATURE, NOW) == Shown(OLD)
    assert world.shown("s", Name.SIGNATURE, NOW + 1) == Shown(NEW)
    take(world, SourceView(Publication(2, 2, NEW)), NOW + 1.1, 2)
    assert world.shown("s", Name.REPOMD, NOW + 1.1) == Shown("", NOW + 1.25)
    assert world.shown("s", Name.REPOMD, NOW + 1.25) == Shown(NEW)


def test_a_snapshot_that_is_none_changes_nothing() -> None:
    world = World(2.0)
    take(world, SourceView(Publication(1, 1, OLD)), NOW)
    with pytest.raises((KeyError, TypeError, ValueError)):
        world.take({"snapshot": {"number": 2}}, NOW)
    assert world.shown("s", Name.REPOMD, NOW) == Shown(OLD)


def test_one_file_is_asked_for_once_and_its_readers_are_told() -> None:
    world = World(2.0)
    fill, is_new = world.want(KEY, NOW)
    assert is_new
    assert world.want(KEY, NOW) == (fill, False)
    told = []
    fill.watchers.append(lambda: told.append(True))
    world.take(
        {
            "fill": {
                "id": fill.id,
                "sha256": "c",
                "size": 5,
                "file": "/f",
                "done": False,
                "error": "",
            }
        },
        NOW,
    )
    assert (fill.size, fill.file, told) == (5, "/f", [True])


def test_ended_and_unanswered_fills_are_forgotten_after_a_while() -> None:
    world = World(2.0)
    ended, _ = world.want(KEY, NOW)
    world.want(("s", "q.rpm", OLD), NOW)
    world.take({"fill": {"id": ended.id, "done": True, "error": ""}}, NOW)
    world.forget_fills(NOW + 4, unanswered_s=25)
    assert len(world.fills) == 2
    world.forget_fills(NOW + 6, unanswered_s=25)
    assert len(world.fills) == 1
    world.forget_fills(NOW + 26, unanswered_s=25)
    assert not world.fills


def test_a_fill_that_may_be_asked_for_again_is_new_to_the_next_who_wants_it() -> None:
    world = World(2.0)
    fill, _ = world.want(KEY, NOW)
    cut: list[str] = []
    fill.watchers.append(lambda: cut.append(fill.error))
    world.take({"fill": {"id": fill.id, "done": False, "error": "gone", "again": True}}, NOW)
    assert cut == ["gone"]
    again, is_new = world.want(KEY, NOW)
    assert is_new and again is not fill


def test_a_fill_for_somebody_else_is_ignored() -> None:
    world = World(2.0)
    world.take({"fill": {"id": 7, "done": True, "error": ""}}, NOW)
    assert not world.fills


def test_a_worker_that_ends_has_a_successor_unless_the_whole_station_stops() -> None:
    for snapshot, has_successor in (
        (Snapshot(1, True), True),
        (Snapshot(1, False, reason="draining"), False),
    ):
        world = World(2.0)
        world.take({"snapshot": to_wire(snapshot), "beat": NOW}, NOW)
        assert not world.has_successor
        world.drain()
        assert world.has_successor is has_successor
        assert world.not_ready_reason(NOW) == "draining"
