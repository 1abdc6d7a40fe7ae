"""Why the hold begins 3 s before a flip: a request that meets a frozen station is cut off only seconds later."""

import selectors
import signal
import socket
import time
import urllib.request
from collections.abc import Iterator

import pytest

from station.http.view import HOLD_AFTER_S, HOLD_BEFORE_S
from tests.integration.haproxy import Haproxy
from tests.integration.lab import LabUnderTest, StationUnderTest, kill, wait_until

NETWORK = "127.42.21"
CONNECTIONS = 16  # by random: that none of them meets the frozen one has a chance of 1 in 65,536
ROUNDS = 3
ENDED_S = 6.0

pytestmark = [pytest.mark.accept, pytest.mark.alone]


@pytest.fixture(scope="module")
def lab() -> Iterator[LabUnderTest]:
    with LabUnderTest(NETWORK, "--stations", "2") as running, Haproxy(running):
        yield running


def signal_all(station: StationUnderTest, number: signal.Signals) -> None:
    for pid in station.processes():
        kill(pid, number)


def cut_off_after(lab: LabUnderTest) -> list[float]:
    """Requests through the balancer, right after one of two stations froze: when those that met it ended, seconds."""
    balancer = lab.facts["balancer"]
    selector = selectors.DefaultSelector()
    began = time.monotonic()
    for _ in range(CONNECTIONS):
        sock = socket.create_connection((balancer["host"], balancer["http"]), timeout=5)
        sock.sendall(b"GET /ca.pem HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
        sock.setblocking(False)
        selector.register(sock, selectors.EVENT_READ)
    ended = []
    while selector.get_map() and time.monotonic() < began + ENDED_S:
        for key, _ in selector.select(0.1):
            assert isinstance(key.fileobj, socket.socket)
            try:
                answer = key.fileobj.recv(65536)
            except ConnectionResetError:
                answer = b""
            if not answer:
                ended.append(time.monotonic() - began)
            selector.unregister(key.fileobj)
            key.fileobj.close()
    left = len(selector.get_map())
    for key in list(selector.get_map().values()):
        assert isinstance(key.fileobj, socket.socket)
        key.fileobj.close()
    selector.close()
    assert not left, f"{left} requests were not ended after {ENDED_S} s"
    return ended


def test_a_request_to_a_frozen_station_is_ended_within_what_the_hold_allows_for(
    lab: LabUnderTest,
) -> None:
    frozen = lab.stations[1]
    longest = []
    for number in range(ROUNDS):
        # At another phase of the balancer's checks each time.
        time.sleep(number * 0.17)
        signal_all(frozen, signal.SIGSTOP)
        try:
            ended = cut_off_after(lab)
        finally:
            signal_all(frozen, signal.SIGCONT)
        assert ended, "no request met the frozen station"
        longest.append(max(ended))
        wait_until("both ready", lambda: is_up(lab), 15.0)
    print("cut off after " + ", ".join(f"{seconds:.2f} s" for seconds in longest))
    assert max(longest) > 1.0, "a hold that began 1 s before the flip would have been enough"
    # 500 ms to the next check, 1 s until it has failed, 100 ms to the second, 1 s: 2.6 s, and the skew of the clocks.
    assert max(longest) < HOLD_BEFORE_S - HOLD_AFTER_S, "its second try would come after the flip"


def is_up(lab: LabUnderTest) -> bool:
    """Whether each station says that it is ready, and has had time to be seen so by the balancer."""
    for station in lab.stations:
        try:
            with urllib.request.urlopen(
                f"http://{station.host}:17080/health/ready", timeout=2
            ) as answer:
                if answer.status != 200:
                    return False
        except OSError:
            return False
    time.sleep(2.5)  # two checks, 500 ms apart, and some
    return True
