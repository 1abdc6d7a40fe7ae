from station.model.publication import Publication
from station.publish.skew import SkewMeter
from station.publish.view import Member, SourceState, View
from tests.unit.publish.builders import SOURCE, holdings, member, publication, revision, view


def seen(*lives: Publication | None, age: float = 0.0) -> View:
    members: list[Member] = []
    for name, live in zip("abc", lives, strict=False):
        held = holdings(orders={"a": 1, "b": 2}, complete="ab", live=live)
        members.append(member(name, held, age=age if name == "c" else 0.0))
    return view(SourceState(), *members)


def test_a_row_shows_live_and_newest_staged_of_every_station() -> None:
    (row,) = SkewMeter().step(seen(publication(1), None), 0.0)
    assert row.source == SOURCE
    assert row.cells["a"].live == publication(1)
    assert row.cells["a"].staged == revision("b")
    assert row.cells["b"].live is None


def test_seconds_apart_are_counted_while_the_stations_differ() -> None:
    meter = SkewMeter()
    old, new = publication(1), publication(2, 101, "b")
    assert meter.step(seen(old, old), 10.0)[0].seconds_apart == 0
    assert meter.step(seen(old, new), 11.0)[0].seconds_apart == 0
    assert meter.step(seen(old, new), 13.5)[0].seconds_apart == 2.5
    (row,) = meter.step(seen(new, new), 14.0)
    assert (row.seconds_apart, row.longest_s) == (0, 2.5)


def test_the_same_revision_under_two_numbers_is_no_difference() -> None:
    meter = SkewMeter()
    meter.step(seen(publication(1), publication(2)), 0.0)
    assert meter.step(seen(publication(1), publication(2)), 5.0)[0].seconds_apart == 0


def test_an_absent_station_is_shown_but_not_counted() -> None:
    meter = SkewMeter()
    view_ = seen(publication(2), publication(2), publication(1), age=60.0)
    meter.step(view_, 0.0)
    (row,) = meter.step(view_, 5.0)
    assert row.seconds_apart == 0
    assert not row.cells["c"].is_present


def test_a_source_that_left_takes_its_numbers_along() -> None:
    meter = SkewMeter()
    apart = seen(publication(1), publication(2, 101, "b"))
    meter.step(apart, 0.0)
    meter.step(apart, 9.0)
    assert meter.step(View("a", apart.members, {}), 10.0) == ()
    assert meter.step(apart, 11.0)[0].longest_s == 0
