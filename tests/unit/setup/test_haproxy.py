"""The haproxy.cfg says what a group of stations needs; haproxy itself reads it in tests/integration."""

import pytest

from station.http.view import HOLD_AFTER_S, HOLD_BEFORE_S
from station.model.records import GroupRecord, Ports, ServedPorts, StationRecord
from station.setup.haproxy import (
    CHECK_AGAIN_MS,
    CHECK_DEADLINE_MS,
    CHECK_EVERY_MS,
    HaproxyOptions,
    render_haproxy,
)

GROUP = GroupRecord(
    id="g", compartment="c", hostname="lb", ports=Ports(proxy=1080, http=1081, https=1443)
)
STATIONS = [
    StationRecord(name="A", address="10.0.0.11"),
    StationRecord(name="B", address="fd00::12"),
]


def lines(**options: object) -> list[str]:
    text = render_haproxy(GROUP, STATIONS, HaproxyOptions(**options))  # type: ignore[arg-type]
    return [line.strip() for line in text.splitlines()]


def test_there_is_one_front_end_for_each_port_of_the_group() -> None:
    assert [line for line in lines(bind="10.0.0.10") if line.startswith("bind")] == [
        "bind 10.0.0.10:1080",
        "bind 10.0.0.10:1081",
        "bind 10.0.0.10:1443",
    ]


def test_a_further_port_has_a_front_end_once_every_station_serves_it() -> None:
    def binds(*served: tuple[int, ...]) -> list[str]:
        stations = [
            station.model_copy(update={"serves": ServedPorts(https=ports)})
            for station, ports in zip(STATIONS, served, strict=True)
        ]
        text = render_haproxy(GROUP, stations, HaproxyOptions())
        return [line for line in text.splitlines() if "https" in line and "listen" in line]

    assert binds((1443, 18443), (1443,)) == ["listen https"]
    assert binds((1443, 18443), (1443, 18443)) == ["listen https", "listen https-18443"]
    assert binds((), ()) == ["listen https"]


def test_every_station_is_checked_by_its_readiness_on_each_port() -> None:
    said = lines()
    assert sum("uri /health/ready" in line for line in said) == 3
    servers = [line for line in said if line.startswith("server ")]
    assert len(servers) == 6
    assert all(" check " in line and "on-marked-down shutdown-sessions" in line for line in servers)
    assert any(line.startswith("server B [fd00::12]:1443 ") for line in servers)


def test_a_station_that_froze_is_down_within_the_hold_around_a_flip() -> None:
    checks_ms = CHECK_EVERY_MS + CHECK_DEADLINE_MS + CHECK_AGAIN_MS + CHECK_DEADLINE_MS
    assert checks_ms / 1000 <= HOLD_BEFORE_S - HOLD_AFTER_S
    servers = [line for line in lines() if line.startswith("server ")]
    assert all(" inter 500ms fastinter 100ms rise 2 fall 2 " in line for line in servers)


def test_a_station_that_stops_gets_nobody_new_and_keeps_those_it_has() -> None:
    assert lines().count("http-check disable-on-404") == 3


def test_a_refused_connection_goes_to_another_station() -> None:
    assert "option redispatch 1" in lines()


def test_https_is_checked_over_tls() -> None:
    checked = [line for line in lines(ca_path="/etc/ca.pem") if "check-ssl" in line]
    assert len(checked) == 2
    assert all("verify required ca-file /etc/ca.pem" in line for line in checked)


def test_proxy_headers_are_sent_with_the_checks_too() -> None:
    servers = [line for line in lines(send_proxy=True) if line.startswith("server ")]
    assert all("send-proxy-v2 check-send-proxy" in line for line in servers)


def test_a_station_without_an_address_is_named() -> None:
    nowhere = StationRecord(name="C", address="")
    with pytest.raises(ValueError, match="station C has no address"):
        render_haproxy(GROUP, [*STATIONS, nowhere], HaproxyOptions())


def test_a_balancer_in_front_of_nothing_is_not_made() -> None:
    with pytest.raises(ValueError, match="at least one station"):
        render_haproxy(GROUP, [], HaproxyOptions())
