"""What a caller of Gossip may rely on; how several of them agree is shown in tests/simulation."""

import pytest

from station.gossip.effects import Changed, Persist, Send
from station.gossip.entry import Entry, HighWater, told
from station.gossip.machine import Gossip
from station.gossip.replica import WriteRefused
from station.model.now import Now
from tests.unit.gossip.builders import core, now, station


def deliver(source: Gossip, target: Gossip, send: Send, at: Now) -> None:
    """One message and all that follows from it."""
    answers = [e for e in target.receive(source.station, send.data, now=at) if isinstance(e, Send)]
    for answer in answers:
        deliver(target, source, answer, at)


def sends(effects: list[object]) -> list[Send]:
    return [effect for effect in effects if isinstance(effect, Send)]


def test_write_is_durable_before_anybody_hears_of_it() -> None:
    a, b = core("A", "AB"), core("B", "AB")
    for send in sends([*a.greet(now=now())]):
        deliver(a, b, send, now())
    a.tick(now=now())
    effects = a.put("settings", "k", {"n": 1}, now=now(1.5))
    assert [type(effect) for effect in effects] == [Persist, Changed, Send]
    assert isinstance(effects[0], Persist) and isinstance(effects[2], Send)
    (row,) = effects[0].entries
    assert isinstance(row, Entry) and row.value == {"n": 1} and row.sequence == 1
    assert effects[0].high_water == a.high_water()
    assert a.held_by() == 0
    deliver(a, b, effects[2], now(1.6))
    assert b.get("settings", "k") == {"n": 1} and a.held_by() == 1


def test_several_changes_are_one_durable_step_or_none() -> None:
    a = core()
    effects = a.put_all([("settings", "k", {"n": 1}), ("settings", "l", {"n": 2})], now=now())
    assert [type(effect) for effect in effects] == [Persist, Changed]
    with pytest.raises(WriteRefused) as refused:
        a.put_all([("settings", "m", {"n": 1}), ("station", "A", {"name": "B"})], now=now())
    assert refused.value.code == "invalid"
    assert a.items("settings").keys() == {"k", "l"} and a.last_write.sequence == 2


def test_same_value_again_is_no_change() -> None:
    a = core()
    assert a.put("settings", "k", {"n": 1}, now=now())
    assert a.put("settings", "k", {"n": 1}, now=now()) == []
    assert a.delete("settings", "never there", now=now()) == []


def test_own_record_that_was_only_told_is_written_all_the_same() -> None:
    a = core("A", "AB")
    assert a.members() == {"A": station("A"), "B": station("B")}
    assert a.put("station", "A", station("A"), now=now())


def test_deleted_record_is_gone_for_readers() -> None:
    a = core()
    a.put("settings", "k", {"n": 1}, now=now())
    a.delete("settings", "k", now=now())
    assert a.get("settings", "k") is None and a.items("settings") == {}


def test_publication_only_grows_and_cannot_be_deleted() -> None:
    a = core()

    def publish(number: int, order: int) -> None:
        value = {"number": number, "order": order, "revision": "a" * 64, "by": "A"}
        a.put("publication", "ol9", value, now=now())

    publish(2, 5)
    for number, order in ((1, 9), (2, 4)):
        with pytest.raises(WriteRefused) as refused:
            publish(number, order)
        assert refused.value.code == "publication"
    with pytest.raises(WriteRefused):
        a.delete("publication", "ol9", now=now())
    publish(3, 0)


def test_restart_from_the_ledger_goes_on_where_it_was() -> None:
    a = core()
    rows: list[Entry] = []
    high_water: HighWater | None = None
    for n in range(3):
        for effect in a.put("settings", f"k{n}", {"n": n}, now=now()):
            if isinstance(effect, Persist):
                rows += [row for row in effect.entries if isinstance(row, Entry)]
                high_water = effect.high_water
    again = core(entries=reversed(rows), high_water=high_water)
    assert again.digest() == a.digest() and again.items("settings") == a.items("settings")
    again.put("settings", "k3", {"n": 3}, now=now(-30))
    assert again.last_write.sequence == 4


def test_station_whose_clock_went_back_by_more_than_a_minute_refuses_to_write() -> None:
    a = core()
    a.put("settings", "k", {"n": 1}, now=now())
    a.put("settings", "k", {"n": 2}, now=now(-59))
    with pytest.raises(WriteRefused) as refused:
        a.put("settings", "k", {"n": 3}, now=now(-61))
    assert refused.value.code == "clock"


def test_joined_station_may_write_at_once_and_offers_what_it_wrote() -> None:
    a, b = core("A", "AB"), core("B", "AB")
    assert not a.first_exchange_done
    a.put("settings", "k", {"n": 1}, now=now())
    for send in sends([*a.greet(now=now())]):
        deliver(a, b, send, now())
    assert b.get("settings", "k") == {"n": 1}
    assert a.first_exchange_done


def test_restarted_station_waits_for_its_peers_before_it_writes() -> None:
    held = core("A", "AB").high_water()
    a = core("A", "AB", high_water=held)
    with pytest.raises(WriteRefused) as refused:
        a.put("settings", "k", {"n": 1}, now=now(1))
    assert refused.value.code == "starting"
    lonely = core("A", "A", high_water=held)
    assert lonely.put("settings", "k", {"n": 1}, now=now(1)), "there is nobody to wait for"


def test_pause_of_ourselves_accuses_nobody() -> None:
    a, b = core("A", "AB"), core("B", "AB")
    for send in sends([*b.greet(now=now())]):
        deliver(b, a, send, now())
    a.tick(now=now(0.5))
    effects = a.tick(now=now(60.5))
    assert not [effect for effect in effects if type(effect).__name__ == "PeerDown"]
    assert a.statuses(now=now(60.5))["B"].is_present


def test_deadlines_are_ahead_and_ticks_do_not_spin() -> None:
    a = core("A", "ABC")
    at = 0.0
    for _ in range(50):
        a.tick(now=now(at))
        assert a.next_deadline() > 100.0 + at
        at = a.next_deadline() - 100.0
    assert at > 10.0


def test_clock_offset_is_measured_by_the_exchange() -> None:
    a, b = core("A", "AB"), core("B", "AB")
    (send,) = sends([*a.greet(now=now())])
    ahead = Now(wall=now().wall + 7.0, boot=500.0)
    (reply,) = sends([*b.receive("A", send.data, now=ahead)])
    a.receive("B", reply.data, now=now(0.001))
    assert a.clock_offset("B", now=now(1.0)) == pytest.approx(7.0, abs=0.01)
    assert a.clock_offset("nobody", now=now(1.0)) is None


def test_one_member_cannot_make_us_dial_an_address_that_no_record_names() -> None:
    a = core("A", "AB", entries=[told("station", n, station(n)) for n in "AB"])
    assert {send.peer for send in sends([*a.greet(now=now())])} == {"B"}
