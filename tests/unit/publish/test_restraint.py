import pytest

from station.model.now import Now
from station.publish.restraint import Restraint, is_smaller_side
from station.publish.rules import RULES
from station.publish.view import Around, SourceState
from tests.unit.publish.builders import NOW, later, member, view


@pytest.mark.parametrize(
    ("members", "present", "is_smaller"),
    [
        ("a", "a", False),
        ("ab", "a", False),
        ("ab", "b", True),
        ("abc", "a", True),
        ("abc", "bc", False),
        ("abcd", "ad", False),
        ("abcd", "bcd", False),
        ("abcd", "cd", True),
        ("abcde", "ab", True),
    ],
)
def test_the_smaller_side_is_the_one_with_fewer_or_without_the_lowest(
    members: str, present: str, is_smaller: bool
) -> None:
    assert is_smaller_side(members, present) is is_smaller


def stepped(restraint: Restraint, now: Now, *, alone: bool = False) -> Restraint:
    others = [member(name, age=100.0 if alone else 0.0) for name in "bc"]
    restraint.step(Around.of(view(SourceState(), member("a"), *others)), now)
    return restraint


def each_second(restraint: Restraint, begin: int, end: int, *, alone: bool = False) -> Restraint:
    for second in range(begin, end + 1):
        stepped(restraint, later(second), alone=alone)
    return restraint


def test_a_start_is_quiet_for_a_moment() -> None:
    restraint = stepped(Restraint(RULES), NOW)
    assert restraint.is_quiet()
    assert not each_second(restraint, 1, 2).is_quiet()


def test_a_pause_is_quiet_again() -> None:
    restraint = each_second(Restraint(RULES), 0, 10)
    assert stepped(restraint, later(30)).is_quiet()
    assert restraint.was_paused


def test_a_wall_clock_that_was_set_keeps_us_quiet_until_the_others_measured_it() -> None:
    restraint = each_second(Restraint(RULES), 0, 10)
    stepped(restraint, Now(NOW.wall + 11.5, NOW.boot + 11))
    assert restraint.is_quiet()
    assert not restraint.was_paused


def test_the_smaller_side_is_restrained_for_ten_minutes() -> None:
    restraint = each_second(Restraint(RULES), 0, 10)
    assert not restraint.is_smaller()
    each_second(restraint, 11, 610, alone=True)
    assert restraint.is_smaller()
    each_second(restraint, 611, 611, alone=True)
    assert not restraint.is_smaller()


def test_a_heal_ends_the_restraint_and_the_next_split_begins_another() -> None:
    restraint = each_second(Restraint(RULES), 0, 500, alone=True)
    assert not each_second(restraint, 501, 501).is_smaller()
    each_second(restraint, 502, 700, alone=True)
    assert restraint.seconds_left() == pytest.approx(600 - 198)


def test_a_pause_is_no_part_of_the_ten_minutes() -> None:
    restraint = each_second(Restraint(RULES), 0, 100, alone=True)
    stepped(restraint, later(1000), alone=True)
    assert restraint.is_smaller()
