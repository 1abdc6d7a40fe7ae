"""The merge is a semilattice: the order, the grouping and the number of deliveries do not matter."""

from collections.abc import Iterable
from itertools import permutations

from hypothesis import given, settings
from hypothesis import strategies as st

from station.gossip.entry import Entry, Origin, Stamp, Version, told
from station.gossip.state import ReplicatedMap, rank
from tests.unit.gossip.builders import MS, entry

ORIGINS = [Origin("A", "1"), Origin("A", "2"), Origin("B", "1")]
stamps = st.builds(Stamp, st.integers(MS, MS + 3), st.integers(0, 2))
versions = st.builds(Version, stamps, st.sampled_from(ORIGINS))
plain = st.none() | st.fixed_dictionaries({"n": st.integers(0, 3)})
publications = st.fixed_dictionaries(
    {
        "number": st.integers(1, 3),
        "order": st.integers(0, 2),
        "revision": st.sampled_from(["a" * 64, "b" * 64]),
        "by": st.just("A"),
    }
)


@st.composite
def entries(draw: st.DrawFn) -> Entry:
    kind = draw(st.sampled_from(["settings", "publication"]))
    version = draw(versions)
    value = draw(publications if kind == "publication" else plain)
    replaces = draw(st.none() | versions.filter(lambda v: v < version))
    return Entry(kind, "k", version.origin, draw(st.integers(1, 5)), version.stamp, value, replaces)


def merged(*parts: Iterable[Entry]) -> ReplicatedMap:
    state = ReplicatedMap()
    for part in parts:
        for one in part:
            state.merge(one)
    return state


def view(state: ReplicatedMap) -> object:
    return {
        record: (slot.winner.version, slot.winner.value, slot.conflict and slot.conflict.version)
        for record, slot in state.slots()
    }, state.fingerprint


def kept(state: ReplicatedMap) -> list[Entry]:
    return [one for _, slot in state.slots() for one in slot.entries()]


# One version has one value: a station never writes twice under one stamp.
histories = st.lists(entries(), max_size=8, unique_by=lambda e: (e.kind, e.version))


@given(histories, histories)
def test_merge_commutes(one: list[Entry], other: list[Entry]) -> None:
    known = {(e.kind, e.version) for e in one}
    other = [e for e in other if (e.kind, e.version) not in known]
    assert view(merged(one, other)) == view(merged(other, one))


@given(histories)
def test_merge_associates_through_what_is_kept(history: list[Entry]) -> None:
    for cut in range(len(history)):
        first, rest = merged(history[:cut]), merged(history[cut:])
        assert view(merged(kept(first), kept(rest))) == view(merged(history))


@given(histories)
def test_merge_is_idempotent(history: list[Entry]) -> None:
    state = merged(history)
    before = view(state)
    assert not any(state.merge(one) for one in [*history, *kept(state)])
    assert view(state) == before


@given(histories)
@settings(max_examples=50)
def test_greatest_counts_and_origin_breaks_ties(history: list[Entry]) -> None:
    for (kind, _), slot in merged(history).slots():
        assert rank(slot.winner) == max(rank(one) for one in history if one.kind == kind)


def test_two_values_under_one_version_end_the_same_everywhere() -> None:
    clones = [entry(value={"n": 1}), entry(value={"n": 2}), entry(value={"n": 3})]
    views = {str(view(merged(order))) for order in permutations(clones)}
    assert len(views) == 1


def test_publication_goes_by_number_order_and_revision_not_by_time() -> None:
    def publication(number: int, order: int, ms: int) -> Entry:
        value = {"number": number, "order": order, "revision": "a" * 64, "by": "A"}
        return entry("ol9", kind="publication", value=value, ms=ms)

    state = merged([publication(2, 5, MS), publication(2, 4, MS + 9), publication(1, 9, MS + 10)])
    assert state.readable("publication")["ol9"]["order"] == 5
    assert state.readable("publication")["ol9"]["number"] == 2


def test_value_known_to_the_next_writer_is_no_conflict() -> None:
    first = entry(by="A", ms=MS)
    second = entry(by="B", ms=MS + 1, replaces=first.version)
    third = entry(by="C", ms=MS + 2, replaces=second.version)
    for order in permutations([first, second, third]):
        slot = merged(order).slot("settings", "k")
        assert slot is not None and slot.winner == third and slot.conflict is None


def test_value_unknown_to_the_winner_is_kept_as_conflict_in_any_order() -> None:
    base = entry(by="A", ms=MS)
    left = entry(by="A", sequence=2, ms=MS + 1, replaces=base.version)
    right = entry(by="B", ms=MS + 2, deleted=True, replaces=base.version)
    for order in permutations([base, left, right]):
        slot = merged(order).slot("settings", "k")
        assert slot is not None and slot.winner == right and slot.conflict == left


def test_told_record_loses_against_any_real_one_and_is_never_offered() -> None:
    state = merged([told("settings", "k", {"n": 0})])
    assert state.fingerprint == 0
    assert state.after(told("settings", "k", {}).origin, -1) == []
    state.merge(entry(ms=1))
    slot = state.slot("settings", "k")
    assert slot is not None and slot.winner.stamp.physical_ms == 1 and slot.conflict is None


def test_fingerprint_depends_on_live_values_only() -> None:
    state = merged([entry("a"), entry("b", sequence=2, deleted=True)])
    fingerprint = state.fingerprint
    state.drop("settings", "b")
    assert state.fingerprint == fingerprint != 0
    state.drop("settings", "a")
    assert state.fingerprint == 0


def test_superseded_entries_are_not_offered_any_more() -> None:
    first = entry("k", sequence=1)
    state = merged(
        [first, entry("k", sequence=2, ms=MS + 1, replaces=first.version), entry("l", sequence=3)]
    )
    assert [one.sequence for one in state.after(first.origin, 0)] == [2, 3]
