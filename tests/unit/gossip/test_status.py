"""Only the owner writes; only what changed travels; a stale relay never makes the dead look alive."""

import pytest

from station.gossip.entry import Stamp
from station.gossip.status import STATUS_BYTES_MAX, StatusBoard
from tests.unit.gossip.builders import MS

ALL = ("A", "B", "C")


def board(name: str, run: str = "", ms: int = MS, boot: float = 0.0) -> StatusBoard:
    return StatusBoard(name, "e", run or f"run-{name}", Stamp(ms, 0), boot)


def tell(teller: StatusBoard, listener: StatusBoard, boot: float) -> int:
    deltas = teller.deltas_for(listener.marks(ALL), ALL, boot=boot)
    return sum(listener.absorb(delta, boot=boot) for delta in deltas)


def test_only_changed_fields_travel() -> None:
    a, b = board("A"), board("B")
    a.set_own({"x": 1, "y": {"deep": 1}})
    tell(a, b, 0.0)
    a.set_own({"x": 1, "y": {"deep": 2}})
    (delta,) = a.deltas_for(b.marks(ALL), ("A",), boot=0.0)
    assert delta.fields.keys() == {"y"}
    assert not a.set_own({"x": 1, "y": {"deep": 2}})


def test_field_that_went_away_goes_away_there_too() -> None:
    a, b = board("A"), board("B")
    a.set_own({"x": 1, "y": 2})
    tell(a, b, 0.0)
    a.set_own({"y": 2})
    tell(a, b, 0.0)
    assert b.statuses(ALL, boot=0.0)["A"].payload == {"y": 2}


def test_payload_is_the_same_object_until_a_field_of_it_changes() -> None:
    a, b = board("A"), board("B")
    a.set_own({"x": 1})
    tell(a, b, 0.0)
    before = b.statuses(ALL, boot=0.0)["A"].payload
    a.beat("e", 1.0)
    tell(a, b, 1.0)
    assert b.statuses(ALL, boot=1.0)["A"].payload is before
    a.set_own({"x": 2})
    tell(a, b, 1.0)
    assert (before, b.statuses(ALL, boot=1.0)["A"].payload) == ({"x": 1}, {"x": 2})


def test_status_is_relayed_with_its_age() -> None:
    a, b, c = board("A"), board("B"), board("C")
    tell(a, b, 10.0)
    tell(b, c, 14.0)
    status = c.statuses(ALL, boot=14.0)["A"]
    assert status.age_s == pytest.approx(14.0) and not status.is_present, "A spoke at 0"


def test_relay_of_what_is_known_changes_no_age() -> None:
    a, b, c = board("A"), board("B"), board("C")
    a.beat("e", 1.0)
    tell(a, b, 1.0)
    tell(a, c, 1.0)
    assert tell(b, c, 5.0) == 1, "B itself"
    assert c.age("A", boot=5.0) == pytest.approx(4.0)


def test_delta_with_a_base_we_have_not_is_left_alone() -> None:
    a, b, c = board("A"), board("B"), board("C")
    a.set_own({"x": 1})
    tell(a, b, 0.0)
    a.set_own({"x": 1, "y": 2})
    for delta in a.deltas_for(b.marks(ALL), ("A",), boot=0.0):
        assert not c.absorb(delta, boot=0.0)


def test_new_run_replaces_the_old_one_whole_and_the_old_one_never_returns() -> None:
    old, new, b, c = board("A", "r1"), board("A", "r2", MS + 1), board("B"), board("C")
    old.set_own({"x": 1})
    tell(old, b, 0.0)
    tell(old, c, 0.0)
    new.set_own({"y": 2})
    tell(new, b, 0.0)
    assert b.statuses(ALL, boot=0.0)["A"].payload == {"y": 2}
    assert tell(c, b, 0.0) == 1, "C itself, not what it still holds of A"
    assert b.statuses(ALL, boot=0.0)["A"].run == "r2"


def test_new_run_whose_clock_went_back_outlives_the_old_one() -> None:
    old, new, b = board("A", "r1", MS + 1000), board("A", "r2", MS), board("B")
    tell(old, b, 0.0)
    for mark in b.marks(ALL):
        if mark.station == "A":
            new.outlive(mark)
    tell(new, b, 0.0)
    assert b.statuses(ALL, boot=0.0)["A"].run == "r2"


def test_nobody_else_writes_our_status() -> None:
    a, other = board("A"), board("A", "other", MS + 5)
    other.set_own({"x": 1})
    assert tell(other, a, 0.0) == 0
    assert a.statuses(ALL, boot=0.0)["A"].payload == {}


def test_own_pause_is_not_the_silence_of_others() -> None:
    a, b = board("A"), board("B")
    tell(b, a, 0.0)
    a.forgive(60.0)
    assert a.statuses(ALL, boot=61.0)["B"].is_present


def test_status_of_one_who_is_no_member_is_neither_shown_nor_relayed() -> None:
    a, b = board("A"), board("B")
    tell(b, a, 0.0)
    assert a.statuses(("A",), boot=0.0).keys() == {"A"}
    assert [delta.mark.station for delta in a.deltas_for((), ("A",), boot=0.0)] == ["A"]


@pytest.mark.parametrize("payload", [{"x": "y" * STATUS_BYTES_MAX}, {"x": float("nan")}])
def test_status_that_nobody_could_take_is_refused(payload: dict[str, object]) -> None:
    with pytest.raises(ValueError):
        board("A").set_own(payload)
