"""Instances follow by themselves: another hostname, another station, a dead one, another CA. Nobody visits them."""

import contextlib
import signal
import ssl
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from station.control.instance_place import TOLD_AFTER_S
from station.peering.keys import Authority, Leaf, create_authority, issue_public_leaf
from tests.integration.lab import LabUnderTest, StationUnderTest, kill, wait_until
from tests.integration.registration import Machine, station_command

NETWORK = "127.50.1"
PROGRAM = "usr/local/libexec/station-instance-setup"
REPO = "etc/yum.repos.d/station.repo"
CA = "etc/pki/station/ca.pem"

pytestmark = [pytest.mark.accept, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def lab() -> Iterator[LabUnderTest]:
    with LabUnderTest(NETWORK) as running:
        words = ("profile", "create", "web", "--station", "StationB")
        station_command(running, *words, "--source", running.facts["sources"][0])
        yield running


@pytest.fixture
def machine(lab: LabUnderTest, tmp_path: Path) -> Machine:
    return registered(lab, tmp_path, "m")


def registered(lab: LabUnderTest, directory: Path, name: str) -> Machine:
    """By the printed command and a key that every station knows."""
    key = station_command(lab, "profile", "key", "create", "web").strip()
    known = len(lab.stations[0].ask("/profiles/web/keys"))
    wait_until(
        "the key has travelled",
        lambda: all(len(s.ask("/profiles/web/keys") or ()) == known for s in lab.stations),
        5.0,
    )
    made = Machine(directory / name)
    (directory / f"{name}.key").write_text(key)
    command = station_command(lab, "profile", "command", "web").strip()
    made.run("sh", "-c", f"{command} --key-file {directory}/{name}.key")
    wait_until(
        "it is known everywhere",
        lambda: all(s.ask(f"/instances/{made.id}") for s in lab.stations),
        5.0,
    )
    return made


def check_in(machine: Machine) -> str:
    return machine.script(machine.root / PROGRAM, "--check-in")


def goes_to(machine: Machine) -> str:
    """The host that its .repo file names."""
    text = machine.read(REPO)
    return text.partition("mirrorlist=https://")[2].partition(":")[0]


def set_hostname(lab: LabUnderTest, hostname: str) -> None:
    if lab.stations[0].ask("/status")["hostname"] == hostname:
        return
    station_command(lab, "group", "update", "--hostname", hostname)

    def said() -> bool:
        shown = [s.ask("/status") for s in lab.stations]
        return all(row is None or row["hostname"] == hostname for row in shown)

    wait_until("everybody has heard", said, 5.0)
    time.sleep(TOLD_AFTER_S + 2.0)  # certificates first


def wait_for_station_of(lab: LabUnderTest, machine: Machine, station: str) -> None:
    def said() -> bool:
        rows = [s.ask(f"/instances/{machine.id}") for s in lab.stations]
        return all(row is None or row["station"] == station for row in rows)

    wait_until("everybody has heard of the switch", said, 5.0)


def test_without_a_balancer_an_instance_goes_to_its_station_and_past_a_dead_one(
    lab: LabUnderTest, machine: Machine, tmp_path: Path
) -> None:
    balancer, (a, b, c) = lab.facts["balancer"]["host"], lab.stations
    assert goes_to(machine) in (balancer, b.host)  # the other tests here need no balancer either
    set_hostname(lab, a.host)  # a station's own: there is no balancer any more
    check_in(machine)
    assert goes_to(machine) == b.host
    said = station_command(lab, "instance", "switch", machine.id, "--to", "StationC")
    assert said.startswith("1 instance switched to StationC")
    wait_for_station_of(lab, machine, "StationC")
    check_in(machine)
    assert goes_to(machine) == c.host
    machine.dnf(tmp_path / "dnf").install("station-demo-hello").check()
    c.kill_all()
    try:
        check_in(machine)
        station_command(lab, "instance", "switch", "--from", "StationC", "--to", "StationA")
        wait_for_station_of(lab, machine, "StationA")
        check_in(machine)
        assert goes_to(machine) == a.host
        machine.dnf(tmp_path / "dnf2").install("station-demo-hello").check()
    finally:
        c.start_again()
        wait_until("StationC is back", lambda: (c.ask("/status") or {}).get("ready"), 60.0)


@pytest.fixture(scope="module")
def elsewhere() -> Authority:
    """A CA that the group knows nothing of."""
    return create_authority("elsewhere", time.time())


def show_certificate(station: StationUnderTest, leaf: Leaf | None) -> None:
    """Let a station show its clients another certificate, or its own again."""
    lines = [
        line
        for line in station.config.read_text(encoding="utf-8").splitlines()
        if not line.startswith(("sslcert", "sslkey"))
    ]
    if leaf:
        cert, key = station.config.with_name("own.pem"), station.config.with_name("own.key")
        cert.write_text(leaf.chain)
        key.write_text(leaf.key)
        key.chmod(0o600)
        at = lines.index("[mirror]") + 1
        lines[at:at] = [f'sslcert = "{cert}"', f'sslkey = "{key}"']
    station.config.write_text("\n".join(lines) + "\n", encoding="utf-8")
    before = set(station.processes())
    kill(station.pid, signal.SIGHUP)
    expected = leaf.chain.strip() if leaf else None

    def shown() -> bool:
        try:
            pem = ssl.get_server_certificate((station.host, 17443), timeout=2.0)
        except OSError:
            return False
        ours = expected is not None and pem.strip() in expected
        return ours == (leaf is not None)

    wait_until(f"{station.name} shows it", shown, 30.0)
    # A reload replaces every process but the supervisor, one after the other.
    wait_until(
        f"{station.name} has nothing of before",
        lambda: not before & set(station.processes()) - {station.pid} and can_write(station),
        60.0,
    )


def can_write(station: StationUnderTest) -> bool:
    """Whether it takes a change: a control that was just replaced asks its peers first."""
    with contextlib.suppress(AssertionError, OSError):
        station.tell("POST", "/group/token")
        return True
    return False


def test_another_ca_reaches_instances_before_and_after_the_stations_show_it(
    lab: LabUnderTest, machine: Machine, elsewhere: Authority, tmp_path: Path
) -> None:
    early, late = machine, registered(lab, tmp_path, "late")
    (tmp_path / "ca.pem").write_text(elsewhere.ca)
    said = station_command(lab, "group", "trust", "set", str(tmp_path / "ca.pem"))
    assert said.startswith("instances believe 1 more")
    wait_until("everybody has heard", lambda: all(s.ask("/group/trust") for s in lab.stations), 5.0)
    assert "the CA file was renewed" in check_in(early)
    assert elsewhere.ca.strip() in early.read(CA)
    assert elsewhere.ca.strip() not in late.read(CA)
    assert "renewed" not in check_in(early)
    names = [lab.facts["balancer"]["host"], *(station.host for station in lab.stations)]
    try:
        for station in lab.stations:
            show_certificate(station, issue_public_leaf(elsewhere, names, time.time()))
        check_in(early)
        early.dnf(tmp_path / "dnf").install("station-demo-hello").check()
        assert "the CA file was renewed" in check_in(late)  # it believed none of the stations
        late.dnf(tmp_path / "dnf2").install("station-demo-hello").check()
        registered(lab, tmp_path, "new").dnf(tmp_path / "dnf3").run("makecache").check()
    finally:
        for station in lab.stations:
            show_certificate(station, None)
    station_command(lab, "group", "trust", "set", "/dev/null")
    wait_until(
        "everybody has heard",
        lambda: all(s.ask("/group/trust") == [] for s in lab.stations),
        20.0,
    )
    check_in(early)
    assert elsewhere.ca.strip() not in early.read(CA)


PORT = 18443


def restart(lab: LabUnderTest, station: StationUnderTest, text: str) -> None:
    """With another file, as `systemctl restart` does it."""
    station.config.write_text(text, encoding="utf-8")
    kill(station.pid, signal.SIGTERM)
    wait_until("it has ended", lambda: station.ask("/status") is None, 40.0)
    time.sleep(1.0)
    station.start_again()
    wait_until("it is back", lambda: can_write(station), 60.0)
    lab.wait_synced(lab.facts["sources"][0])


def test_a_group_moves_to_another_port_while_both_are_served(
    lab: LabUnderTest, machine: Machine, tmp_path: Path
) -> None:
    set_hostname(lab, lab.stations[0].host)  # the bundled balancer has the old port only
    check_in(machine)
    files = [station.config.read_text(encoding="utf-8") for station in lab.stations]
    try:
        for station, text in zip(lab.stations, files, strict=True):
            with pytest.raises(AssertionError, match="not served yet by"):
                lab.stations[0].tell("PATCH", "/group", {"ports": {"https": PORT}})
            more = text.replace("[mirror]", f"[mirror]\nmore_sslports = [{PORT}]")
            restart(lab, station, more)
            machine.dnf(tmp_path / station.name).run("makecache", "--refresh").check()
        first = lab.stations[0]
        wait_until(
            "it is known of all that they serve it",
            lambda: all(
                PORT in first.ask(f"/stations/{s.name}")["serves"]["https"] for s in lab.stations
            ),
            20.0,
        )
        station_command(lab, "group", "update", "--https-port", str(PORT))
        wait_until(
            "everybody has heard",
            lambda: all(
                s.ask(f"/stations/{s.name}")["ports"]["https"] == PORT for s in lab.stations
            ),
            5.0,
        )
        assert "the repository files were renewed" in check_in(machine)
        assert f":{PORT}/mirrorlist/" in machine.read(REPO)
        check_in(machine)
        machine.dnf(tmp_path / "new").install("station-demo-hello").check()
        registered(lab, tmp_path, "late").dnf(tmp_path / "l").run("makecache").check()
    finally:
        lab.stations[0].tell("PATCH", "/group", {"ports": {"https": 17443}})
        for station, text in zip(lab.stations, files, strict=True):
            restart(lab, station, text)
