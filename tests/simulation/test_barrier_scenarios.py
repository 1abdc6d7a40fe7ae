"""Histories with a name: what the barrier was built for."""

from collections.abc import Callable

import pytest

from station.model.identity import Revision
from station.model.publication import Publication
from station.publish import duty
from station.publish.barrier import Barrier
from station.publish.rules import RULES, Rules
from station.publish.view import Freeze
from tests.simulation.barrier_checks import Broken
from tests.simulation.barrier_station import SOURCE, Station
from tests.simulation.barrier_variants import FollowsOlderContent
from tests.simulation.barrier_world import World


def running(
    stations: int = 3, *, shared: int = 0, barrier: Callable[[Rules], Barrier] = Barrier
) -> World:
    """A group with the real times, in which everybody shows the first publication."""
    world = World(1, stations, shared=shared, barrier=barrier)
    world.start_all()
    world.run(20)
    world.require_agreement(world.upstream[-1][0])
    return world


def lives(world: World) -> dict[str, int]:
    """The number that each station shows; those that are down are left out."""
    return {
        name: station.served.number
        for name, station in world.stations.items()
        if station.state == "up" and station.served is not None
    }


def holder(world: World) -> Station:
    """The station that has the duty while all are there."""
    return world.stations[duty.holder(SOURCE, world.stations)]


def others(world: World) -> list[Station]:
    return [station for station in world.stations.values() if station is not holder(world)]


def run_until_written(world: World) -> Publication:
    """Until the next publication is in the registry of its writer, well before its T."""
    before = set(world.checks.written_true)
    for _ in range(2000):
        world.run(0.05)
        new = set(world.checks.written_true) - before
        if new:
            return max(new)
    raise AssertionError(f"nothing was written\n{world.story()}")


def spread(world: World, publication: Publication) -> float:
    """Seconds between the first and the last flip."""
    times = world.checks.flips[publication].values()
    return max(times) - min(times)


def test_first_publication_is_shown_as_soon_as_the_metadata_is_verified() -> None:
    world = World(1, 3)
    world.start_all()
    world.run(5)
    (first,) = world.checks.written_true
    assert first.number == 1
    assert all(revision == first.revision for revision, _ in world.upstream)
    assert lives(world) == {"a": 1, "b": 1, "c": 1}
    assert world.checks.written_true[first][holder(world).name] < 1000.0 + 4.5
    assert not world.checks.complete_at[first.revision] or spread(world, first) < 0.2


def test_upstream_that_changes_every_three_seconds_is_followed_by_all_at_the_same_instants() -> (
    None
):
    world = running()
    for _ in range(100):
        world.publish_upstream()
        world.run(3)
    world.run(20)
    world.require_agreement(world.upstream[-1][0])
    flipped = [p for p in world.checks.written_true if p.number > 1]
    assert len(flipped) >= 50
    assert all(len(world.checks.flips[p]) == 3 for p in flipped)
    assert max(spread(world, p) for p in flipped) < 0.1


def test_smaller_side_shows_nothing_new_for_ten_minutes_and_catches_up_after_the_heal() -> None:
    world = running()
    world.split("c", "ab")
    world.publish_upstream()
    world.run(300)
    assert lives(world) == {"a": 2, "b": 2, "c": 1}
    world.publish_upstream()
    world.run(290)
    assert lives(world) == {"a": 3, "b": 3, "c": 1}
    world.heal()
    world.run(5)
    world.require_agreement(world.upstream[-1][0])


def test_of_two_halves_the_one_with_the_lowest_station_goes_on() -> None:
    world = running(4)
    world.split("ad", "bc")
    world.publish_upstream()
    world.run(60)
    assert lives(world) == {"a": 2, "b": 1, "c": 1, "d": 2}


def test_station_that_is_left_alone_publishes_after_ten_minutes() -> None:
    world = running(2)
    world.kill(world.stations["a"])
    world.publish_upstream()
    world.run(590)
    assert lives(world) == {"b": 1}
    world.run(40)
    assert lives(world) == {"b": 2}


def set_lag(world: World, names: str, lag: int) -> None:
    for name in names:
        world.stations[name].upstream_lag = lag


def went_apart(barrier: Callable[[Rules], Barrier] = Barrier) -> World:
    """a and d show newer content under a lesser number than b and c."""
    world = running(4, barrier=barrier)
    set_lag(world, "abcd", 6)
    for _ in range(6):
        world.publish_upstream()
    world.split("ad", "bc")
    world.run(650)
    for lag in (5, 4, 3):  # this side publishes more often …
        set_lag(world, "bc", lag)
        world.run(20)
    set_lag(world, "ad", 0)  # … and the other side newer content
    world.run(20)
    assert lives(world) == {"a": 2, "b": 4, "c": 4, "d": 2}
    return world


def test_sides_that_went_apart_meet_above_both_at_the_newer_content() -> None:
    world = went_apart()
    for name in "bc":
        world.stations[name].speed = 0.0  # the manifest is enough: it is shown on one side already
    world.heal()
    world.run(8)
    assert set(lives(world).values()) == {5}
    world.require_agreement(world.upstream[-1][0])
    shown_there = {p.number for p, flips in world.checks.flips.items() if {"a", "d"} & flips.keys()}
    assert shown_there == {1, 2, 5}  # never 4, which is greater and older


def test_without_the_rule_against_older_content_a_heal_is_a_rollback() -> None:
    world = went_apart(FollowsOlderContent)
    world.heal()
    with pytest.raises(Broken, match="rolls back"):
        world.run(8)


def test_numbering_survives_the_loss_of_every_state_directory() -> None:
    world = running()
    for _ in range(3):
        world.publish_upstream()
        world.run(15)
    before = max(lives(world).values())
    for station in world.stations.values():
        world.kill(station, lose_state=True)
    for station in world.stations.values():
        station.is_member = True  # the group is made again, on the same storages
        world.start(station)
    world.run(10)
    assert set(lives(world).values()) == {before}
    assert all(station.registered is not None for station in world.stations.values())
    world.publish_upstream()
    world.run(20)
    world.require_agreement(world.upstream[-1][0])
    assert set(lives(world).values()) == {before + 1}


def test_station_that_lost_everything_shows_what_the_others_show() -> None:
    world = running()
    world.publish_upstream()
    world.run(15)
    lost = others(world)[0]
    world.kill(lost, lose_state=True)
    world.lose_storage(lost)
    world.run(3)
    world.start(lost)
    assert lost.served == holder(world).served
    world.run(10)
    world.require_agreement(world.upstream[-1][0])


def test_source_of_which_nothing_is_left_anywhere_is_shown_as_on_the_first_day() -> None:
    """Purged everywhere, then mirrored again: nobody waits for the whole of it while clients get nothing."""
    world = running()
    for station in world.stations.values():
        world.lose_storage(station)
        station.orders.clear()
        station.speed = 0.1  # the whole takes 100 s
    new = world.publish_upstream()
    world.run(20)
    assert not any(station.storage.complete() for station in world.stations.values())
    world.require_agreement(new)
    assert set(lives(world).values()) == {2}


def test_holder_that_dies_after_writing_does_not_stop_the_flip() -> None:
    world = running()
    world.publish_upstream()
    written = run_until_written(world)
    world.run(0.5)
    world.kill(holder(world))
    world.run(RULES.lead_s + 0.5)
    assert set(lives(world).values()) == {written.number}
    assert spread(world, written) < 0.1


def test_duty_of_a_dead_holder_is_taken_over_within_ten_seconds() -> None:
    world = running()
    world.kill(holder(world))
    world.run(10)
    assert sum(s.barrier.has_duty(SOURCE) for s in others(world) if s.barrier) == 1
    world.publish_upstream()
    world.run(15)
    assert len(lives(world)) == 2
    assert set(lives(world).values()) == {2}


def test_holder_that_was_stopped_past_takeover_wakes_to_what_the_others_show() -> None:
    world = running(shared=3)
    world.publish_upstream()
    world.run(1)  # in the middle of its sync
    world.pause(holder(world))
    for _ in range(3):
        world.run(20)
        world.publish_upstream()
    world.run(20)
    shown = max(lives(world).values())
    assert shown >= 3
    world.resume(holder(world))
    assert lives(world)[holder(world).name] == shown  # it stands on the storage they share
    world.run(20)
    world.require_agreement(world.upstream[-1][0])


def test_station_with_its_own_storage_that_was_stopped_follows_as_soon_as_it_hears() -> None:
    world = running()
    stopped = others(world)[0]
    world.pause(stopped)
    world.publish_upstream()
    world.run(30)
    world.resume(stopped)
    world.run(1.5)
    assert len(set(lives(world).values())) == 1
    world.run(10)
    world.require_agreement(world.upstream[-1][0])


def test_laggard_is_waited_for_while_it_gets_on_and_left_behind_when_it_does_not() -> None:
    world = running()
    laggard = others(world)[0]
    laggard.speed = 0.1  # of 10: a hundred seconds
    world.publish_upstream()
    world.run(95)
    assert set(lives(world).values()) == {1}
    world.run(20)
    assert set(lives(world).values()) == {2}
    laggard.speed = 0.0
    world.publish_upstream()
    world.run(60)
    assert set(lives(world).values()) == {2}
    world.run(10)
    assert set(lives(world).values()) == {3}  # the laggard too: it answers by fill
    assert world.checks.kinds["left behind"] == 1


def test_slowest_laggard_costs_five_minutes() -> None:
    world = running()
    others(world)[0].speed = 0.01
    world.publish_upstream()
    world.run(295)
    assert set(lives(world).values()) == {1}
    world.run(20)
    assert set(lives(world).values()) == {2}


def test_station_without_its_storage_is_not_waited_for_and_flips_with_the_others() -> None:
    world = running()
    without = others(world)[0]
    world.set_trouble(without, "missing")
    world.run(2)
    world.publish_upstream()
    world.run(15)
    assert set(lives(world).values()) == {2}
    assert spread(world, max(world.checks.written_true)) < 0.1
    world.set_trouble(without, "")
    world.run(10)
    world.require_agreement(world.upstream[-1][0])


def test_holder_without_storage_gives_the_duty_to_one_that_has_one() -> None:
    world = running()
    world.set_trouble(holder(world), "full")
    world.run(3)
    world.publish_upstream()
    world.run(15)
    assert set(lives(world).values()) == {2}
    assert holder(world).name not in world.checks.written_true[max(world.checks.written_true)]


def test_clocks_that_are_set_by_half_a_minute_move_no_flip() -> None:
    world = running()
    for index, station in enumerate(world.stations.values()):
        world.set_clock(station, 30.0 * (index - 1))
        world.publish_upstream()
        world.run(20)
    world.require_agreement(world.upstream[-1][0])
    flipped = [p for p in world.checks.written_true if p.number > 1]
    assert len(flipped) == 3
    assert max(spread(world, p) for p in flipped) < 0.1


def test_holder_whose_clock_is_an_hour_off_loses_the_duty_and_still_flips_with_the_others() -> None:
    world = running()
    world.set_clock(holder(world), 3600.0)
    world.run(5)
    world.publish_upstream()
    world.run(20)
    world.require_agreement(world.upstream[-1][0])
    assert spread(world, max(world.checks.written_true)) < 0.1


def test_clock_that_is_set_between_writing_and_flip_moves_no_flip() -> None:
    world = running()
    for station in world.stations.values():
        world.publish_upstream()
        written = run_until_written(world)
        world.run(0.3)
        world.set_clock(station, -30.0)
        world.run(10)
        assert spread(world, written) < 0.1


def test_frozen_source_goes_back_for_all_at_once_and_forward_when_it_thaws() -> None:
    world = running()
    old = world.upstream[-1][0]
    for _ in range(2):
        world.publish_upstream()
        world.run(15)
    world.freeze(others(world)[0], Freeze(old))
    world.run(8)
    world.require_agreement(old)
    assert spread(world, max(world.checks.written_true)) < 0.1
    world.publish_upstream()
    world.run(30)
    world.require_agreement(old)
    world.freeze(others(world)[1], None)
    world.run(15)
    world.require_agreement(world.upstream[-1][0])


def test_repository_that_is_signed_again_is_shown_and_never_the_old_signature_again() -> None:
    world = running()
    shown: list[Revision] = []
    for _ in range(4):
        shown.append(world.publish_upstream(is_resigned=True))
        world.run(15)
        world.kill(holder(world))  # duty moves to one that saw another signature last
        world.run(15)
        world.start(holder(world))
        world.run(15)
    world.require_agreement(shown[-1])
    order = [p.revision for p in sorted(world.checks.written_true)]
    assert len(order) == len(set(order))


def test_lossy_network_delays_but_never_splits() -> None:
    world = running(5)
    world.loss = 0.3
    for _ in range(20):
        world.publish_upstream()
        world.run(10)
    world.loss = 0.0
    world.run(20)
    world.require_agreement(world.upstream[-1][0])
