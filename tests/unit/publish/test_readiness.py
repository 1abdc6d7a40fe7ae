from station.publish.readiness import Readiness, Verdict
from station.publish.rules import RULES
from station.publish.view import Member
from tests.unit.publish.builders import SOURCE, holdings, member, revision

A = revision("a")
READY = Verdict(is_ready=True)


def done(name: str) -> Member:
    return member(name, holdings(orders={"a": 1}, complete="a"))


def busy(name: str, progress: float = 0.0) -> Member:
    return member(name, holdings(orders={"a": 1}, progress=progress))


def fill(name: str, *, knows: bool = True) -> Member:
    return member(name, holdings(orders={"a": 1} if knows else {}), by_fill=True)


def verdict(*present: Member) -> Verdict:
    return Readiness(SOURCE, RULES).step(A, present, 0.0)


def test_ready_when_everybody_has_it() -> None:
    assert verdict(done("a"), done("b"), done("c")) == READY


def test_not_ready_while_one_is_busy() -> None:
    assert not verdict(done("a"), done("b"), busy("c")).is_ready


def test_a_station_alone_needs_nobody_else() -> None:
    assert verdict(done("a")) == READY


def test_one_copy_does_where_the_others_can_hold_none() -> None:
    assert verdict(done("a"), fill("b"), fill("c")) == READY


def test_by_fill_counts_only_with_the_manifest() -> None:
    assert not verdict(done("a"), done("b"), fill("c", knows=False)).is_ready


def test_nothing_is_ready_that_nobody_has_whole() -> None:
    assert not verdict(fill("a"), fill("b")).is_ready


def test_complete_is_not_enough_workers_must_be_able_to_open_it() -> None:
    unopened = member("b", holdings(orders={"a": 1}, complete="a", staged=""))
    assert not verdict(done("a"), unopened, done("c")).is_ready


def test_a_laggard_without_progress_is_left_behind_after_a_minute() -> None:
    readiness = Readiness(SOURCE, RULES)
    present = [done("a"), done("b"), busy("c", 7.0)]
    assert not readiness.step(A, present, 0.0).is_ready
    assert not readiness.step(A, present, 59.0).is_ready
    assert readiness.step(A, present, 60.0) == Verdict(is_ready=True, left_behind=("c",))


def test_a_laggard_that_gets_on_is_waited_for_but_five_minutes_at_most() -> None:
    readiness = Readiness(SOURCE, RULES)
    for second in range(0, 300, 30):
        present = [done("a"), done("b"), busy("c", float(second))]
        assert not readiness.step(A, present, second).is_ready
    present = [done("a"), done("b"), busy("c", 300.0)]
    assert readiness.step(A, present, 300.0).left_behind == ("c",)


def test_the_second_copy_is_waited_for_as_long_as_it_grows() -> None:
    readiness = Readiness(SOURCE, RULES)
    for second in range(0, 3600, 30):
        present = [done("a"), busy("b", float(second)), busy("c", float(second))]
        assert not readiness.step(A, present, second).is_ready


def test_the_minute_of_a_laggard_begins_when_the_bytes_can_be_had() -> None:
    readiness = Readiness(SOURCE, RULES)
    for second in range(0, 600, 30):
        readiness.step(A, [busy("a", float(second)), busy("b")], second)
    assert not readiness.step(A, [done("a"), busy("b")], 600.0).is_ready
    assert not readiness.step(A, [done("a"), busy("b")], 659.0).is_ready
    assert readiness.step(A, [done("a"), busy("b")], 660.0).left_behind == ("b",)


def test_a_pause_of_ours_is_not_held_against_the_others() -> None:
    readiness = Readiness(SOURCE, RULES)
    present = [done("a"), done("b"), busy("c")]
    readiness.step(A, present, 0.0)
    readiness.restart()
    assert not readiness.step(A, present, 1000.0).is_ready


def test_each_candidate_has_its_own_clock() -> None:
    readiness = Readiness(SOURCE, RULES)
    present = [
        member("a", holdings(orders={"a": 1, "b": 2}, complete="ab")),
        busy("b"),
    ]
    readiness.step(A, present, 0.0)
    readiness.step(revision("b"), present, 59.0)
    assert not readiness.step(revision("b"), present, 61.0).is_ready


def test_a_station_that_comes_back_has_its_minute() -> None:
    readiness = Readiness(SOURCE, RULES)
    readiness.step(A, [done("a"), done("b"), busy("c")], 0.0)
    readiness.step(A, [done("a"), busy("b")], 50.0)
    assert not readiness.step(A, [done("a"), done("b"), busy("c")], 70.0).is_ready
