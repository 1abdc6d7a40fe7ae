import pytest

from station.config.parse import parse_config
from station.control.health import (
    CURES,
    certificate_warnings,
    covers,
    differences,
    lacks_manifest,
    storage_refusal,
)
from station.model.publication import Publication
from station.model.records import GroupRecord
from station.model.states import StorageState
from tests.unit.control.builders import FIRST, R1, R2, SECOND, view

TOML = """
name = "A"
compartment = "here"
hostname = "lb.example.com"
[proxy]
hosts = ["10.0.0.0/8"]
[mirror]
directory = "/mnt"
"""


def test_every_state_of_a_storage_but_ready_has_a_cure() -> None:
    assert set(CURES) == set(StorageState)
    assert all(bool(cure) is (state is not StorageState.READY) for state, cure in CURES.items())


@pytest.mark.parametrize("state", ["missing", "foreign", "stalled", "denied"])
def test_without_files_to_send_clients_go_elsewhere_and_the_reason_is_told(state: str) -> None:
    storage = view(state=StorageState(state), detail="why")
    assert storage_refusal(storage, {"base": FIRST}) == f"storage {state}: why"


@pytest.mark.parametrize("state", ["full", "read-only"])
def test_a_storage_that_takes_nothing_more_serves_what_it_has_whole(state: str) -> None:
    shown: dict[str, Publication | None] = {"base": FIRST, "new": None}
    storage = view(state=StorageState(state))
    assert storage_refusal(storage, shown) == ""
    assert "base is not whole" in storage_refusal(storage, {"base": SECOND})
    partial = view(state=StorageState(state), is_complete=False)
    assert "base is not whole" in storage_refusal(partial, shown)


def test_a_ready_storage_fetches_what_it_lacks() -> None:
    assert storage_refusal(view(is_complete=False), {"base": SECOND}) == ""


def test_both_values_are_named_where_the_file_differs_from_the_group() -> None:
    group = GroupRecord(id="g", compartment="there", hostname="lb.example.com")
    (said,) = differences(parse_config(TOML, lambda _: ""), group)
    assert said.startswith("compartment: the file says here, the group there")


def test_a_certificate_without_the_balancers_name_or_our_address_is_told() -> None:
    assert certificate_warnings(["lb.example.com", "10.0.0.1"], "lb.example.com", "10.0.0.1") == []
    (said,) = certificate_warnings(["other", "10.0.0.1"], "lb.example.com", "10.0.0.1")
    assert "for other, 10.0.0.1 and not for lb.example.com" in said
    (said,) = certificate_warnings(["LB.example.com"], "lb.example.com", "10.0.0.1")
    assert "left out of https mirrorlists" in said
    assert "cannot be read" in certificate_warnings(None, "lb.example.com", "")[0]


def test_a_star_in_a_certificate_stands_for_one_label() -> None:
    assert covers(["*.example.com"], "lb.example.com")
    assert not covers(["*.example.com"], "a.lb.example.com")
    assert not covers(["*.example.com"], "example.com")


def test_what_is_live_must_be_looked_up_here() -> None:
    shown: dict[str, Publication | None] = {"a": FIRST, "b": SECOND, "new": None}
    assert lacks_manifest({"a": {R1}, "b": {R1}}, shown) == "b"
    assert lacks_manifest({"a": {R1}}, shown) == "b"
    assert lacks_manifest({"a": {R1}, "b": {R1, R2}}, shown) == ""
