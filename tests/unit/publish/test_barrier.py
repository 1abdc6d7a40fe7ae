"""The whole barrier of station a, which has the duty for the source of these tests."""

from dataclasses import replace

from station.model.now import Now
from station.publish import duty
from station.publish.barrier import Barrier
from station.publish.effects import Alarm, Announce, Effect, Flip, WritePublication
from station.publish.view import Freeze, Member, SourceState, View
from tests.unit.publish.builders import (
    NOW,
    SOURCE,
    holdings,
    later,
    member,
    publication,
    registered,
    revision,
    view,
)

CALM = 3.0  # seconds after which a barrier that has just started may write


def started(seen: View) -> Barrier:
    """A barrier that has looked at the view long enough to be allowed to write."""
    barrier = Barrier()
    for tenth in range(int(CALM * 2)):
        assert not writes(barrier.step(seen, now=later(tenth / 2)))
    return barrier


def writes(effects: list[Effect]) -> list[WritePublication]:
    return [effect for effect in effects if isinstance(effect, WritePublication)]


def written(seen: View, now: Now | None = None) -> list[WritePublication]:
    """What a calm barrier writes of a view, after one in which nobody had anything new."""
    nothing_new = [replace(m, holdings={}) for m in seen.members]
    state = replace(seen.sources[SOURCE], upstream=None, freeze=None)
    before = replace(seen, members=tuple(nothing_new), sources={SOURCE: state})
    barrier = started(before)
    return writes(barrier.step(seen, now=now or later(CALM)))


def shown(number: int = 3, order: int = 100, letter: str = "a") -> SourceState:
    live = publication(number, order, letter)
    return SourceState(registered=registered(live), stored=live)


def holder_of_all(*names: str, number: int = 3, order: int = 100) -> list[Member]:
    """Stations that show a and have b, newer, whole."""
    held = holdings(
        orders={"a": order, "b": order + 1},
        complete="ab",
        candidate="b",
        live=publication(number, order),
        greatest=number,
    )
    return [member(name, held) for name in names]


def test_station_a_has_the_duty_of_these_tests() -> None:
    assert duty.holder(SOURCE, "ab") == duty.holder(SOURCE, "abc") == "a"


def test_a_candidate_that_all_have_is_published_with_a_lead() -> None:
    state = replace(shown(), upstream=revision("b"))
    now = later(CALM)
    expected = WritePublication(SOURCE, publication(4, 101, "b"), now.wall + 5.0)
    assert written(view(state, *holder_of_all("a", "b")), now) == [expected]


def test_only_the_duty_holder_writes() -> None:
    state = replace(shown(), upstream=revision("b"))
    assert written(view(state, *holder_of_all("a", "b"), station="b")) == []


def test_duty_goes_to_a_station_that_may_write() -> None:
    state = replace(shown(), upstream=revision("b"))
    a, b = holder_of_all("a", "b")
    refused = replace(a, may_write=False)
    assert written(view(state, refused, b)) == []
    assert len(written(view(state, refused, b, station="b"))) == 1
    assert written(view(state, refused, replace(b, may_write=False))) == []


def test_number_is_above_registry_storage_and_every_present_status() -> None:
    for state, peers_greatest, expected in [
        (replace(shown(3)), 3, 4),
        (replace(shown(3)), 9, 10),
    ]:
        members = holder_of_all("a") + holder_of_all("b")
        told = replace(members[1].holds(SOURCE), greatest=peers_greatest)
        members[1] = member("b", told)
        (write,) = written(view(replace(state, upstream=revision("b")), *members))
        assert write.publication.number == expected


def test_the_first_publication_is_shown_at_once_with_nothing_but_its_manifest() -> None:
    state = SourceState(upstream=revision("b"))
    members = [member("a", holdings(orders={"b": 7})), member("b")]
    expected = WritePublication(SOURCE, publication(1, 7, "b"), 0.0)
    assert written(view(state, *members)) == [expected]


def test_what_is_live_on_storages_only_is_registered_again_with_its_number() -> None:
    """Every state directory was lost."""
    live = publication(41, 100, "a")
    state = SourceState(stored=live)
    members = [member(name, holdings(orders={"a": 100}, live=live, greatest=41)) for name in "ab"]
    seen = view(state, *members)
    barrier = Barrier()
    found = [w for t in range(9) for w in writes(barrier.step(seen, now=later(t / 2)))]
    assert [write.publication for write in found] == [live]


def test_one_publication_at_a_time() -> None:
    state = replace(
        shown(), registered=registered(publication(4, 101, "c"), in_s=10.0), upstream=revision("b")
    )
    assert written(view(state, *holder_of_all("a", "b"))) == []


def test_a_write_is_not_repeated_until_the_registry_shows_it() -> None:
    seen = view(replace(shown(), upstream=revision("b")), *holder_of_all("a", "b"))
    before = view(shown(), member("a"), member("b"))
    barrier = started(before)
    times = [t for t in range(3, 12) if writes(barrier.step(seen, now=later(t)))]
    assert times == [3, 8]


def test_upstream_that_changes_faster_does_not_starve_a_candidate_that_is_whole_somewhere() -> None:
    held = holdings(
        orders={"a": 100, "b": 101, "c": 102},
        complete="ab",
        candidate="b",
        live=publication(3),
        greatest=3,
    )
    state = replace(shown(), upstream=revision("c"))
    busy = holdings(orders={"a": 100, "b": 101}, complete="a", candidate="b")
    barrier = started(view(shown(), member("a"), member("b")))
    barrier.step(view(state, member("a", held), member("b", busy)), now=later(CALM))
    assert barrier.candidate(SOURCE) == revision("b")


def test_others_follow_the_candidate_of_the_holder() -> None:
    theirs = holdings(orders={"b": 101}, candidate="b")
    seen = view(shown(), member("a", theirs), member("b"), station="b")
    barrier = Barrier()
    barrier.step(seen, now=NOW)
    assert barrier.candidate(SOURCE) == revision("b")
    assert not barrier.has_duty(SOURCE)


def test_a_repository_that_was_signed_again_is_published_though_its_content_is_as_old() -> None:
    held = holdings(orders={"a": 100, "b": 100}, complete="ab", live=publication(3), greatest=3)
    state = replace(shown(), upstream=revision("b"), upstream_at=NOW.boot + 1)
    seen = view(state, member("a", held), member("b", held))
    (write,) = written(seen)
    assert write.publication == publication(4, 100, "b")
    stale = replace(state, upstream_at=NOW.boot - 1)
    assert written(replace(seen, sources={SOURCE: stale})) == []


def test_older_content_is_never_a_candidate() -> None:
    held = holdings(orders={"a": 100, "b": 99}, complete="ab", live=publication(3), greatest=3)
    state = replace(shown(), upstream=revision("b"), upstream_at=NOW.boot + 1)
    assert written(view(state, member("a", held), member("b", held))) == []


def test_after_a_heal_the_newer_content_is_published_above_both_sides() -> None:
    ours = holdings(orders={"a": 100, "b": 120}, complete="a", live=publication(8), greatest=8)
    theirs = holdings(
        orders={"a": 100, "b": 120}, complete="b", live=publication(6, 120, "b"), greatest=8
    )
    (write,) = written(view(shown(8), member("a", ours), member("b", theirs)))
    assert write.publication == publication(9, 120, "b")


def test_after_a_heal_the_manifest_is_waited_for_but_not_for_ever() -> None:
    ours = holdings(orders={"a": 100}, complete="a", live=publication(8), greatest=8)
    theirs = holdings(orders={"b": 120}, complete="b", live=publication(6, 120, "b"), greatest=8)
    seen = view(shown(8), member("a", ours), member("b", theirs))
    barrier = started(seen)
    times = [t for t in range(3, 20) if writes(barrier.step(seen, now=later(t)))]
    assert times[0] == 12  # first seen when the quiet of the start was over, at 2


def test_a_frozen_source_publishes_the_chosen_revision_and_then_nothing() -> None:
    held = holdings(orders={"a": 100, "c": 90, "b": 101}, complete="abc", greatest=3)
    freeze = Freeze(revision("c"))
    state = replace(shown(), freeze=freeze, upstream=revision("b"))
    (write,) = written(view(state, member("a", held), member("b", held)))
    assert write.publication == publication(4, 90, "c")
    after = replace(shown(4, 90, "c"), freeze=freeze, upstream=revision("b"))
    assert written(view(after, member("a", held), member("b", held))) == []


def test_a_source_frozen_as_it_is_publishes_nothing_until_its_time_is_over() -> None:
    freeze = Freeze(until=NOW.wall + 100)
    state = replace(shown(), freeze=freeze, upstream=revision("b"))
    seen = view(state, *holder_of_all("a", "b"))
    assert written(seen) == []
    thawed = replace(state, freeze=replace(freeze, until=NOW.wall + CALM))
    assert len(written(replace(seen, sources={SOURCE: thawed}))) == 1


def test_a_frozen_revision_that_nobody_knows_is_an_alarm() -> None:
    state = replace(shown(), freeze=Freeze(revision("f")))
    effects = Barrier().step(view(state, *holder_of_all("a", "b")), now=NOW)
    assert [e.code for e in effects if isinstance(e, Alarm)] == ["frozen_revision_unknown"]


def test_the_smaller_side_publishes_nothing_but_flips_what_it_knows() -> None:
    gone = [member(name, age=60.0) for name in "bc"]
    state = replace(shown(), upstream=revision("b"))
    assert written(view(state, *holder_of_all("a"), *gone)) == []
    pending = replace(state, registered=registered(publication(4, 101, "b")))
    effects = Barrier().step(view(pending, *holder_of_all("a"), *gone), now=NOW)
    assert Flip(SOURCE, publication(4, 101, "b")) in effects


def test_an_absent_station_is_not_waited_for() -> None:
    state = replace(shown(), upstream=revision("b"))
    absent = member("c", holdings(orders={"a": 100}), age=5.0)
    assert len(written(view(state, *holder_of_all("a", "b"), absent))) == 1
    late = replace(absent, heartbeat_age=4.9)
    assert written(view(state, *holder_of_all("a", "b"), late)) == []


def test_a_station_without_storage_has_no_duty_while_another_has_one() -> None:
    without = replace(holder_of_all("a")[0], by_fill=True)
    state = replace(shown(), upstream=revision("b"))
    seen = view(state, without, *holder_of_all("b"), station="b")
    barrier = Barrier()
    barrier.step(seen, now=NOW)
    assert barrier.has_duty(SOURCE)


def test_clocks_that_differ_too_much_are_an_alarm_that_does_not_flicker() -> None:
    barrier = Barrier()

    def codes(offset: float, second: int) -> list[str]:
        seen = view(shown(), member("a"), member("b", offset=offset))
        barrier.step(seen, now=later(second))
        return [alarm.code for alarm in barrier.alarms]

    assert codes(0.24, 0) == []
    assert codes(-0.26, 1) == ["clock_offset"]
    assert codes(-0.24, 2) == ["clock_offset"]
    assert codes(-0.19, 3) == []


def test_an_alarm_is_told_when_it_begins_and_stands_until_it_ends() -> None:
    barrier = Barrier()
    seen = view(shown(), member("a"), member("b", offset=1.0))
    assert any(isinstance(e, Alarm) for e in barrier.step(seen, now=NOW))
    assert not any(isinstance(e, Alarm) for e in barrier.step(seen, now=later(1)))
    assert len(barrier.alarms) == 1


def test_the_next_deadline_is_the_earliest_flip() -> None:
    barrier = Barrier()
    seen = view(shown(), member("a"), member("b"))
    barrier.step(seen, now=NOW)
    assert barrier.next_deadline() is None
    pending = replace(shown(), registered=registered(publication(4), in_s=2.0))
    effects = barrier.step(view(pending, member("a"), member("b")), now=NOW)
    assert Announce(SOURCE, publication(4), NOW.boot + 2.0) in effects
    assert barrier.next_deadline() == NOW.boot + 2.0
    assert barrier.next(SOURCE) == (publication(4), NOW.boot + 2.0)


def test_a_source_that_left_the_view_is_forgotten() -> None:
    barrier = Barrier()
    barrier.step(view(shown(), member("a")), now=NOW)
    assert barrier.live(SOURCE) == publication(3)
    barrier.step(View("a", (member("a"),), {}), now=later(1))
    assert barrier.live(SOURCE) is None
    assert barrier.candidate(SOURCE) is None
    assert not barrier.has_duty(SOURCE)


def test_older_content_on_a_shared_storage_is_not_registered_by_who_refuses_to_show_it() -> None:
    """The other side froze it, out of our sight."""
    ours = publication(3, 100, "a")
    held = holdings(orders={"a": 100, "b": 90}, complete="ab", live=ours, greatest=4)
    state = SourceState(registered=registered(ours), stored=publication(4, 90, "b"), kept=ours)
    seen = view(state, member("a", held), member("b", age=60.0))
    barrier = Barrier()
    assert not any(writes(barrier.step(seen, now=later(second))) for second in range(20))
    assert barrier.live(SOURCE) == ours
