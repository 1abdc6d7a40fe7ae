"""The supervisor with real processes: whatever dies is replaced, and the end is clean."""

import os
import signal
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.integration.lab import wait_until
from tests.integration.one_station import OneStation, ServiceManager
from tests.integration.repositories import Repository, build_repository
from tests.integration.upstream import Upstream

NETWORK = f"127.44.{os.getpid() % 250 + 1}"  # two runs at once on one machine do not meet
ADDRESS, OTHER_ADDRESS = f"{NETWORK}.11", f"{NETWORK}.12"
REPLACED_S = 3.0
START_S = 60.0
LARGE = 8_000_000  # more than the kernel holds for a client that does not read


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Repository:
    return build_repository(tmp_path_factory.mktemp("upstream"), packages=2, size=LARGE)


@pytest.fixture(scope="module")
def station(repository: Repository) -> Iterator[OneStation]:
    with Upstream(repository.root) as upstream, OneStation(ADDRESS) as running:
        running.start()
        running.mirror("base", upstream.url)
        yield running


@pytest.fixture
def other() -> Iterator[OneStation]:
    with OneStation(OTHER_ADDRESS) as made:
        yield made


def package_path(repository: Repository) -> str:
    return f"/repo/base/{repository.rpms()[0].relative_to(repository.root)}"


def shakes_hands(station: OneStation) -> bool:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    try:
        with socket.create_connection((station.address, 17946), 2) as sock:
            sock.settimeout(2)
            with context.wrap_socket(sock):
                return True
    except OSError:
        return False


class Getting:
    """A client that asks for one path again and again, each time by a new connection."""

    def __init__(self, station: OneStation, path: str) -> None:
        self.answers: list[str] = []
        self._station, self._path = station, path
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> "Getting":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def failed(self) -> list[str]:
        return [answer for answer in self.answers if answer != "200"]

    def _run(self) -> None:
        while not self._over.wait(0.02):
            try:
                self.answers.append(str(self._station.get(self._path)[0]))
            except Exception as error:  # whatever a client would see is what the test is about
                self.answers.append(repr(error))


SERVES: dict[str, Callable[[OneStation], object]] = {
    "control.main": lambda s: s.admin.ask("/status"),
    "files_worker": lambda s: s.answers("/health/ready"),
    "proxy_worker": lambda s: s.answers("/health/ready", 16080),
    "peers_worker": shakes_hands,
    "storage.child": lambda s: s.admin.ask("/mirrors")[0]["state"] == "SYNCED",
}


@pytest.mark.parametrize("module", SERVES)
def test_a_killed_child_is_replaced_and_serves_again(station: OneStation, module: str) -> None:
    before = station.children(module)
    assert before
    for pid in before:
        os.kill(pid, signal.SIGKILL)

    def is_back() -> object:
        now = station.children(module)
        return len(now) == len(before) and not set(now) & set(before) and SERVES[module](station)

    took = wait_until(f"{module} is back", is_back, REPLACED_S)
    print(f"{module}: {len(before)} killed, serving again after {took:.2f} s")


def test_files_are_served_while_control_restarts(
    station: OneStation, repository: Repository
) -> None:
    (control,) = station.children("control.main")
    with Getting(station, package_path(repository)) as client:
        wait_until("the client is at it", lambda: len(client.answers) > 3, 5.0)
        os.kill(control, signal.SIGKILL)
        wait_until("control answers", lambda: station.admin.ask("/status"), 10.0)
        count = len(client.answers)
        wait_until("the client goes on", lambda: len(client.answers) > count + 3, 5.0)
    assert not client.failed(), f"{len(client.failed())} of {len(client.answers)} GETs"


def test_when_a_source_was_synced_is_known_after_a_restart(station: OneStation) -> None:
    def last_synced() -> float:
        return float(station.admin.mirrors().get("base", {}).get("time_last_synced") or 0.0)

    wait_until("the first sync", last_synced, START_S)
    before = last_synced()
    (old,) = station.children("station.control.main")
    os.kill(old, signal.SIGKILL)
    wait_until(
        "another control",
        lambda: old not in station.children("station.control.main") and last_synced(),
        START_S,
    )
    assert abs(last_synced() - before) < 2.0


def test_children_that_stand_still_are_replaced(station: OneStation) -> None:
    before = station.children("files_worker")[:1] + station.children("proxy_worker")
    for pid in before:
        os.kill(pid, signal.SIGSTOP)
    began = time.monotonic()
    wait_until(
        "they are gone",
        lambda: not set(before) & set(station.children("_worker")),
        12.0,
    )
    assert time.monotonic() - began > 3.0, "they had five seconds to beat"
    wait_until("others are there", lambda: len(station.children("_worker")) == 4, 5.0)
    assert "child.silent" in station.log.read_text()
    wait_until("ready", lambda: station.answers("/health/ready", 16080), 5.0)


def test_a_reload_replaces_every_process_and_fails_no_request(
    station: OneStation, repository: Repository
) -> None:
    """Nor is a balancer told that it is not ready: the only station of a group would be down for its clients."""
    before = set(station.children("station."))
    text = station.config.read_text()
    station.config.write_text(text.replace("[proxy]", "[limits]\nidle_s = 50\n[proxy]"))
    with (
        Getting(station, package_path(repository)) as client,
        Getting(station, "/health/ready") as balancer,
    ):
        os.kill(station.pid, signal.SIGHUP)
        wait_until(
            "all are others", lambda: not before & set(station.children("station.")), START_S
        )
        wait_until("ready", station.is_ready, 5.0)
    for asking in (client, balancer):
        assert not asking.failed(), f"{len(asking.failed())} of {len(asking.answers)} GETs"
    assert "station.reloaded" in station.log.read_text()
    wait_until("nobody is left over", lambda: len(station.children("_worker")) == 4, 5.0)
    workers = station.children("files_worker")
    os.kill(workers[0], signal.SIGKILL)
    wait_until(
        "what died after a reload is replaced",
        lambda: (
            len(station.children("files_worker")) == 2
            and workers[0] not in station.children("files_worker")
        ),
        REPLACED_S,
    )


def test_a_reload_of_a_bad_configuration_changes_nothing(station: OneStation) -> None:
    before, text = set(station.children("station.")), station.config.read_text()
    station.config.write_text(text.replace("[proxy]", "[porxy]"))
    os.kill(station.pid, signal.SIGHUP)
    wait_until("refused", lambda: "reload.refused" in station.log.read_text(), 10.0)
    station.config.write_text(text)
    assert set(station.children("station.")) == before


def test_the_second_of_two_stations_with_one_configuration_ends_with_2(
    station: OneStation,
) -> None:
    with OneStation(OTHER_ADDRESS, has_group=False) as second:
        second.config.write_text(station.config.read_text())
        code, said = second.run_to_end()
    assert code == 2
    assert "station.runs_already" in said
    assert station.is_ready()
    assert station.admin.ask("/status"), "the sockets of the first are untouched"


def test_a_station_at_the_address_of_another_ends_with_2(station: OneStation) -> None:
    with OneStation(ADDRESS) as second:
        code, said = second.run_to_end()
    assert code == 2
    assert f"cannot listen on {ADDRESS}:17080: Address already in use" in said
    assert station.is_ready()


def test_a_second_signal_ends_a_station_that_drains_within_two_seconds(
    station: OneStation, repository: Repository
) -> None:
    """The last of this station: it ends."""
    assert station.process is not None
    with socket.socket() as slow:
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        slow.connect((ADDRESS, 17080))
        slow.sendall(f"GET {package_path(repository)} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        assert slow.recv(100).startswith(b"HTTP/1.1 200")
        os.kill(station.pid, signal.SIGTERM)
        time.sleep(4.0)
        assert station.process.poll() is None, "it waits for the download"
        began = time.monotonic()
        os.kill(station.pid, signal.SIGTERM)
        assert station.process.wait(10.0) == 0
        took = time.monotonic() - began
    print(f"ended {took:.2f} s after the second signal")
    assert took <= 2.0
    assert not station.children("station."), "nobody is left"
    assert "Traceback" not in station.log.read_text()


def test_the_service_manager_hears_of_start_life_and_end(other: OneStation) -> None:
    with ServiceManager(other.root / "notify") as manager:
        other.start(NOTIFY_SOCKET=str(manager.path), WATCHDOG_USEC="2000000")
        wait_until("READY=1", lambda: "READY=1" in manager.heard(), 5.0)
        beats, began = manager.heard().count("WATCHDOG=1"), time.monotonic()
        wait_until(
            "beats of the watchdog", lambda: manager.heard().count("WATCHDOG=1") >= beats + 3, 8.0
        )
        assert time.monotonic() - began > 1.5, "no oftener than twice in a period"
        assert other.terminate() == 0
        assert manager.heard()[-1] in ("STOPPING=1", "WATCHDOG=1")
        assert "STOPPING=1" in manager.heard()


def test_a_station_with_nothing_to_do_ends_in_four_seconds_and_says_nothing_bad(
    other: OneStation,
) -> None:
    other.start()
    began = time.monotonic()
    assert other.terminate() == 0
    took = time.monotonic() - began
    print(f"stopped after {took:.2f} s")
    assert took <= 4.0
    said = other.log.read_text()
    assert "Traceback" not in said
    assert "level='error'" not in said
    assert "level='warning'" not in said


def test_the_death_of_the_supervisor_is_the_death_of_all(other: OneStation) -> None:
    other.start()
    children = other.children("station.")
    assert len(children) == 6
    os.kill(other.pid, signal.SIGKILL)
    assert other.process is not None
    other.process.wait(5.0)
    wait_until(
        "all are gone", lambda: not any(Path(f"/proc/{pid}").exists() for pid in children), 5.0
    )
    assert "Traceback" not in other.log.read_text()


def test_a_bad_configuration_ends_with_2() -> None:
    with OneStation(OTHER_ADDRESS, has_group=False) as made:
        made.config.write_text(made.config.read_text().replace("hosts =", "host ="))
        code, said = made.run_to_end()
    assert code == 2
    assert "proxy.host" in said


def test_a_station_without_a_group_ends_with_2() -> None:
    with OneStation(OTHER_ADDRESS, has_group=False) as made:
        code, said = made.run_to_end()
    assert code == 2
    assert "group create" in said


def test_a_port_in_use_ends_with_2(other: OneStation) -> None:
    with socket.create_server((OTHER_ADDRESS, 17443)):
        code, said = other.run_to_end()
    assert code == 2
    assert f"cannot listen on {OTHER_ADDRESS}:17443" in said
