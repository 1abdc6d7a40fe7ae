"""Named histories. Each is a promise, or a bug that was found once."""

import pytest

from station.gossip.codec import decode, encode
from station.gossip.effects import Refused, Send
from station.gossip.group import GroupFacts
from station.gossip.limits import Limits
from station.gossip.messages import Message, MessageType
from station.gossip.views import readable
from tests.simulation.disk import Disk
from tests.simulation.world import World, high_water_of, station_record


def settled(names: str = "ABC", seed: int = 1, limits: Limits | None = None) -> World:
    world = World(seed, names, limits=limits)
    world.run(4.0)  # also past the time in which a restarted station refuses to write
    assert world.is_agreed()
    return world


def record_messages(world: World, sender: str, receiver: str) -> list[bytes]:
    """The bytes that arrive from one station at another, from now on."""
    taken: list[bytes] = []
    deliver = world.inject

    def inject(to: str, by: str, data: bytes) -> None:
        if (by, to) == (sender, receiver):
            taken.append(data)
        deliver(to, by, data)

    world.inject = inject  # type: ignore[method-assign, assignment]
    return taken


def test_write_is_everywhere_long_before_the_next_round() -> None:
    world = settled("ABCDE")
    world.put("A", "k", {"n": 1})
    assert world.run(0.3, until=world.is_agreed)
    world.run(0.2)
    assert world.gossip("A").held_by() == 4


def test_split_two_against_three_heals_to_the_union() -> None:
    world = settled("ABCDE")
    world.network.split({"A", "B"}, {"C", "D", "E"})
    for n in range(20):
        for name in "ABCDE":
            assert world.put(name, f"{name}{n}", {"n": n}) is None
        world.run(180.0)  # an hour in all: every back-off is at its longest
    world.heal()
    world.expect_agreement(10.0)
    assert len(world.gossip("B").items("settings")) == 100


def test_references_added_on_two_sides_are_both_kept() -> None:
    world = settled("AB")
    world.network.split({"A"}, {"B"})
    for name, source in (("A", "ol9_baseos"), ("B", "ol9_appstream")):
        reference = {"holder_kind": "profile", "holder": "web", "source": source}
        assert world.write(name, [("reference", f"profile:web:{source}", reference)]) is None
    world.heal()
    world.expect_agreement()
    assert len(world.gossip("A").items("reference")) == 2


def test_concurrent_change_of_one_record_is_kept_and_shown_as_a_conflict_everywhere() -> None:
    world = settled("ABC")
    world.network.split({"A"}, {"B", "C"})
    world.put("A", "k", {"by": "A"})
    world.run(0.1)
    world.put("B", "k", {"by": "B"})
    world.heal()
    world.expect_agreement()
    for name in "ABC":
        (conflict,) = world.gossip(name).conflicts()
        assert (conflict.kept.value, conflict.lost.value) == ({"by": "B"}, {"by": "A"})
    world.put("C", "k", {"by": "C"})
    world.expect_agreement()
    assert not any(world.gossip(name).conflicts() for name in "ABC")


def test_late_delta_after_disk_loss_is_refused() -> None:
    world = settled("AB")
    late = record_messages(world, "A", "B")
    for n in range(5):
        world.put("A", f"k{n}", {"n": n})
        world.run(0.2)
    pushed = [data for data in late if decode(data).deltas]
    assert decode(pushed[-1]).deltas[0].base > 0
    world.network.split({"A"}, {"B"})
    world.lose_disk("B")
    world.start("B")
    world.inject("B", "A", pushed[-1])  # computed when B had seen the rest
    assert world.gossip("B").get("settings", "k4") is None
    assert not world.gossip("B").digest()
    world.heal()
    world.expect_agreement()
    assert len(world.gossip("B").items("settings")) == 5


def test_deleted_record_stays_deleted_after_replay_of_everything() -> None:
    world = settled("ABC")
    heard = record_messages(world, "A", "B")
    taken = record_messages(world, "A", "C")
    world.put("A", "k", {"n": 1})
    world.run(1.0)
    world.put("B", "k", None)
    world.run(20.0)  # beyond the life of the tombstone: it is collected
    assert world.gossip("C").high_water().collected
    for data in [*heard, *taken, *taken]:
        world.inject("C", "A", data)
    world.run(5.0)
    assert all(world.gossip(name).get("settings", "k") is None for name in "ABC")


def test_tombstone_is_not_collected_while_a_member_is_away() -> None:
    world = settled("ABC")
    world.put("A", "k", {"n": 1})
    world.run(1.0)
    world.crash("C")
    world.put("A", "k", None)
    world.run(60.0)
    assert not world.gossip("A").high_water().collected
    world.heal()
    world.expect_agreement()
    assert world.gossip("C").get("settings", "k") is None


def test_station_from_an_old_backup_brings_nothing_deleted_back() -> None:
    world = settled("ABC")
    world.put("A", "deleted", {"n": 1})
    world.put("A", "kept", {"n": 1})
    world.run(2.0)
    backup = world.nodes["C"].disk.copy()
    world.put("C", "mine", {"n": 2})
    world.put("B", "deleted", None)
    world.run(20.0)
    world.crash("C")
    world.nodes["C"].disk = backup
    world.start("C")
    assert world.gossip("C").get("settings", "deleted") == {"n": 1}
    world.run(5.0)
    assert world.is_agreed()
    assert sorted(world.gossip("A").items("settings")) == ["kept", "mine"]
    codes = {alarm.code for alarm in world.nodes["C"].alarms}
    assert {"rolled_back", "behind"} <= codes, "its sequence numbers were used: a new epoch"
    assert world.put("C", "after", {"n": 3}) is None
    world.expect_agreement()


def test_all_killed_together_and_restarted_agree_without_a_write() -> None:
    world = settled("ABC")
    for name in "ABC":
        world.put(name, name, {"n": 1})
    world.run(2.0)
    before = world.gossip("A").digest()
    for name in "ABC":
        world.crash(name)
    for name in "CAB":
        world.start(name)
        world.run(1.0)
    world.expect_agreement()
    assert world.gossip("B").digest() == before


def test_wiped_station_reads_everything_again_and_deletes_nothing() -> None:
    world = settled("ABC")
    world.put("A", "k", {"n": 1})
    world.put("A", "gone", {"n": 1})
    world.put("A", "gone", None)
    world.run(20.0)
    world.lose_disk("C")
    world.start("C")
    world.expect_agreement(3.0)
    assert world.gossip("C").get("settings", "k") == {"n": 1}
    world.run(3.0)  # for as long its previous run might still be alive
    assert world.put("C", "new", {"n": 2}) is None
    world.expect_agreement()


def test_crash_before_the_disk_has_it_loses_the_write_everywhere() -> None:
    world = settled("AB")
    world.disk_s = 0.0
    world.at(0.0, lambda: None)
    world.put("A", "k", {"n": 1})
    world.crash("A")  # nobody was told, because nothing was durable
    world.heal()
    world.expect_agreement()
    assert world.gossip("B").get("settings", "k") is None
    world.run(3.0)
    assert world.put("A", "k", {"n": 2}) is None
    world.expect_agreement()


def test_clone_started_later_refuses_to_write_and_the_first_one_goes_on() -> None:
    world = settled("ABC")
    world.put("A", "k", {"n": 1})
    world.run(1.0)
    node = world.nodes["A"]
    clone = type(node)("A'", Disk(node.disk.epoch, dict(node.disk.rows), node.disk.high_water))
    world.nodes["A'"] = clone
    world.start("A'")
    world.run(3.0)
    refusal = world.put("A'", "k", {"n": 2})
    assert refusal is not None and refusal.code == "clone"
    assert world.put("A", "k", {"n": 3}) is None
    world.run(10.0)
    refusal = world.put("A'", "k", {"n": 2})
    assert refusal is not None and refusal.code == "clone"
    assert any(alarm.code == "clone" for alarm in clone.alarms)
    world.crash("A'")
    world.run(5.0)
    assert world.put("A", "k", {"n": 4}) is None


def test_restarted_station_is_no_clone_for_long_and_writes_again() -> None:
    world = settled("ABC")
    world.crash("A")
    world.start("A")
    world.run(4.0)
    assert world.put("A", "k", {"n": 1}) is None
    assert not any(alarm.code == "clone" for alarm in world.nodes["A"].alarms)


def test_restarted_station_refuses_to_write_before_it_heard_of_its_past() -> None:
    world = settled("ABC")
    world.crash("A")
    world.network.split({"A"}, {"B", "C"})
    world.start("A")
    refusal = world.put("A", "k", {"n": 1})
    assert refusal is not None and refusal.code == "starting"
    assert not world.gossip("A").first_exchange_done
    epoch = world.gossip("A").epoch
    world.run(12.0)
    assert world.put("A", "k", {"n": 1}) is None, "alone for long: under a new epoch"
    assert world.gossip("A").epoch != epoch
    world.heal()
    world.expect_agreement()
    assert high_water_of(world, "A") == world.gossip("A").high_water()


def test_station_a_day_ahead_refuses_to_write_and_serves() -> None:
    world = settled("ABC")
    world.nodes["A"].skew_s = 86_400.0
    world.run(3.0)
    refusal = world.put("A", "k", {"n": 1})
    assert refusal is not None and refusal.code == "clock" and "86400" in str(refusal)
    assert world.put("B", "k", {"n": 2}) is None
    world.expect_agreement()
    assert world.gossip("A").get("settings", "k") == {"n": 2}
    world.nodes["A"].skew_s = 0.0
    world.run(3.0)
    assert world.put("A", "k", {"n": 3}) is None
    world.expect_agreement()


def test_stamp_from_the_future_waits_and_then_everything_after_it_comes() -> None:
    world = settled("AB")
    world.network.split({"A"}, {"B"})
    world.nodes["A"].skew_s = 90.0
    world.run(70.0)  # the last measurement of the clocks is forgotten: A is alone
    assert world.put("A", "k1", {"n": 1}) is None
    assert world.put("A", "k2", {"n": 2}) is None
    world.heal()
    world.run(10.0)
    assert world.gossip("B").items("settings") == {}
    assert world.gossip("B").stalled().keys() == {"A"}
    world.run(40.0)
    assert world.gossip("B").items("settings") == {"k1": {"n": 1}, "k2": {"n": 2}}
    assert not world.gossip("B").stalled()


@pytest.mark.parametrize(
    ("field", "facts", "ours", "theirs"),
    [
        (
            "hostname",
            ("g-1", "datacenter-1", "other.example.com", 16080, 17080, 17443),
            "lb.example.com",
            "other.example.com",
        ),
        (
            "compartment",
            ("g-1", "datacenter-2", "lb.example.com", 16080, 17080, 17443),
            "datacenter-1",
            "datacenter-2",
        ),
        ("https", ("g-1", "datacenter-1", "lb.example.com", 16080, 17080, 443), "17443", "443"),
        ("id", ("g-2", "datacenter-1", "lb.example.com", 16080, 17080, 17443), "g-1", "g-2"),
    ],
)
def test_peer_of_another_group_is_refused_and_both_sides_name_both_values(
    field: str, facts: tuple[str, str, str, int, int, int], ours: str, theirs: str
) -> None:
    world = World(1, "AB", start=False)
    world.nodes["B"].group = GroupFacts(*facts)
    for name in "AB":
        world.start(name)
    world.put("A", "k", {"n": 1})
    world.run(20.0)
    assert world.gossip("B").items("settings") == {}
    assert world.nodes["A"].refusals == [Refused("B", field, ours, theirs)], "said once"
    assert world.nodes["B"].refusals == [Refused("A", field, theirs, ours)]
    assert world.gossip("A").differences().keys() == {"B"}


def test_forgotten_station_is_not_listened_to_and_may_not_write() -> None:
    world = settled("ABC")
    world.write("A", [("station", "C", None)])
    world.run(2.0)
    refusal = world.put("C", "k", {"n": 1})
    assert refusal is not None and refusal.code == "forgotten"
    assert world.gossip("A").members().keys() == {"A", "B"}
    assert world.gossip("B").statuses(now=world.now("B")).keys() == {"A", "B"}


def test_station_that_knows_nobody_is_rebuilt_by_those_who_know_it() -> None:
    world = settled("ABC")
    world.put("A", "k", {"n": 1})
    world.run(1.0)
    world.crash("C")
    world.nodes["C"].disk = Disk("e" * 16, {("settings", "x"): []})
    world.nodes["C"].disk.rows.clear()
    node = world.nodes["C"]
    others = dict(world.nodes)
    world.nodes.clear()
    world.nodes["C"] = node
    world.start("C")
    world.nodes.update(others)
    world.expect_agreement()
    assert world.gossip("C").members().keys() == {"A", "B", "C"}


def test_record_of_a_newer_release_is_kept_relayed_and_not_shown() -> None:
    world = settled("ABC")
    world.network.cut = {("A", "C"), ("C", "A")}
    strange = {"name": "B", "address": "b.example.com", "peer_port": "see the other field"}
    replica = world.gossip("A")._replica
    with pytest.MonkeyPatch.context() as newer:
        newer.setattr("station.gossip.replica.writable", lambda kind, key, value, held: value)
        replica.write([("station", "X", strange)], wall=world.now("A").wall)
    world.do("A", replica.flush())
    world.run(5.0)
    for name in "ABC":
        assert world.gossip(name).opaque() == [("station", "X")]
        assert "X" not in world.gossip(name).members()
    assert readable("station", "X", strange) is None


def test_ten_thousand_records_reach_a_new_station_in_bounded_messages() -> None:
    world = settled("AB", limits=Limits())
    world.crash("B")
    for batch in range(10):
        world.write("A", [("settings", f"{batch}-{n}", {"n": "x" * 200}) for n in range(1000)])
    world.run(1.0)
    world.start("B")
    world.expect_agreement(5.0)
    assert len(world.gossip("B").items("settings")) == 10_000


def test_group_above_full_mesh_agrees_with_three_partners_each() -> None:
    world = settled("ABCDEFGHIJKL")
    world.network.messages = 0
    world.run(10.0)
    assert world.network.messages / 10 / 12 < 8, "three exchanges a second, not eleven"
    world.crash("L")
    world.run(1.0)
    world.put("A", "k", {"n": 1})
    world.heal()
    world.expect_agreement()
    assert all(s.is_present for s in world.gossip("B").statuses(now=world.now("B")).values())


def test_status_travels_in_a_moment_and_silence_is_noticed_after_five_seconds() -> None:
    world = settled("ABC")
    world.do(
        "A", world.gossip("A").set_status({"ready": True, "big": "x" * 5000}, now=world.now("A"))
    )
    world._plan_tick(world.nodes["A"])
    world.run(0.3)
    status = world.gossip("C").statuses(now=world.now("C"))["A"]
    assert status.payload == {"ready": True, "big": "x" * 5000} and status.is_present
    world.network.bytes = 0
    world.run(5.0)
    assert world.network.bytes / 5 < 40_000, "what did not change is not sent again"
    world.crash("A")
    world.run(3.5)
    assert world.gossip("C").statuses(now=world.now("C"))["A"].is_present
    world.run(3.0)
    assert not world.gossip("C").statuses(now=world.now("C"))["A"].is_present
    world.start("A")
    world.run(8.0)
    status = world.gossip("C").statuses(now=world.now("C"))["A"]
    assert status.is_present and status.payload == {}, "the new run has said nothing yet"


def test_station_cut_from_one_peer_is_seen_through_the_other() -> None:
    world = settled("ABC")
    world.network.cut = {("A", "B"), ("B", "A")}
    world.run(20.0)
    assert world.gossip("A").statuses(now=world.now("A"))["B"].is_present
    world.put("A", "k", {"n": 1})
    assert world.run(3.0, until=world.is_agreed)


def test_one_way_partition_does_not_stop_agreement() -> None:
    world = settled("AB")
    world.network.cut = {("A", "B")}
    world.put("A", "k", {"n": 1})
    world.run(5.0)
    world.network.heal()
    world.expect_agreement()


def test_malformed_message_changes_nothing_and_is_told() -> None:
    world = settled("AB")
    before = world.gossip("A").digest()
    for data in (b"", b"{}", b"[" * 100_000, b"x" * 5_000_000, b"\xff\xfe", b'{"type":"syn"}'):
        world.inject("A", "B", data)
    assert world.gossip("A").digest() == before
    assert [alarm.code for alarm in world.nodes["A"].alarms] == ["malformed"] * 6


def test_message_of_one_who_calls_himself_another_is_dropped() -> None:
    world = settled("ABC")
    (send,) = [
        e
        for e in world.gossip("B").greet(now=world.now("B"))
        if isinstance(e, Send) and e.peer == "A"
    ]
    assert world.gossip("A").receive("C", send.data, now=world.now("A"))[0].code == "malformed"  # type: ignore[union-attr]
    assert world.gossip("A").receive("A", send.data, now=world.now("A")) == []


def test_hole_is_found_by_the_fingerprint_and_repaired() -> None:
    world = settled("AB")
    world.put("A", "k", {"n": 1})
    world.run(1.0)
    world.gossip("B")._replica.state.drop("settings", "k")
    assert world.gossip("A").digest() == world.gossip("B").digest()
    world.run(5.0)
    assert world.gossip("B").get("settings", "k") == {"n": 1}


def test_sequence_at_its_end_does_not_silence_a_station() -> None:
    world = settled("AB")
    (send,) = world.gossip("B").greet(now=world.now("B"))
    assert isinstance(send, Send)
    message = decode(send.data)
    assert message.summary is not None and message.type is MessageType.SYN
    origin = world.gossip("A").last_write.origin
    seen = ((origin, 2**63 - 1),)
    poisoned = Message(
        MessageType.ACK,
        message.sender,
        type(message.summary)(seen, (), None, ()),  # type: ignore[arg-type]
    )
    world.inject("A", "B", encode(poisoned))
    assert world.gossip("A").epoch != origin.epoch
    assert world.put("A", "k", {"n": 1}) is None
    world.expect_agreement()


def test_station_with_a_told_record_only_is_a_member_until_the_group_says_otherwise() -> None:
    world = World(3, "AB", start=False)
    world.start("A")
    assert world.gossip("A").members()["B"] == station_record("B")
    assert world.put("A", "k", {"n": 1}) is None, "a new epoch need not wait"
