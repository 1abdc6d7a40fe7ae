"""When instances were last seen, as stations tell each other."""

import json

from hypothesis import given
from hypothesis import strategies as st

from station.model.last_seen import (
    BUCKET_S,
    ENTRIES_MAX,
    KEPT_BUCKETS,
    PUBLISH_S,
    Sightings,
    merged,
    seen_at,
)

NOW = 1_800_000_000.0


def test_what_one_station_saw_the_others_know_to_five_minutes() -> None:
    sightings = Sightings()
    sightings.note("db1", NOW)
    marks = merged({}, [json.loads(json.dumps(sightings.to_wire(NOW)))])
    seen = seen_at(marks, "db1", NOW + 1000)
    assert seen is not None
    assert NOW <= seen <= NOW + BUCKET_S
    assert seen_at(marks, "db1", NOW) == NOW
    assert seen_at(marks, "db2", NOW) is None


def test_the_latest_of_all_stations_counts() -> None:
    first, second = Sightings(), Sightings()
    first.note("db1", NOW)
    second.note("db1", NOW + 3000)
    wires = [second.to_wire(NOW + 3000), first.to_wire(NOW)]
    seen = seen_at(merged({}, wires), "db1", NOW + 9000)
    assert seen is not None
    assert seen >= NOW + 3000


def test_only_blocks_that_changed_are_new() -> None:
    sightings = Sightings()
    for number in range(200):
        sightings.note(f"i{number}", NOW)
    before = dict(sightings.to_wire(NOW))
    sightings.note("i7", NOW + BUCKET_S)
    assert sightings.to_wire(NOW + PUBLISH_S / 2) == before
    after = sightings.to_wire(NOW + BUCKET_S)
    assert sum(after[name] != before[name] for name in before) == 1


def test_the_silent_are_dropped_after_a_day_and_the_oldest_when_there_are_too_many() -> None:
    sightings = Sightings()
    sightings.note("old", NOW)
    sightings.to_wire(NOW)
    later = NOW + (KEPT_BUCKETS + 2) * BUCKET_S
    for number in range(ENTRIES_MAX + 10):
        sightings.note(f"i{number}", later)
    text = json.dumps(sightings.to_wire(later))
    assert len(sightings.marks()) == ENTRIES_MAX
    assert seen_at(sightings.marks(), "old", later) is None
    assert len(text) < 128 * 1024


@given(
    st.dictionaries(
        st.sampled_from(["instances.00", "instances.31", "sources"]),
        st.one_of(
            st.none(),
            st.integers(),
            st.dictionaries(st.text(max_size=5), st.one_of(st.text(max_size=9), st.none())),
        ),
    )
)
def test_nonsense_counts_for_nothing_and_breaks_nothing(status: dict[str, object]) -> None:
    assert all(len(mark) == 5 for mark in merged({}, [status]))
