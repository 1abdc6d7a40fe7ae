"""Who may register, who an instance is, and what it is told; each desk is a station."""

import secrets
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from station.control.changes import BadChange, Records
from station.control.instance_desk import (
    CLIENTS_MAX,
    FAILED_MAX,
    FAILURES_MAX,
    Caller,
    InstanceDesk,
)
from station.control.instance_facts import Facts
from station.model.credential import LEEWAY_S, LIFE_S
from station.model.install_key import InstallKey, KeyRecord, digest_of
from station.model.last_seen import Sightings, seen_at
from station.model.records import (
    RECORDS,
    GroupRecord,
    Kind,
    ProfileRecord,
    Record,
    ReferenceRecord,
    SourceRecord,
)
from station.peering.changes import Change

SIGNING = b"the group's"
GROUP = GroupRecord(id="g", compartment="c", hostname="lb.example.com")


class Shelf:
    """A registry of one process; `hears` is what is written to it, here or elsewhere."""

    def __init__(self) -> None:
        self.kept: dict[Kind, dict[str, Any]] = {kind: {} for kind in Kind}
        self.deleted: set[str] = set()
        self.writes = 0
        self.refusal = ""

    def put(self, kind: Kind, key: str, record: Record) -> None:
        self.kept[kind][key] = record

    def records(self) -> Records:
        kept = self.kept
        return Records(
            GROUP,
            kept[Kind.STATION],
            kept[Kind.SOURCE],
            kept[Kind.PROFILE],
            kept[Kind.INSTANCE],
            dict(kept[Kind.REFERENCE]),  # a change makes another mapping
            kept[Kind.PUBLICATION],
        )

    def settings(self) -> Mapping[str, Mapping[str, Any]]:
        return self.kept[Kind.SETTINGS]

    def certified(self) -> list[str]:
        return [GROUP.hostname]

    def is_deleted(self, instance: str) -> bool:
        return instance in self.deleted

    async def write(self, changes: Sequence[Change]) -> int:
        if self.refusal:
            raise BadChange(503, "clock", self.refusal)
        self.writes += 1
        for change in changes:
            if change.value is None:
                self.kept[change.kind].pop(change.key, None)
                if change.kind is Kind.INSTANCE:
                    self.deleted.add(change.key)
            elif change.kind in RECORDS:
                record = RECORDS[change.kind].model_validate(change.value)
                self.kept[change.kind][change.key] = record
            else:
                self.kept[change.kind][change.key] = change.value
        return 1


class Group:
    """Desks over shelves of their own, one clock, one install key; `share` is gossip."""

    def __init__(self, *, uses: int = 0) -> None:
        self.now = 1_800_000_000.0
        self.shelves = [Shelf(), Shelf()]
        self.sightings = Sightings()
        self.desks = [
            InstanceDesk(shelf, SIGNING, self.sightings, lambda: self.now) for shelf in self.shelves
        ]
        key = InstallKey(bytes(32), 17443, secrets.token_bytes(32))
        self.key = Caller(key.text(), "10.0.0.1")
        self.record = KeyRecord(
            "web", digest_of(key.secret), self.now + 9000.0, self.now, uses_max=uses
        )
        for shelf in self.shelves:
            for source in ("base", "apps"):
                record = SourceRecord(id=source, url="http://up/x", gpgkey="KEY")
                shelf.put(Kind.SOURCE, source, record)
            shelf.put(Kind.PROFILE, "web", ProfileRecord(name="web", station="A"))
            reference = ReferenceRecord(holder_kind="profile", holder="web", source="base")
            shelf.put(Kind.REFERENCE, reference.key, reference)
            shelf.kept[Kind.SETTINGS][self.record.key] = self.record.to_wire()

    def share(self) -> None:
        for one, other in (self.shelves, self.shelves[::-1]):
            for kind in Kind:
                other.kept[kind] |= {
                    k: v for k, v in one.kept[kind].items() if k not in other.deleted
                }
            for gone in one.deleted:
                other.kept[Kind.INSTANCE].pop(gone, None)
            other.deleted |= one.deleted

    async def token(self, name: str = "db1", facts: Facts | None = None) -> Caller:
        _, answer = await self.desks[0].register(name, facts or some_facts(), self.key)
        return Caller(answer["token"])


def some_facts(**facts: str) -> Facts:
    return Facts({"hostname": "h", **facts}, secret=secrets.token_hex(32))


async def refused(awaitable: Any) -> tuple[int, str]:
    with pytest.raises(BadChange) as raised:
        await awaitable
    return raised.value.status, raised.value.code


async def test_registration_is_one_record_however_often_and_wherever_it_is_asked_for() -> None:
    group, facts = Group(uses=1), some_facts()
    assert (await group.desks[0].register("db1", facts, group.key))[0] == 201
    assert (await group.desks[0].register("db1", facts, group.key))[0] == 200
    assert group.shelves[0].writes == 1
    group.share()
    assert (await group.desks[1].register("db1", facts, group.key))[0] == 200
    assert group.shelves[1].writes == 0
    assert group.shelves[1].kept[Kind.INSTANCE]["db1"].station == "A"


async def test_known_machine_needs_no_install_key_to_come_back() -> None:
    group, facts = Group(), some_facts()
    await group.token(facts=facts)
    status, answer = await group.desks[0].register("db1", facts, Caller("own"))
    assert (status, answer["profile"]) == (200, "web")
    assert (await refused(group.desks[1].register("db1", facts, Caller("own"))))[0] == 401


async def test_id_of_another_machine_is_not_to_be_had_with_a_good_key() -> None:
    group = Group()
    await group.token()
    assert await refused(group.desks[0].register("db1", some_facts(), group.key)) == (403, "taken")


async def test_key_for_one_machine_is_not_replayed_even_after_it_left() -> None:
    group = Group(uses=1)
    token = await group.token()
    await group.desks[0].deregister("db1", token)
    answer = await refused(group.desks[0].register("db2", some_facts(), group.key))
    assert answer == (403, "install_key")


async def test_each_side_of_a_partition_admits_as_many_as_the_key_is_good_for() -> None:
    group = Group(uses=2)
    for desk in group.desks:
        for number in (1, 2):
            await desk.register(f"{id(desk)}-{number}", some_facts(), group.key)
        assert (await refused(desk.register("more", some_facts(), group.key)))[0] == 403
    group.share()
    assert len(group.shelves[0].kept[Kind.INSTANCE]) == 4


@pytest.mark.parametrize("how", ["expired", "revoked", "unknown", "other profile", "no key"])
async def test_bad_key_registers_nobody(how: str) -> None:
    group, caller, facts = Group(), None, some_facts()
    settings = group.shelves[0].kept[Kind.SETTINGS]
    if how == "expired":
        group.now += 9001
    elif how == "revoked":
        settings[group.record.key] = group.record.revoked().to_wire()
    elif how == "unknown":
        settings.clear()
    elif how == "other profile":
        facts = Facts({}, secret=facts.secret, profile="db")
    else:
        caller = Caller("x" * 5000)
    status, _ = await refused(group.desks[0].register("db1", facts, caller or group.key))
    assert status == (401 if how in ("unknown", "no key") else 403)
    assert not group.shelves[0].kept[Kind.INSTANCE]


async def test_ten_thousand_guesses_are_answered_429_and_the_right_key_is_still_taken() -> None:
    group, codes = Group(), []
    for _ in range(10_000):
        guess = Caller(InstallKey(bytes(32), 17443, secrets.token_bytes(32)).text(), "10.0.0.1")
        codes.append((await refused(group.desks[0].register("x", some_facts(), guess)))[0])
    assert codes[:FAILURES_MAX] == [401] * FAILURES_MAX
    assert set(codes[FAILURES_MAX:]) == {429}
    assert (await group.desks[0].register("db1", some_facts(), group.key))[0] == 201


async def test_addresses_of_failures_are_not_remembered_without_bound() -> None:
    group = Group()
    for number in range(CLIENTS_MAX + 50):
        await refused(group.desks[0].register("x", some_facts(), Caller("no", str(number))))
    assert len(group.desks[0]._failures) == CLIENTS_MAX


async def test_station_that_has_not_heard_of_the_registration_answers_without_renewing() -> None:
    group = Group()
    token = await group.token()
    answer = await group.desks[1].check_in("db1", Facts({}), token)
    assert answer["changed"] == ["repos"]
    assert "token" not in answer
    assert "[base]" in group.desks[1].repos("db1", "direct", token)
    assert not group.shelves[1].kept[Kind.INSTANCE]
    group.share()
    assert "token" in await group.desks[1].check_in("db1", Facts({}), token)


async def test_record_is_written_only_when_facts_change() -> None:
    group = Group()
    token = await group.token()
    for kernel, writes in (("5.14", 2), ("5.14", 2), ("5.15", 3), ("5.15", 3)):
        group.now += 120
        await group.desks[0].check_in("db1", Facts({"hostname": "h", "kernel": kernel}), token)
        assert group.shelves[0].writes == writes
    assert seen_at(group.sightings.marks(), "db1", group.now) == group.now


async def test_check_in_is_answered_when_facts_cannot_be_written_now() -> None:
    group = Group()
    token = await group.token()
    group.shelves[0].refusal = "the clock is off"
    assert await group.desks[0].check_in("db1", Facts({"kernel": "6"}), token)


async def test_nobody_asks_as_another() -> None:
    group = Group()
    token = await group.token("me")
    await group.token("you")
    desk = group.desks[0]
    assert await refused(desk.check_in("you", Facts({}), token)) == (403, "another")
    assert await refused(desk.deregister("you", token)) == (403, "another")
    with pytest.raises(BadChange, match="another instance"):
        desk.repos("you", "direct", token)


async def test_after_deregistration_the_hour_bounds_it_and_nothing_brings_it_back() -> None:
    group, facts = Group(), some_facts()
    token = await group.token(facts=facts)
    group.share()
    await group.desks[0].deregister("db1", token)
    assert await refused(group.desks[0].check_in("db1", Facts({}), token)) == (410, "deregistered")
    assert await group.desks[1].check_in("db1", Facts({}), token)  # has not heard
    group.share()
    assert (await refused(group.desks[1].check_in("db1", Facts({}), token)))[0] == 410
    assert (await refused(group.desks[1].register("db1", facts, Caller("own"))))[0] == 401
    group.now += LIFE_S + LEEWAY_S + 1
    assert (await refused(group.desks[1].check_in("db1", Facts({}), token)))[0] == 401
    assert "db1" not in group.shelves[1].kept[Kind.INSTANCE]


async def test_answer_says_whether_the_repo_file_is_the_one_it_has() -> None:
    group = Group()
    token = await group.token()
    repos = (await group.desks[0].check_in("db1", Facts({}), token))["repos"]
    again = await group.desks[0].check_in("db1", Facts({}, repos=repos), token)
    assert again["changed"] == []
    assert again["keys"] == ["base"]
    own = ReferenceRecord(holder_kind="instance", holder="db1", source="apps")
    group.shelves[0].put(Kind.REFERENCE, own.key, own)
    more = await group.desks[0].check_in("db1", Facts({}, repos=repos), token)
    assert (more["changed"], more["keys"]) == (["repos"], ["apps", "base"])
    assert "proxy=http://lb.example.com:16080" in group.desks[0].repos("db1", "proxy", token)


@pytest.mark.parametrize(
    ("facts", "why"),
    [
        ({"arch": "aarch64"}, "profile_mismatch"),
        ({"os_id": "ol", "os_version": "8.9"}, "profile_mismatch"),
        ({"os_id": "rocky", "os_version": "9.4"}, "profile_mismatch"),
    ],
)
async def test_machine_of_another_kind_than_the_profile_is_refused(
    facts: dict[str, str], why: str
) -> None:
    group = Group()
    answer = await refused(group.desks[0].register("db1", some_facts(**facts), group.key))
    assert answer == (409, why)


async def test_registration_that_does_not_fit_is_recorded_with_the_reason_and_admits_nobody() -> (
    None
):
    group, facts = Group(uses=1), some_facts(arch="aarch64")
    for _ in range(2):
        assert (await refused(group.desks[0].register("db1", facts, group.key)))[0] == 409
    assert group.shelves[0].writes == 1
    record = group.shelves[0].kept[Kind.INSTANCE]["db1"]
    assert "x86_64, this machine is aarch64" in record.facts["registration"]
    assert not record.secret_digest
    right = Facts({"hostname": "h"}, secret=facts.secret)
    assert (await refused(group.desks[0].register("db1", right, Caller("own"))))[0] == 401
    assert (await group.desks[0].register("db1", right, group.key))[0] == 200  # no use was counted
    record = group.shelves[0].kept[Kind.INSTANCE]["db1"]
    assert (record.facts, record.registered_at) == ({"hostname": "h"}, group.now)


async def test_machine_that_is_registered_stays_so_when_it_does_not_fit_any_more() -> None:
    group, facts = Group(), some_facts()
    token = await group.token(facts=facts)
    other = Facts({"arch": "aarch64"}, secret=facts.secret)
    assert (await refused(group.desks[0].register("db1", other, group.key)))[0] == 409
    assert group.shelves[0].kept[Kind.INSTANCE]["db1"].facts == {"hostname": "h"}
    assert await group.desks[0].check_in("db1", Facts({}), token)


async def test_failed_registrations_are_recorded_up_to_a_number() -> None:
    group = Group()
    for number in range(FAILED_MAX + 20):
        facts = some_facts(arch="aarch64")
        assert (await refused(group.desks[0].register(f"m{number}", facts, group.key)))[0] == 409
    assert len(group.shelves[0].kept[Kind.INSTANCE]) == FAILED_MAX
    assert (await group.desks[0].register("good", some_facts(), group.key))[0] == 201


async def test_machine_says_that_its_registration_failed_and_then_that_it_did_not() -> None:
    group, facts = Group(), some_facts()
    token = await group.token(facts=facts)
    await group.desks[0].check_in("db1", Facts({"registration": "no disk"}), token)
    assert group.shelves[0].kept[Kind.INSTANCE]["db1"].facts == {"registration": "no disk"}
    await group.desks[0].register("db1", facts, group.key)
    assert group.shelves[0].kept[Kind.INSTANCE]["db1"].facts == {"hostname": "h"}


async def test_instance_that_a_person_deleted_is_told_to_leave_until_it_has() -> None:
    group, facts = Group(), some_facts()
    token = await group.token(facts=facts)
    shelf = group.shelves[0]
    shelf.kept[Kind.SETTINGS]["deleting:db1"] = {"at": group.now}
    for _ in range(2):
        assert "deleted" in (await group.desks[0].check_in("db1", Facts({}), token))["changed"]
        # Its secret brings it a new credential, and does not keep it.
        assert (await group.desks[0].register("db1", facts, Caller("own")))[0] == 200
    await group.desks[0].deregister("db1", token)
    assert "db1" not in shelf.kept[Kind.INSTANCE]
    assert "deleting:db1" not in shelf.kept[Kind.SETTINGS]


async def test_instance_that_was_deleted_stays_when_it_registers_with_a_key() -> None:
    group, facts = Group(), some_facts()
    token = await group.token(facts=facts)
    group.shelves[0].kept[Kind.SETTINGS]["deleting:db1"] = {"at": group.now}
    assert (await group.desks[0].register("db1", facts, group.key))[0] == 200
    assert "deleted" not in (await group.desks[0].check_in("db1", Facts({}), token))["changed"]


@pytest.mark.parametrize("name", ["a b", "../x", "", "x" * 129, "a\n", "é"])
async def test_id_that_is_no_name_is_refused(name: str) -> None:
    group = Group()
    answer = await refused(group.desks[0].register(name, some_facts(), group.key))
    assert answer == (400, "id")
