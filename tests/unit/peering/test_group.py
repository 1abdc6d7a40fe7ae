"""Making a group, and what a station keeps of its place in it."""

from pathlib import Path

import pytest

from station.config.parse import parse_config
from station.config.schema import Config
from station.model.records import GroupRecord, Kind, StationRecord
from station.peering.candidate import Candidate
from station.peering.group import create_group, renew_keys, station_record
from station.peering.identity import FILE, GroupIdentity, IdentityError
from station.peering.join import JoinError, base_url
from station.peering.keys import KeysInvalid
from station.peering.pki import Pki


class FixedClock:
    """The clocks of a moment."""

    def boot(self) -> float:
        return 1000.0

    def wall(self) -> float:
        return 1_800_000_000.0


CLOCK = FixedClock()


def config_in(tmp_path: Path, name: str = "StationA", forward: str = "") -> Config:
    return parse_config(
        f"""
        name = "{name}"
        compartment = "dc-1"
        hostname = "lb.example.com"
        address = "10.0.0.1"
        state_directory = "{tmp_path / "state"}"
        [proxy]
        hosts = ["10.0.0.0/8"]
        forward = "{forward}"
        [mirror]
        directory = "{tmp_path / "mirror"}"
        """
    )


def test_group_begins_with_its_record_and_this_station(tmp_path: Path) -> None:
    identity = create_group(config_in(tmp_path), CLOCK)
    kinds = [(change.kind, change.key) for change in identity.seeds]
    assert kinds == [(Kind.GROUP, "group"), (Kind.STATION, "StationA")]
    group = GroupRecord.model_validate(identity.seeds[0].value)
    assert (group.id, group.hostname, group.ports.https) == (
        identity.group,
        "lb.example.com",
        17443,
    )
    station = StationRecord.model_validate(identity.seeds[1].value)
    assert station.serial == Pki(tmp_path / "state").peer_leaf().serial
    assert station.address == "10.0.0.1"


def test_identity_is_read_as_it_was_written(tmp_path: Path) -> None:
    identity = create_group(config_in(tmp_path), CLOCK)
    assert GroupIdentity.load(tmp_path / "state") == identity
    identity.without_seeds().save(tmp_path / "state")
    assert GroupIdentity.load(tmp_path / "state").seeds == ()
    assert (tmp_path / "state" / FILE).stat().st_mode & 0o777 == 0o600


def test_directory_belongs_to_one_group_for_ever(tmp_path: Path) -> None:
    create_group(config_in(tmp_path), CLOCK)
    before = Pki(tmp_path / "state").authority()
    with pytest.raises(IdentityError, match="already belongs to station StationA"):
        create_group(config_in(tmp_path, "Other"), CLOCK)
    assert Pki(tmp_path / "state").authority() == before


def test_two_groups_of_one_hostname_are_two(tmp_path: Path) -> None:
    one = create_group(config_in(tmp_path / "1"), CLOCK)
    two = create_group(config_in(tmp_path / "2"), CLOCK)
    assert one.group != two.group


def test_missing_identity_names_the_cure(tmp_path: Path) -> None:
    with pytest.raises(IdentityError, match="station group create"):
        GroupIdentity.load(tmp_path)


@pytest.mark.parametrize("text", ["", "{}", "[]", "null", '{"station": "../x"}', "\udcff"])
def test_identity_that_cannot_be_read_is_said_so(tmp_path: Path, text: str) -> None:
    (tmp_path / FILE).write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(IdentityError, match="cannot be read"):
        GroupIdentity.load(tmp_path)


def test_failed_creation_leaves_no_identity(tmp_path: Path) -> None:
    with pytest.raises(KeysInvalid):
        create_group(config_in(tmp_path, "a" * 65), CLOCK)
    assert not (tmp_path / "state" / FILE).exists()


def test_credentials_of_the_outer_proxy_stay_at_home(tmp_path: Path) -> None:
    config = config_in(tmp_path, forward="http://user:secret@proxy.example.com:3128")
    record = Candidate.of(config, "1f", "10.0.0.1").station
    assert record.proxy_forward == "proxy.example.com:3128"
    assert "secret" not in record.model_dump_json()


def test_address_of_a_host_without_one_configured_does_not_follow_the_resolver(
    tmp_path: Path,
) -> None:
    config = config_in(tmp_path)
    create_group(config, CLOCK)
    silent = config.model_copy(update={"address": ""})
    assert renew_keys(silent, CLOCK.wall()) == []
    assert station_record(silent).address == "10.0.0.1"


def test_certificate_is_good_for_the_groups_names_and_the_address_stays_what_it_was(
    tmp_path: Path,
) -> None:
    config = config_in(tmp_path)
    first = create_group(config, CLOCK).record
    silent = config.model_copy(update={"address": ""})
    group = first.model_copy(
        update={"hostname": "lb2.example.com", "former_hostnames": (first.hostname, "10.0.0.1")}
    )
    assert renew_keys(silent, CLOCK.wall(), group) == ["public"]
    names = Pki(Path(config.state_directory)).public_leaf().names
    assert set(names) == {first.hostname, "lb2.example.com", "10.0.0.1"}
    assert station_record(silent).address == "10.0.0.1"
    assert renew_keys(silent, CLOCK.wall(), group) == []


def test_renewed_certificate_changes_the_stations_record(tmp_path: Path) -> None:
    config = config_in(tmp_path)
    create_group(config, CLOCK)
    before = station_record(config)
    assert renew_keys(config, CLOCK.wall()) == []
    assert renew_keys(config, CLOCK.wall() + 390 * 86400) == ["peer", "public"]
    assert station_record(config).serial != before.serial


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("a.example.com", "https://a.example.com:17443"),
        ("a.example.com:443", "https://a.example.com:443"),
        ("10.0.0.1", "https://10.0.0.1:17443"),
        ("fd00::1", "https://[fd00::1]:17443"),
        ("[fd00::1]", "https://[fd00::1]:17443"),
        ("[fd00::1]:443", "https://[fd00::1]:443"),
    ],
)
def test_host_is_a_name_or_an_address_with_or_without_port(host: str, url: str) -> None:
    assert base_url(host, 17443) == url


@pytest.mark.parametrize("host", ["", ":443", "a b", "https://a", "a/b", "user@a", "a:b", "a?x"])
def test_host_that_is_none_is_refused(host: str) -> None:
    with pytest.raises(JoinError):
        base_url(host, 17443)
