"""A storage that hangs (a stopped FUSE server stands for a dead NFS one): only what needs it waits."""

import os
import signal
import subprocess
import time
from collections.abc import Iterator

import pytest

from tests.integration.lab import LabUnderTest, StationUnderTest, wait_until

NETWORK = "127.42.14"
ANSWER_S = 1.0

pytestmark = pytest.mark.skipif(
    not os.access("/dev/fuse", os.R_OK | os.W_OK), reason="this machine lets nobody mount by FUSE"
)


@pytest.fixture(scope="module")
def lab() -> Iterator[LabUnderTest]:
    with LabUnderTest(NETWORK, "--stations", "2") as running:
        yield running


@pytest.fixture
def mount(lab: LabUnderTest) -> Iterator["subprocess.Popen[bytes]"]:
    """The first station's storage behind bindfs; the running bindfs."""
    station = lab.stations[0]
    station.kill_all()
    real = station.storage.with_name("real")
    station.storage.rename(real)
    station.storage.mkdir()
    command = ["bindfs", "-f", str(real), str(station.storage)]
    served = subprocess.Popen(command, stdin=subprocess.DEVNULL)
    try:
        wait_until("mounted", lambda: os.path.ismount(station.storage), 10.0)
        station.start_again()
        wait_until("ready", lambda: (station.ask("/status") or {}).get("ready"), 20.0)
        yield served
    finally:
        served.send_signal(signal.SIGCONT)
        station.kill_all()
        subprocess.run(["umount", "-l", str(station.storage)], check=True)
        served.terminate()
        served.wait(10)


def storage_state(station: StationUnderTest) -> str:
    return str((station.ask("/status") or {"storage": {"state": ""}})["storage"]["state"])


def test_a_hanging_storage_is_told_and_everything_else_answers(
    lab: LabUnderTest, mount: "subprocess.Popen[bytes]"
) -> None:
    a, b = lab.stations
    wait_until("both present", lambda: b.ask("/status")["peers_present"] == 1, 10.0)
    mount.send_signal(signal.SIGSTOP)
    took = wait_until("told as stalled", lambda: storage_state(a) == "stalled", 15.0)
    slowest = 0.0
    end = time.monotonic() + 12.0
    while time.monotonic() < end:
        for path in ("/status", "/peers", "/mirrors", "/sources"):
            began = time.monotonic()
            assert a.ask(path) is not None, path
            slowest = max(slowest, time.monotonic() - began)
        assert b.ask("/status")["peers_present"] == 1, "gossip does not touch the storage"
        time.sleep(0.1)
    print(f"stalled after {took:.1f} s; slowest answer {slowest:.2f} s")
    assert slowest <= ANSWER_S
    status = a.ask("/status")
    assert (status["ready"], status["overall_state"]) == (False, "ERROR")
    assert "does not answer" in status["storage"]["cure"]
    a.tell("POST", "/sources", {"id": "new", "url": "http://127.0.0.1:9/new"})
    wait_until("a write reaches the other", lambda: b.ask("/sources/new"), 5.0)
    mount.send_signal(signal.SIGCONT)
    back = wait_until("ready again", lambda: storage_state(a) == "ready", 20.0)
    print(f"ready {back:.1f} s after the storage came back")
    wait_until("clients may come", lambda: a.ask("/status")["ready"], 20.0)
