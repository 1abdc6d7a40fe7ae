import pytest

from station.model.now import Now
from station.publish.course import Course
from station.publish.effects import Announce, Effect, Flip, LinkLive
from station.publish.rules import RULES
from station.publish.view import Around, Freeze, Registered, SourceState
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

OFFSET = 0.2  # the clock of b is ahead of ours


def step(
    course: Course,
    state: SourceState,
    now: Now = NOW,
    *,
    is_start: bool = False,
    by_fill: bool = False,
) -> list[Effect]:
    seen = view(state, member("a", by_fill=by_fill), member("b", offset=OFFSET))
    return course.step(state, Around.of(seen), now, is_start=is_start)


def live_course(number: int = 3, order: int = 100) -> Course:
    course = Course(SOURCE, RULES)
    step(course, SourceState(stored=publication(number, order)), is_start=True)
    assert course.live == publication(number, order)
    return course


def test_a_publication_waits_for_its_instant_by_our_boot_clock() -> None:
    course = live_course()
    state = SourceState(stored=course.live, registered=registered(publication(4), in_s=2.0))
    (announced,) = step(course, state)
    assert isinstance(announced, Announce)
    assert announced.flip_at_boot == pytest.approx(NOW.boot + 2.0 - OFFSET)
    assert step(course, state, later(1.79)) == []
    assert step(course, state, later(1.81)) == [
        Flip(SOURCE, publication(4)),
        LinkLive(SOURCE, publication(4)),
    ]


def test_setting_our_wall_clock_does_not_move_an_instant_that_was_converted() -> None:
    course = live_course()
    state = SourceState(stored=course.live, registered=registered(publication(4), in_s=2.0))
    step(course, state)
    before = course.flip_at
    step(course, state, Now(wall=NOW.wall - 3600, boot=NOW.boot + 0.5))
    assert course.flip_at == before


def test_the_earlier_instant_of_one_publication_counts() -> None:
    course = live_course()
    late = SourceState(stored=course.live, registered=registered(publication(4), in_s=2.0))
    early = SourceState(stored=course.live, registered=registered(publication(4), in_s=1.0))
    step(course, late)
    step(course, early)
    assert course.flip_at == pytest.approx(NOW.boot + 1.0 - OFFSET)
    step(course, late)
    assert course.flip_at == pytest.approx(NOW.boot + 1.0 - OFFSET)


def test_a_greater_publication_of_a_later_instant_does_not_delay_the_one_before_it() -> None:
    course = live_course()
    first, second = publication(4), publication(5)
    step(course, SourceState(registered=registered(first, in_s=1.0 + OFFSET)))
    state = SourceState(registered=registered(second, in_s=2.0 + OFFSET))
    assert step(course, state, later(0.5)) == []
    assert course.next == first
    assert Flip(SOURCE, first) in step(course, state, later(1.01))
    step(course, state, later(1.02))
    assert course.next == second
    assert course.flip_at == pytest.approx(NOW.boot + 2.0)
    assert Flip(SOURCE, second) in step(course, state, later(2.01))


def test_a_greater_publication_of_an_earlier_instant_takes_the_place_of_the_one_before_it() -> None:
    course = live_course()
    step(course, SourceState(registered=registered(publication(4), in_s=2.0 + OFFSET)))
    state = SourceState(registered=registered(publication(5), in_s=1.0 + OFFSET))
    step(course, state)
    assert course.next == publication(5)
    assert Flip(SOURCE, publication(5)) in step(course, state, later(1.01))


def test_an_instant_of_a_wrong_clock_delays_by_the_lead_at_most() -> None:
    course = live_course()
    step(course, SourceState(registered=registered(publication(4), in_s=3600.0)))
    assert course.flip_at == NOW.boot + RULES.lead_s


def test_what_was_known_before_the_start_is_not_delayed_by_a_clock_that_is_wrong() -> None:
    course = Course(SOURCE, RULES)
    state = SourceState(registered=registered(publication(4), in_s=3600.0))
    assert Flip(SOURCE, publication(4)) in step(course, state, is_start=True)


def test_a_station_that_starts_between_writing_and_flip_waits_with_the_others() -> None:
    course = Course(SOURCE, RULES)
    state = SourceState(stored=publication(3), registered=registered(publication(4), in_s=1.5))
    step(course, state, is_start=True)
    assert course.live == publication(3)
    assert course.flip_at == pytest.approx(NOW.boot + 1.5 - OFFSET)


def test_an_instant_that_is_past_is_ignored() -> None:
    course = live_course()
    step(course, SourceState(registered=registered(publication(4), in_s=-100.0)))
    assert course.live == publication(4)


def test_a_lesser_publication_is_never_shown() -> None:
    course = live_course(number=5)
    for lesser in (publication(4, 999, "f"), publication(5, 99, "f"), publication(5, 100, "a")):
        step(course, SourceState(stored=lesser, registered=registered(lesser)))
        assert course.live == publication(5)


def test_older_content_under_a_greater_number_is_not_shown_and_named() -> None:
    course = live_course(number=5, order=100)
    state = SourceState(registered=registered(publication(7, 90, "b")))
    assert step(course, state) == []
    assert course.refused == publication(7, 90, "b")


def test_older_content_that_somebody_chose_is_shown() -> None:
    course = live_course(number=5, order=100)
    older = publication(7, 90, "b")
    state = SourceState(registered=registered(older), freeze=Freeze(revision("b")))
    assert Flip(SOURCE, older) in step(course, state)


def test_older_content_is_not_shown_after_the_freeze_that_chose_it() -> None:
    course = live_course(number=5, order=100)
    freeze = Freeze(revision("b"), until=NOW.wall - 1)
    step(course, SourceState(registered=registered(publication(7, 90, "b")), freeze=freeze))
    assert course.live == publication(5, 100)


def test_a_pending_publication_of_older_content_is_dropped_when_newer_content_is_found_live() -> (
    None
):
    course = live_course(number=3, order=100)
    pending = registered(publication(7, 110, "b"), in_s=2.0)
    step(course, SourceState(registered=pending))
    step(course, SourceState(stored=publication(6, 120, "c"), registered=pending))
    assert course.live == publication(6, 120, "c")
    assert course.next is None
    step(course, SourceState(stored=publication(6, 120, "c"), registered=pending), later(3))
    assert course.live == publication(6, 120, "c")


def test_what_another_station_linked_on_our_storage_is_shown_at_once() -> None:
    course = live_course()
    state = SourceState(stored=publication(4), registered=registered(publication(4), in_s=2.0))
    assert Flip(SOURCE, publication(4)) in step(course, state)


def test_a_start_with_old_and_new_flips_once_to_the_new() -> None:
    course = Course(SOURCE, RULES)
    state = SourceState(stored=publication(3), registered=registered(publication(7)))
    flips = [e for e in step(course, state, is_start=True) if isinstance(e, Flip)]
    assert flips == [Flip(SOURCE, publication(7))]


def test_the_link_on_the_storage_is_asked_for_until_it_is_there() -> None:
    course = live_course()
    state = SourceState(stored=course.live, registered=registered(publication(4)))
    step(course, state)
    link = LinkLive(SOURCE, publication(4))
    assert step(course, state, later(1)) == []
    assert step(course, state, later(RULES.relink_s)) == [link]
    assert step(course, state, later(RULES.relink_s + 1)) == []
    assert step(course, state, later(60), by_fill=True) == []
    assert step(course, SourceState(stored=publication(4)), later(120)) == []


def test_the_first_publication_is_shown_at_once() -> None:
    course = Course(SOURCE, RULES)
    state = SourceState(registered=Registered(publication(1), 0.0, "b"))
    assert step(course, state)[0] == Flip(SOURCE, publication(1))


def test_what_was_live_here_before_a_restart_is_live_without_a_storage() -> None:
    course = Course(SOURCE, RULES)
    state = SourceState(kept=publication(4), registered=registered(publication(5), in_s=1.5))
    step(course, state, is_start=True)
    assert course.live == publication(4)
    assert course.next == publication(5)


def test_what_others_show_is_in_force_when_the_registry_is_already_past_it() -> None:
    course = live_course(number=3)
    state = SourceState(stored=course.live, registered=registered(publication(6), in_s=1.5))
    other = member("b", holdings(live=publication(5)))
    course.step(state, Around.of(view(state, member("a"), other)), NOW, is_start=False)
    assert course.live == publication(5)
    assert course.next == publication(6)


def test_another_station_that_flips_early_takes_nobody_along() -> None:
    course = live_course(number=3)
    state = SourceState(stored=course.live, registered=registered(publication(4), in_s=1.5))
    other = member("b", holdings(live=publication(4)))
    course.step(state, Around.of(view(state, member("a"), other)), NOW, is_start=False)
    assert course.live == publication(3)


def test_what_was_live_here_is_live_after_a_restart_beside_newer_content_of_a_lesser_number() -> (
    None
):
    course = Course(SOURCE, RULES)
    ours = publication(5, 105)
    state = SourceState(kept=ours, registered=registered(ours))
    other = member("b", holdings(live=publication(3, 108, "b")))
    course.step(state, Around.of(view(state, member("a"), other)), NOW, is_start=True)
    assert course.live == ours
