"""Both procedures of high availability, end to end, on machines of their own: from configuration files to dnf."""

import json
import os
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.accept.machines import Machine
from tests.accept.site import (
    CONFIG,
    PACKAGE,
    Dnf,
    Site,
    balance,
    join,
    make_records,
    register,
    start_station,
)
from tests.integration.lab import wait_until

pytestmark = [pytest.mark.accept, pytest.mark.timeout(900)]

CHECK_IN = "sh /usr/local/libexec/station-instance-setup --check-in"
INSTANCES = int(os.environ.get("STATION_INSTANCES", "50"))
# Three missed advertisements of a second each and the skew of the lower priority; then ARP.
FAILOVER_S = 6.0
# Ten seconds until they are told, and a round of check-ins of all of them on two cores.
FOLLOW_S = 180.0


@pytest.fixture
def site() -> Iterator[Site]:
    with Site() as made:
        yield made


class Poll:
    """Asks the balancers' address five times a second; `longest_s` without an answer."""

    def __init__(self, client: Machine) -> None:
        self._client = client
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.longest_s, self.asked = 0.0, 0

    def __enter__(self) -> "Poll":
        self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        good = time.monotonic()
        command = "curl -sf -m 1 -o /dev/null http://lb.example.com:17080/mirrorlist/demo"
        while not self._stop.wait(0.1):
            status = self._client.try_run(command).returncode
            self.asked += 1
            now = time.monotonic()
            self.longest_s = max(self.longest_s, now - good)
            if status == 0:
                good = now


def test_new_environment_from_configuration_files_to_an_installed_package(site: Site) -> None:
    began = time.monotonic()
    a, b, c = (site.configured(x, "lb.example.com", f"{x}.example.com") for x in "abc")
    a.run(f"station group create --config {CONFIG}")
    start_station(a)
    join(b, a)
    join(c, b)
    lb1, lb2 = site.balancers(a)
    make_records(c)
    client = site.client(1)
    wait_until("the balancers answer", lambda: answers(client), 60.0)
    assert "registered as" in register(client, b, a.run("station profile key create web"))
    client.run(f"dnf -y install {PACKAGE}")
    assert PACKAGE in client.run(f"rpm -q {PACKAGE}")
    print(f"new environment: installed {time.monotonic() - began:.0f} s after the first command")
    holder, other = (lb1, lb2) if has_address(lb1) else (lb2, lb1)
    with Poll(client) as poll:
        time.sleep(1.0)
        holder.power_off()
        wait_until("the other has the address", lambda: has_address(other), FAILOVER_S)
        time.sleep(3.0)
    print(f"a balancer lost: no answer for {poll.longest_s:.1f} s, {poll.asked} questions")
    assert poll.longest_s <= FAILOVER_S
    a.power_off()
    client.run(f"dnf -y remove {PACKAGE}")
    client.run(f"dnf -y --refresh install {PACKAGE}")
    client.run(CHECK_IN)


def test_existing_environment_becomes_available_without_a_visit_to_its_instances(
    site: Site,
) -> None:
    a = site.configured("a", "a.example.com", "")
    a.run(f"station group create --config {CONFIG}")
    start_station(a)
    make_records(a)
    key = a.run("station profile key create web")
    clients = [site.client(number) for number in range(INSTANCES)]
    with ThreadPoolExecutor(4) as several:
        list(several.map(lambda client: register(client, a, key), clients))
    assert {host_of(client) for client in clients} == {"a.example.com"}
    began = time.monotonic()
    with Dnf(clients) as dnf:
        # 1. its own name as its address
        update(a, "address=a.example.com")
        # 2. balancers in front of the one station
        pair = site.balancers(a)
        wait_until("the balancers answer", lambda: answers(clients[0]), 60.0)
        # 3. the balancers' name
        a.run("station group update --hostname lb.example.com")
        followed_s = follow(clients)
        update(a, "hostname=lb.example.com")
        # 4. more stations
        others = [site.configured(x, "lb.example.com", f"{x}.example.com") for x in "bc"]
        for machine in others:
            join(machine, a)
        for balancer in pair:
            balance(a, balancer)
            balancer.run("pkill -USR2 -o haproxy")
        wait_until("the others are whole", lambda: all(map(is_whole, others)), 60.0)
        took = time.monotonic() - began
        a.power_off()
        time.sleep(15.0)
    for client in clients:
        client.run(CHECK_IN)
    client = clients[-1]
    client.try_run(f"dnf -y remove {PACKAGE}")
    client.run(f"dnf -y --refresh install {PACKAGE}")
    print(
        f"existing environment: {INSTANCES} instances followed within {followed_s:.0f} s, all of it took {took:.0f} s; "
        f"{dnf.done} dnf commands, {len(dnf.failed)} failed; then the first station was switched off"
    )
    assert not dnf.failed, "\n".join(dnf.failed)
    assert dnf.done >= 20


def answers(client: Machine) -> bool:
    ready = "curl -sf -m 2 -o /dev/null http://lb.example.com:17080/health/ready"
    return client.try_run(ready).returncode == 0


def has_address(machine: Machine) -> bool:
    return "192.0.2.10/" in machine.run("ip -o address show dev eth0")


def is_whole(machine: Machine) -> bool:
    rows = json.loads(machine.run("station mirror list --json"))
    return [row["state"] for row in rows] == ["SYNCED"]


def host_of(client: Machine) -> str:
    """The host that its .repo file names."""
    text = client.read("/etc/yum.repos.d/station.repo")
    return text.partition("mirrorlist=https://")[2].partition(":")[0]


def update(machine: Machine, setting: str) -> None:
    """Say what follows, do it, and let the station read its file again."""
    command = f"station station update StationA {setting} --config {CONFIG}"
    machine.run(command)
    machine.run(f"{command} --yes")
    machine.run("pkill -HUP -o -f station.app.supervisor")


def follow(clients: list[Machine]) -> float:
    """Check-ins of everybody, as the timer does them, until all name the balancers; how many seconds."""

    def round_of_check_ins() -> bool:
        with ThreadPoolExecutor(4) as several:
            list(several.map(lambda client: client.run(CHECK_IN), clients))
        return {host_of(client) for client in clients} == {"lb.example.com"}

    return wait_until("all have followed", round_of_check_ins, FOLLOW_S)
