"""A delta says on what it may be applied, and never leaves a hole."""

from random import Random

from station.gossip.delta import Delta, absorb, deltas_for, lacks, size_of
from station.gossip.entry import Digest
from station.gossip.state import ReplicatedMap
from tests.unit.gossip.builders import MS, WALL, entry, origin


def state_of(count: int, by: str = "A", size: int = 10) -> ReplicatedMap:
    state = ReplicatedMap()
    for n in range(1, count + 1):
        state.merge(entry(f"{by}{n}", by=by, sequence=n, ms=MS + n, value={"n": "x" * size}))
    state.seen[origin(by)] = count
    return state


def take_all(source: ReplicatedMap, target: ReplicatedMap, bytes_max: int) -> int:
    rounds = 0
    while lacks(target.seen, source.seen):
        deltas, _ = deltas_for(source, target.seen, bytes_max=bytes_max, dice=Random(rounds))
        rounds += 1
        for delta in deltas:
            done = absorb(target, delta, target.seen, wall=WALL)
            assert delta.is_sound() and done is not None
            target.seen[delta.origin] = done.upto
    return rounds


def test_delta_in_pieces_is_the_same_as_in_one() -> None:
    source = state_of(40)
    for bytes_max, rounds in ((1, 40), (2_000, 3), (1_000_000, 1)):
        target = ReplicatedMap()
        assert take_all(source, target, bytes_max) >= rounds
        assert target.fingerprint == source.fingerprint and target.seen == source.seen


def test_delta_is_cut_at_its_budget() -> None:
    source = state_of(100, size=100)
    deltas, has_more = deltas_for(source, {}, bytes_max=3_000, dice=Random(1))
    assert has_more and sum(size_of(e) for d in deltas for e in d.entries) <= 3_000


def test_delta_computed_ahead_of_us_is_refused() -> None:
    target = ReplicatedMap()
    late = Delta(origin(), 5, 6, (entry(sequence=6),))
    assert absorb(target, late, target.seen, wall=WALL) is None
    assert not list(target.slots())


def test_replayed_delta_changes_nothing() -> None:
    source, target = state_of(3), ReplicatedMap()
    take_all(source, target, 10_000)
    target.drop("settings", "A2")  # its tombstone was collected
    replay = Delta(origin(), 0, 3, tuple(source.after(origin(), 0)))
    done = absorb(target, replay, target.seen, wall=WALL)
    assert done is not None and not done.changed
    assert target.slot("settings", "A2") is None


def test_stamp_from_the_future_stops_its_origin_there() -> None:
    target = ReplicatedMap()
    entries = (
        entry("a", sequence=1),
        entry("b", sequence=3, ms=MS + 61_000),
        entry("c", sequence=4),
    )
    done = absorb(target, Delta(origin(), 0, 9, entries), target.seen, wall=WALL)
    assert done is not None and done.upto == 2 and done.stalled is not None
    assert target.slot("settings", "c") is None
    done = absorb(target, Delta(origin(), 0, 9, entries), {origin(): 2}, wall=WALL + 1)
    assert done is not None and done.upto == 9 and done.stalled is None


def test_stalled_origin_does_not_starve_the_others() -> None:
    source = state_of(50, by="A", size=500)
    for one in state_of(3, by="B").after(origin("B"), 0):
        source.merge(one)
    source.seen[origin("B")] = 3
    theirs: Digest = {}
    first = {
        deltas_for(source, theirs, bytes_max=1_000, dice=Random(n))[0][0].origin for n in range(20)
    }
    assert first == {origin("A"), origin("B")}


def test_unsound_deltas_are_recognised() -> None:
    assert not Delta(origin(), 5, 4).is_sound()
    assert not Delta(origin(), 0, 5, (entry(sequence=6),)).is_sound()
    assert not Delta(origin(), 3, 5, (entry(sequence=3),)).is_sound()
    assert not Delta(origin(), 0, 5, (entry(sequence=2), entry("l", sequence=1))).is_sound()
    assert not Delta(origin(), 0, 5, (entry(by="B"),)).is_sound()
    assert Delta(origin(), 0, 5, (entry(sequence=2), entry("l", sequence=5))).is_sound()
