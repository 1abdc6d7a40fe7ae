"""The lab's files are what a person would write, and the product's own parsers accept them."""

import tomllib
from pathlib import Path

import pytest

from station.config.parse import parse_config
from station.lab.layout import balancer_toml, plan_lab, station_toml

ROOT = Path("/tmp/lab")


def test_stations_have_addresses_of_their_own_and_the_same_three_ports() -> None:
    lab = plan_lab(ROOT, 3, "127.0.0", shared=False)
    configs = [parse_config(station_toml(lab, station)) for station in lab.stations]
    assert [config.listen for config in configs] == ["127.0.0.11", "127.0.0.12", "127.0.0.13"]
    ports = {(c.proxy.port, c.mirror.port, c.mirror.sslport, c.peer.port) for c in configs}
    assert ports == {(16080, 17080, 17443, 17946)}
    assert {config.hostname for config in configs} == {lab.balancer} == {"127.0.0.10"}


def test_stations_share_nothing_unless_told_to_share_the_storage() -> None:
    apart = plan_lab(ROOT, 3, "127.0.0", shared=False).stations
    together = plan_lab(ROOT, 3, "127.0.0", shared=True).stations
    assert len({station.storage for station in apart}) == 3
    assert len({station.storage for station in together}) == 1
    for stations in (apart, together):
        assert len({station.state for station in stations}) == 3
        assert len({station.socket for station in stations}) == 3


def test_the_balancer_has_three_front_ends_and_every_station() -> None:
    lab = plan_lab(ROOT, 2, "127.9.8", shared=False)
    wire = tomllib.loads(balancer_toml(lab))
    assert wire["frontend"].keys() == {"proxy", "http", "https"}
    assert wire["frontend"]["http"]["listen"] == "127.9.8.10:17080"
    assert [backend["address"] for backend in wire["backend"]] == ["127.9.8.11", "127.9.8.12"]


@pytest.mark.parametrize("count", [0, -1, 10])
def test_a_number_of_stations_that_cannot_be_had_is_refused(count: int) -> None:
    with pytest.raises(ValueError, match="expected 1 to 9"):
        plan_lab(ROOT, count, "127.0.0", shared=False)
