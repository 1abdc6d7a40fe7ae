from station.publish.view import Around, Freeze, Member, SourceState
from tests.unit.publish.builders import NOW, member, publication, registered, view


def test_we_are_always_present_and_others_while_their_heartbeat_is_young() -> None:
    seen = view(SourceState(), member("a", age=99.0), member("b", age=4.9), member("c", age=5.0))
    assert [m.name for m in Around.of(seen).present] == ["a", "b"]


def test_able_are_those_with_a_storage_that_may_write_or_what_comes_nearest() -> None:
    def able(*members: Member) -> tuple[str, ...]:
        return Around.of(view(SourceState(), *members)).able

    fill, mute, both = member("a", by_fill=True), member("b", may_write=False), member("c")
    assert able(fill, mute, both) == ("c",)
    assert able(fill, mute) == ("a",)
    assert able(member("a", may_write=False), mute) == ("a", "b")


def test_greatest_number_is_that_of_registry_and_storage() -> None:
    assert SourceState().greatest == 0
    assert SourceState(registered=registered(publication(4)), stored=publication(9)).greatest == 9


def test_a_freeze_ends_at_its_time() -> None:
    state = SourceState(freeze=Freeze(until=NOW.wall))
    assert state.freeze_in_force(NOW.wall - 1) is not None
    assert state.freeze_in_force(NOW.wall) is None
    assert SourceState(freeze=Freeze()).freeze_in_force(NOW.wall) is not None
