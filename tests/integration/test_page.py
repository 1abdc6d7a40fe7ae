"""The loopback page and /metrics of a real station: who may see them, and whether their figures are right."""

import base64
import http.client
import os
import re
import signal
import stat
from collections.abc import Iterator

import pytest

from tests.integration.lab import LabUnderTest, StationUnderTest, wait_until
from tests.integration.sockets import connect

NETWORK = "127.43.3"
HOST, PORT = f"{NETWORK}.11", 17081
REPOMD = "/repo/demo/repodata/repomd.xml"


@pytest.fixture(scope="module")
def station() -> Iterator[StationUnderTest]:
    with LabUnderTest(NETWORK, "--stations", "1") as lab:
        station = lab.stations[0]
        text = station.config.read_text()
        station.config.write_text(text.replace("[admin]", f'[admin]\nlisten = "{HOST}:{PORT}"'))
        os.kill(station.pid, signal.SIGTERM)
        wait_until("the end", lambda: station.ask("/status") is None, 30.0)
        station.start_again()
        wait_until("ready", lambda: (station.ask("/status") or {}).get("ready"), 30.0)
        yield station


def token(station: StationUnderTest) -> str:
    return (station.config.parent / "state" / "admin.token").read_text().strip()


def ask(path: str, **headers: str) -> tuple[int, str]:
    connection = http.client.HTTPConnection(HOST, PORT, timeout=5)
    try:
        connection.request("GET", path, headers=headers)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()


def metric(station: StationUnderTest, name: str, **labels: str) -> float:
    """The sum of one metric over the workers."""
    text = ask("/metrics", Authorization=f"Bearer {token(station)}")[1]
    total = 0.0
    for line in text.splitlines():
        match = re.fullmatch(r"(\w+)(?:\{(.*)\})? (\S+)", line)
        if match and match[1] == name:
            found = dict(re.findall(r'(\w+)="([^"]*)"', match[2] or ""))
            if labels.items() <= found.items():
                total += float(match[3])
    return total


def test_the_token_is_asked_for_and_only_its_owner_can_read_it(station: StationUnderTest) -> None:
    path = station.config.parent / "state" / "admin.token"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    password = base64.b64encode(f"admin:{token(station)}".encode()).decode()
    for page in ("/", "/metrics"):
        assert ask(page)[0] == 401
        assert ask(page, Authorization="Bearer wrong")[0] == 401
        assert ask(page, Authorization="Basic ???")[0] == 401
        assert ask(page, Authorization=f"Bearer {token(station)}")[0] == 200
        assert ask(page, Authorization=f"Basic {password}")[0] == 200


def test_another_name_in_host_is_refused_even_with_the_token(station: StationUnderTest) -> None:
    right = f"Bearer {token(station)}"
    assert ask("/metrics", Authorization=right, Host="rebound.example:17081")[0] == 421
    assert ask("/metrics", Authorization=right, Host=f"localhost:{PORT}")[0] == 200


def test_the_page_names_station_and_sources(station: StationUnderTest) -> None:
    status, text = ask("/", Authorization=f"Bearer {token(station)}")
    assert status == 200
    assert station.name in text and "demo" in text and "<script" not in text


def test_answers_are_counted_by_port_and_status_whoever_answered(
    station: StationUnderTest,
) -> None:
    name, labels = "station_requests_total", {"listener": "http", "status": "200"}
    before = metric(station, name, **labels)
    sent = metric(station, "station_sent_bytes_total", listener="http")
    connection = connect(station.host, 17080)
    size = 0
    for _ in range(50):
        answer = connection.get(REPOMD)
        size += len(answer.head) + 4 + len(answer.body)
    connection.close()
    wait_until("the counters", lambda: metric(station, name, **labels) >= before + 50, 5.0)
    checks = 60  # the balancer of the lab asks twice a second
    assert metric(station, name, **labels) <= before + 50 + checks
    grown = metric(station, "station_sent_bytes_total", listener="http") - sent
    assert size <= grown <= size + checks * 300
    assert metric(station, "station_ready") == 1
    state = {"source": "demo", "state": "SYNCED"}
    wait_until("SYNCED", lambda: metric(station, "station_mirror_state", **state) == 1, 20.0)
