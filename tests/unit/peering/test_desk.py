"""Who may join the group."""

from collections.abc import Sequence
from typing import Any

import pytest

from station.model.records import GroupRecord, Kind, Ports, StationRecord
from station.peering.candidate import Candidate
from station.peering.changes import Change
from station.peering.desk import CLIENTS_MAX, FAILURES_MAX, JoinDesk
from station.peering.keys import Authority, create_authority
from station.peering.token import LIFE_S, JoinToken

NOW = 1_800_000_000.0
GROUP = GroupRecord(id="g1", compartment="dc", hostname="lb.example.com")
FINGERPRINT = bytes(32)
AUTHORITY = create_authority("lb.example.com", NOW)


class Shelf:
    """A registry of one process: what was written is what is read."""

    created = GROUP

    def __init__(self) -> None:
        self.records: dict[tuple[Kind, str], Any] = {}
        self.present: set[str] = set()
        self.broken = False

    def group(self) -> GroupRecord | None:
        value = self.records.get((Kind.GROUP, "group"))
        return GroupRecord.model_validate(value) if value else None

    def stations(self) -> dict[str, StationRecord]:
        return {
            key: StationRecord.model_validate(value)
            for (kind, key), value in self.records.items()
            if kind == Kind.STATION
        }

    def settings(self) -> dict[str, dict[str, Any]]:
        return {k: v for (kind, k), v in self.records.items() if kind == Kind.SETTINGS}

    def is_present(self, station: str) -> bool:
        return station in self.present

    async def write(self, changes: Sequence[Change]) -> None:
        if self.broken:
            raise OSError("disk")
        for change in changes:
            if change.value is None:
                self.records.pop((change.kind, change.key), None)
            else:
                self.records[change.kind, change.key] = change.value


@pytest.fixture
def shelf() -> Shelf:
    shelf = Shelf()
    shelf.records[Kind.GROUP, "group"] = GROUP.model_dump(mode="json")
    shelf.records[Kind.STATION, "A"] = {"name": "A", "address": "10.0.0.1"}
    return shelf


@pytest.fixture
def desk(shelf: Shelf) -> JoinDesk:
    return desk_at("A", shelf)


def desk_at(name: str, shelf: Shelf) -> JoinDesk:
    def read_authority() -> Authority:
        return AUTHORITY

    return JoinDesk(name, shelf, read_authority)


def candidate(
    name: str = "B",
    address: str = "10.0.0.2",
    compartment: str = "dc",
    hostname: str = "lb.example.com",
    ports: Ports | None = None,
) -> Candidate:
    record = StationRecord(name=name, address=address, serial="1f")
    return Candidate(compartment, hostname, ports or Ports(), record)


def body(token: JoinToken, who: Candidate) -> dict[str, Any]:
    return {"secret": token.secret.hex(), **who.to_wire()}


async def test_candidate_with_a_token_becomes_a_member(desk: JoinDesk, shelf: Shelf) -> None:
    token = await desk.issue(FINGERPRINT, 17443, NOW)
    status, answer = await desk.handle(body(token, candidate()), NOW + 1)
    assert status == 200
    assert Authority.from_wire(answer["authority"]) == AUTHORITY
    assert GroupRecord.model_validate(answer["group"]) == GROUP
    assert [record["name"] for record in answer["stations"]] == ["A"]
    assert shelf.stations()["B"].serial == "1f"


async def test_token_is_good_once_at_any_station(desk: JoinDesk, shelf: Shelf) -> None:
    token = await desk.issue(FINGERPRINT, 17443, NOW)
    other = desk_at("C", shelf)
    assert (await other.handle(body(token, candidate()), NOW))[0] == 200
    for again in (other, desk):
        status, answer = await again.handle(body(token, candidate("D", "10.0.0.4")), NOW)
        assert (status, answer["error"]["code"]) == (403, "token_used")


async def test_two_at_once_with_one_token_are_one_member(desk: JoinDesk, shelf: Shelf) -> None:
    token = await desk.issue(FINGERPRINT, 17443, NOW)
    first = desk.judge(body(token, candidate()), NOW)
    second = desk.judge(body(token, candidate("D", "10.0.0.4")), NOW)
    assert (first.status, second.status) == (200, 403)


async def test_token_is_good_again_when_the_write_failed(desk: JoinDesk, shelf: Shelf) -> None:
    token = await desk.issue(FINGERPRINT, 17443, NOW)
    shelf.broken = True
    with pytest.raises(OSError):
        await desk.handle(body(token, candidate()), NOW)
    shelf.broken = False
    assert (await desk.handle(body(token, candidate()), NOW))[0] == 200


async def test_expired_token_is_refused_and_forgotten(desk: JoinDesk, shelf: Shelf) -> None:
    token = await desk.issue(FINGERPRINT, 17443, NOW)
    status, answer = await desk.handle(body(token, candidate()), NOW + LIFE_S + 1)
    assert (status, answer["error"]["code"]) == (403, "token_expired")
    await desk.issue(FINGERPRINT, 17443, NOW + LIFE_S + 2)
    assert len(shelf.settings()) == 1


@pytest.mark.parametrize("secret", [None, 1, "", "zz", "00" * 32, "é", ["00"], "00" * 100_000])
async def test_guessed_secret_learns_nothing(desk: JoinDesk, secret: object) -> None:
    await desk.issue(FINGERPRINT, 17443, NOW)
    wrong = {"secret": secret, **candidate(compartment="elsewhere").to_wire()}
    status, answer = await desk.handle(wrong, NOW)
    assert (status, answer["error"]["code"]) == (401, "token_unknown")
    assert "dc" not in answer["error"]["message"]


@pytest.mark.parametrize("message", [None, [], "x", 1, {}])
async def test_body_that_is_no_request_is_refused(desk: JoinDesk, message: object) -> None:
    assert (await desk.handle(message, NOW))[0] == 401


async def test_body_without_facts_is_refused_and_the_token_stays_good(desk: JoinDesk) -> None:
    token = await desk.issue(FINGERPRINT, 17443, NOW)
    bad: list[dict[str, Any]] = [
        {},
        {"group": {}, "station": {}},
        {**candidate().to_wire(), "station": {"name": "../x", "address": "a"}},
    ]
    for facts in bad:
        status, answer = await desk.handle({"secret": token.secret.hex(), **facts}, NOW)
        assert (status, answer["error"]["code"]) == (400, "candidate_invalid")
    assert (await desk.handle(body(token, candidate()), NOW))[0] == 200


async def test_ten_thousand_guesses_are_stopped_and_an_honest_candidate_is_not(
    desk: JoinDesk,
) -> None:
    token = await desk.issue(FINGERPRINT, 17443, NOW)
    guess = {"secret": "11" * 32, **candidate().to_wire()}
    statuses = [(await desk.handle(guess, NOW, "10.9.9.9"))[0] for _ in range(10_000)]
    assert statuses.count(401) == FAILURES_MAX
    assert statuses.count(429) == 10_000 - FAILURES_MAX
    assert (await desk.handle(guess, NOW + 61, "10.9.9.9"))[0] == 401
    assert (await desk.handle(body(token, candidate()), NOW, "10.0.0.2"))[0] == 200


async def test_memory_of_guessers_is_bounded(desk: JoinDesk) -> None:
    for number in range(CLIENTS_MAX + 100):
        desk.judge({"secret": "11" * 32}, NOW, str(number))
    assert len(desk._failures) == CLIENTS_MAX


async def test_candidate_that_differs_is_refused_with_both_values_on_both_sides(
    desk: JoinDesk, capsys: pytest.CaptureFixture[str]
) -> None:
    token = await desk.issue(FINGERPRINT, 17443, NOW)
    odd = candidate(
        compartment="dc-2", hostname="other.example.com", ports=Ports(proxy=1, http=2, https=3)
    )
    status, answer = await desk.handle(body(token, odd), NOW)
    assert status == 409
    assert answer["error"]["code"] == "group_differs"
    assert answer["error"]["fields"] == [
        {"field": "compartment", "candidate": "dc-2", "group": "dc"},
        {"field": "hostname", "candidate": "other.example.com", "group": "lb.example.com"},
        {"field": "proxy.port", "candidate": "1", "group": "16080"},
        {"field": "mirror.port", "candidate": "2", "group": "17080"},
        {"field": "mirror.sslport", "candidate": "3", "group": "17443"},
    ]
    log = capsys.readouterr().err
    for text in (log, answer["error"]["message"]):
        assert all(value in text for value in ("dc-2", "other.example.com", "16080", "17443"))
    assert token.secret.hex() not in log
    assert (await desk.handle(body(token, candidate()), NOW))[0] == 200


@pytest.mark.parametrize("ahead", [-61.0, 61.0, 1e300, float("inf"), float("nan"), None])
async def test_candidate_whose_clock_is_a_minute_off_is_refused(
    desk: JoinDesk, ahead: float | None
) -> None:
    token = await desk.issue(FINGERPRINT, 17443, NOW)
    wall = 10**400 if ahead is None else NOW + ahead
    status, answer = await desk.handle({**body(token, candidate()), "wall": wall}, NOW)
    assert (status, answer["error"]["code"]) == (409, "clock_differs")
    assert (await desk.handle({**body(token, candidate()), "wall": NOW + 59}, NOW))[0] == 200


async def test_host_names_differ_by_more_than_case(desk: JoinDesk) -> None:
    token = await desk.issue(FINGERPRINT, 17443, NOW)
    assert (await desk.handle(body(token, candidate(hostname="LB.Example.com")), NOW))[0] == 200


async def test_name_of_another_station_is_taken(desk: JoinDesk, shelf: Shelf) -> None:
    shelf.records[Kind.STATION, "B"] = {"name": "B", "address": "10.0.0.9"}
    token = await desk.issue(FINGERPRINT, 17443, NOW)
    for name in ("A", "B", "b" * 65):
        status, answer = await desk.handle(body(token, candidate(name)), NOW)
        assert (status, answer["error"]["code"]) == (409, "name_taken")


async def test_station_that_lost_its_disk_comes_back_under_its_name(
    desk: JoinDesk, shelf: Shelf
) -> None:
    shelf.records[Kind.STATION, "B"] = {"name": "B", "address": "10.0.0.2", "serial": "old"}
    token = await desk.issue(FINGERPRINT, 17443, NOW)
    shelf.present.add("B")
    assert (await desk.handle(body(token, candidate()), NOW))[0] == 409
    shelf.present.clear()
    assert (await desk.handle(body(token, candidate()), NOW))[0] == 200
    assert shelf.stations()["B"].serial == "1f"


async def test_absent_station_is_replaced_from_another_address_when_that_is_asked_for(
    desk: JoinDesk, shelf: Shelf
) -> None:
    shelf.records[Kind.STATION, "B"] = {"name": "B", "address": "10.0.0.9", "serial": "old"}
    token = await desk.issue(FINGERPRINT, 17443, NOW)
    status, answer = await desk.handle(body(token, candidate()), NOW)
    assert (status, answer["error"]["code"]) == (409, "name_taken")
    assert "station replace B" in answer["error"]["message"]
    asked = {**body(token, candidate()), "replaces": "B"}
    shelf.present.add("B")
    assert (await desk.handle(asked, NOW))[0] == 409
    shelf.present.clear()
    assert (await desk.handle(asked, NOW))[0] == 200
    assert (shelf.stations()["B"].address, shelf.stations()["B"].serial) == ("10.0.0.2", "1f")


async def test_only_a_station_that_is_known_can_be_replaced_and_only_under_its_name(
    desk: JoinDesk, shelf: Shelf
) -> None:
    token = await desk.issue(FINGERPRINT, 17443, NOW)
    for replaced in ("B", "C"):
        asked = {**body(token, candidate()), "replaces": replaced}
        status, answer = await desk.handle(asked, NOW)
        assert (status, answer["error"]["code"]) == (404, "station_unknown")
        shelf.records[Kind.STATION, "C"] = {"name": "C", "address": "10.0.0.3"}
    asked = {**body(token, candidate("A")), "replaces": "A"}
    assert (await desk.handle(asked, NOW))[0] == 409


async def test_facts_of_an_absent_station_are_told_to_the_holder_of_a_token(
    desk: JoinDesk, shelf: Shelf
) -> None:
    shelf.records[Kind.STATION, "B"] = {"name": "B", "address": "10.0.0.9"}
    token = await desk.issue(FINGERPRINT, 17443, NOW)
    secret = token.secret.hex()
    status, answer = await desk.handle({"secret": secret, "facts_of": "B"}, NOW)
    assert status == 200
    assert answer["station"]["address"] == "10.0.0.9"
    assert answer["group"]["hostname"] == "lb.example.com"
    assert (await desk.handle({"secret": secret, "facts_of": "A"}, NOW))[0] == 409
    assert (await desk.handle({"secret": secret, "facts_of": "X"}, NOW))[0] == 404
    assert (await desk.handle({"secret": "11" * 32, "facts_of": "B"}, NOW))[0] == 401
    asked = {**body(token, candidate()), "replaces": "B"}
    assert (await desk.handle(asked, NOW))[0] == 200


async def test_station_without_a_group_record_accepts_nobody(desk: JoinDesk, shelf: Shelf) -> None:
    token = await desk.issue(FINGERPRINT, 17443, NOW)
    del shelf.records[Kind.GROUP, "group"]
    assert (await desk.handle(body(token, candidate()), NOW))[0] == 503
