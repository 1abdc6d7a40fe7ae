"""Whom to talk to next, and what is believed of clocks."""

from random import Random

import pytest

from station.gossip.entry import Stamp
from station.gossip.peers import Peers
from station.model.now import Now


def tries(peers: Peers, others: list[str], seconds: float) -> dict[str, list[float]]:
    found: dict[str, list[float]] = {name: [] for name in others}
    boot = 0.0
    while boot < seconds:
        for name in peers.due(others, boot):
            found[name].append(boot)
        due = peers.next_due(others)
        assert due > boot, "or the caller spins"
        boot = due
    return found


def test_present_peers_are_met_each_second_and_absent_ones_for_ever_in_time_for_a_heal() -> None:
    peers = Peers(Random(1))
    peers["B"].is_up = True
    found = tries(peers, ["B", "C"], 3600.0)
    assert 3200 < len(found["B"]) < 4000
    gaps = [b - a for a, b in zip(found["C"][10:], found["C"][11:], strict=False)]
    assert min(gaps) > 4.0 and max(gaps) <= 6.0


def test_large_group_talks_to_three_and_tries_the_dead_each_half_minute() -> None:
    peers = Peers(Random(1))
    others = [f"S{n}" for n in range(20)]
    for name in others[:15]:
        peers[name].is_up = True
    found = tries(peers, others, 600.0)
    present = sum(len(found[name]) for name in others[:15])
    assert 3 * 540 < present < 3 * 680
    assert all(18 < len(found[name]) < 40 for name in others[15:])


def test_large_group_of_absent_ones_does_not_spin() -> None:
    found = tries(Peers(Random(1)), [f"S{n}" for n in range(20)], 100.0)
    assert all(found.values())


def test_offset_comes_from_the_shortest_round_trip() -> None:
    peer = Peers(Random(1))["B"]
    peer.sample(10.0, 1010.5 + 5.0, 11.0)
    peer.sample(12.0, 1012.005 + 5.0, 12.01)
    peer.sample(13.0, 1013.3 + 5.0, 14.0)
    assert peer.offset(Now(wall=1015.0, boot=15.0)) == pytest.approx(5.0, abs=0.001)
    assert peer.offset(Now(wall=1100.0, boot=100.0)) is None, "too old"


def test_step_of_our_clock_counts_at_once_and_of_theirs_with_the_next_sample() -> None:
    peer = Peers(Random(1))["B"]
    peer.sample(10.0, 1010.0, 10.001)
    assert peer.offset(Now(wall=1110.0, boot=10.0)) == pytest.approx(-100.0, abs=0.01)
    peer.sample(11.0, 1061.0, 11.1)
    assert peer.offset(Now(wall=1012.0, boot=12.0)) == pytest.approx(50.0, abs=0.1)


def test_clock_disagreement_is_with_the_median_of_present_peers() -> None:
    peers = Peers(Random(1))
    for name, offset in (("B", 0.0), ("C", 0.2), ("D", 9000.0)):
        peers[name].is_up = True
        peers[name].sample(10.0, 1010.0 + offset, 10.0)
    now = Now(wall=1010.0, boot=10.0)
    assert peers.clock_disagreement(["B", "C", "D"], now) == pytest.approx(0.2)
    peers["D"].is_up = False
    assert peers.clock_disagreement(["B", "C", "D"], now) == pytest.approx(0.1)
    assert peers.clock_disagreement([], now) == 0.0


def test_other_run_of_a_peer_is_told_of_for_three_seconds() -> None:
    peer = Peers(Random(1))["B"]
    peer.hear("r1", Stamp(1, 0), 10.0)
    peer.hear("r2", Stamp(2, 0), 11.0)
    (twin,) = peer.other_runs("r2", 12.0)
    assert (twin.run, twin.age_ms) == ("r1", 2000)
    assert peer.other_runs("r2", 13.5) == ()


def test_who_is_no_member_any_more_is_forgotten() -> None:
    peers = Peers(Random(1))
    peers["B"].is_up = True
    assert peers["C"].name == "C"
    assert peers.keep(["C"]) == ["B"]
