"""A site in namespaces: upstream, stations, two balancers with one address, clients. README has the commands."""

import re
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

import station.lab.demo
from tests.accept.machines import Machine, Network
from tests.integration.lab import wait_until

DEMO = Path(station.lab.demo.__path__[0])
CONFIG = "/etc/station/station.toml"
PACKAGE = "station-demo-hello"
BALANCERS = {"lb1": "192.0.2.8", "lb2": "192.0.2.9"}
HOSTS = """\
192.0.2.10 lb.example.com
192.0.2.11 a.example.com
192.0.2.12 b.example.com
192.0.2.13 c.example.com
192.0.2.20 yum.example.com
"""
TOML = """\
name = "Station{name}"
compartment = "datacenter-1"
hostname = "{hostname}"
address = "{address}"

[proxy]
hosts = ["192.0.2.0/24"]

[mirror]
directory = "/mnt/mirror"
"""
# Debian's dnf comes with a plugin that makes a repository of its own of what was downloaded.
DNF = "[main]\ngpgcheck=1\nskip_if_unavailable=0\nretries=3\nplugins=0\n"
READY_S = 60.0


class Site(Network):
    """The network with an upstream at yum.example.com."""

    def __init__(self) -> None:
        super().__init__(HOSTS)

    def __enter__(self) -> Self:
        super().__enter__()
        upstream = self.add("upstream", "192.0.2.20")
        python = "/usr/bin/python3"
        upstream.start(f"{python} -m http.server -d {DEMO}/repository 80")
        return self

    def configured(self, letter: str, hostname: str, address: str) -> Machine:
        """A host with its station.toml, and nothing else yet."""
        machine = self.add(letter, f"192.0.2.{10 + 'abcdefgh'.index(letter) + 1}")
        text = TOML.format(name=letter.upper(), hostname=hostname, address=address)
        machine.write(CONFIG, text)
        machine.run(f"station check --config {CONFIG}")
        return machine

    def client(self, number: int) -> Machine:
        """A machine with dnf and no repository."""
        machine = self.add(f"client{number}", f"192.0.2.{100 + number}")
        machine.write("/etc/dnf/dnf.conf", DNF)
        machine.write("/etc/dnf/vars/releasever", "9\n")
        machine.write("/etc/os-release", 'ID="ol"\nVERSION_ID="9.4"\n')
        machine.run("echo $(cat /proc/sys/kernel/random/uuid | tr -d -) >/etc/machine-id")
        return machine

    def balancers(self, of: Machine) -> list[Machine]:
        """Two of them, that share 192.0.2.10, by the texts that station `of` renders."""
        pair = [self.add(name, address) for name, address in BALANCERS.items()]
        both = " ".join(f"--balancer {address}" for address in BALANCERS.values())
        for machine in pair:
            balance(of, machine)
            text = of.run(
                "station balancer render keepalived --address 192.0.2.10/24 --interface eth0 "
                f"{both} --own {machine.address}"
            )
            machine.write("/etc/keepalived/keepalived.conf", text)
            machine.start("haproxy -W -db -f /etc/haproxy/haproxy.cfg")
            machine.start("keepalived -n -l -P -f /etc/keepalived/keepalived.conf")
        return pair


def balance(of: Machine, balancer: Machine) -> None:
    """The balancer's configuration, as the group is now; a balancer that runs takes it without losing anybody."""
    text = of.run("station balancer render haproxy --check")
    # Its unit allows as many descriptors as it asks for; here a tenth has to do.
    text = re.sub(r"maxconn (\d+)0$", r"maxconn \1", text, flags=re.M)
    balancer.write("/etc/haproxy/haproxy.cfg", text)


def start_station(machine: Machine) -> None:
    """As its unit does, and wait until it is ready."""
    machine.start(f"station run --config {CONFIG}")
    ready = "curl -sf -m 2 -o /dev/null http://$(hostname).example.com:17080/health/ready"
    wait_until(f"{machine.name} is ready", lambda: not machine.try_run(ready).returncode, READY_S)


def join(machine: Machine, member: Machine) -> None:
    """With a token of the member."""
    machine.write("/srv/token", member.run("station group token"))
    machine.run(f"station join - {member.address} --config {CONFIG} < token")
    start_station(machine)


def make_records(of: Machine) -> None:
    """A source that is synced, and a profile that refers to it."""
    key = DEMO / "RPM-GPG-KEY-demo"
    of.run(f"station source create demo --url http://yum.example.com/ --gpgkey {key}")
    of.run("station profile create web --station StationA --source demo")
    of.run("station mirror sync demo --wait")


def register(client: Machine, of: Machine, key: str) -> str:
    """By the printed command; what the script said."""
    client.write("/srv/install-key", key)
    client.write("/srv/register", of.run("station profile command web"))
    return client.run('sh -c "$(cat register) --key-file install-key"')


@dataclass
class Dnf:
    """dnf commands one after the other, on each of the clients in turn, until the end of the block."""

    clients: list[Machine]
    done: int = 0
    failed: list[str] = field(default_factory=list)

    def __enter__(self) -> Self:
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        number = 0
        while not self._stop.is_set():
            client = self.clients[number % len(self.clients)]
            is_second = number // len(self.clients) % 2
            words = f"remove {PACKAGE}" if is_second else f"--refresh install {PACKAGE}"
            said = client.try_run(f"dnf -y {words}")
            if said.returncode:
                self.failed.append(
                    f"{time.monotonic():.1f} {client.name}: {words}\n{said.stdout}{said.stderr}"
                )
            self.done += 1
            number += 1
