from station.publish.view import Freeze, SourceState, able
from tests.unit.publish.builders import NOW, member, publication, registered, view


def test_we_are_always_present_and_others_while_their_heartbeat_is_young() -> None:
    seen = view(SourceState(), member("a", age=99.0), member("b", age=4.9), member("c", age=5.0))
    assert [m.name for m in seen.present()] == ["a", "b"]


def test_able_are_those_with_a_storage_or_all_if_nobody_has_one() -> None:
    a, b = member("a", by_fill=True), member("b")
    assert list(able([a, b])) == [b]
    assert list(able([a])) == [a]


def test_greatest_number_is_that_of_registry_and_storage() -> None:
    assert SourceState().greatest == 0
    assert SourceState(registered=registered(publication(4)), stored=publication(9)).greatest == 9


def test_a_freeze_ends_at_its_time() -> None:
    state = SourceState(freeze=Freeze(until=NOW.wall))
    assert state.freeze_in_force(NOW.wall - 1) is not None
    assert state.freeze_in_force(NOW.wall) is None
    assert SourceState(freeze=Freeze()).freeze_in_force(NOW.wall) is not None
