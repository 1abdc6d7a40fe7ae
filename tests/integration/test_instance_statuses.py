"""How an instance is, as every station of a running group tells it: the real script, through the balancer."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.lab import LabUnderTest, wait_until
from tests.integration.registration import (
    VENDOR,
    Machine,
    ask,
    new_key,
    registered,
    station_command,
)

NETWORK = "127.46.2"


@pytest.fixture(scope="module")
def lab() -> Iterator[LabUnderTest]:
    with LabUnderTest(NETWORK) as running:
        source = running.facts["sources"][0]
        station_command(
            running, "profile", "create", "web", "--station", "StationB", "--source", source
        )
        yield running


@pytest.fixture
def script(lab: LabUnderTest, tmp_path: Path) -> Path:
    path = tmp_path / "instance-setup.sh"
    path.write_text(ask(lab, "GET", "/instance-setup.sh").text)
    return path


def status(lab: LabUnderTest, instance: str, station: int = 0) -> str | None:
    """As one station tells it; None while it does not know the instance."""
    row = lab.stations[station].ask("/instance-statuses").get(instance)
    return str(row["status"]) if row else None


def test_registration_that_fails_is_shown_on_every_station_until_it_succeeds(
    lab: LabUnderTest, tmp_path: Path, script: Path
) -> None:
    machine, key = Machine(tmp_path / "m"), new_key(lab)
    release = machine.root / "etc/os-release"
    release.write_text('ID="ol"\nVERSION_ID="8.9"\n')
    said = machine.script(script, "--key-file", "-", stdin=key, check=False)
    assert "this machine has version 8.9" in said
    wait_until(
        "every station shows it",
        lambda: {status(lab, machine.id, n) for n in range(3)} == {"REGISTRATION_ERROR"},
        5.0,
    )
    shown = json.loads(station_command(lab, "instance", "show", machine.id, "--json"))
    assert "version 8.9" in shown["facts"]["registration"]
    release.write_text('ID="ol"\nVERSION_ID="9.4"\n')
    (machine.root / "usr").write_text("where the script should go")  # a later step fails
    said = machine.script(script, "--key-file", "-", stdin=key, check=False)
    assert "the previous .repo files are back" in said
    assert status(lab, machine.id) == "REGISTRATION_ERROR"
    (machine.root / "usr").unlink()
    machine.script(script, "--key-file", "-", stdin=key)
    wait_until("it is well", lambda: status(lab, machine.id) == "NORMAL", 5.0)


def test_machine_that_goes_down_to_boot_is_rebooting_until_it_checks_in(
    lab: LabUnderTest, tmp_path: Path, script: Path
) -> None:
    machine = registered(lab, tmp_path / "m", script)
    program = machine.root / "usr/local/libexec/station-instance-setup"
    machine.script(program, "--going-down")
    wait_until(
        "every station shows it",
        lambda: {status(lab, machine.id, n) for n in range(3)} == {"REBOOTING"},
        15.0,
    )
    machine.script(program, "--check-in")
    wait_until(
        "every station shows it",
        lambda: {status(lab, machine.id, n) for n in range(3)} == {"NORMAL"},
        5.0,
    )


def test_instance_that_a_person_deletes_is_deleting_until_its_old_files_are_back(
    lab: LabUnderTest, tmp_path: Path, script: Path
) -> None:
    machine = Machine(tmp_path / "m")
    before = machine.files()
    machine.script(script, "--key-file", "-", stdin=new_key(lab))
    name = machine.id
    said = station_command(lab, "instance", "delete", name)
    assert f"instance {name} is DELETING" in said
    assert station_command(lab, "instance", "delete", name).startswith(f"instance {name} is")
    wait_until(
        "every station shows it",
        lambda: {status(lab, name, n) for n in range(3)} == {"DELETING"},
        5.0,
    )
    program = machine.root / "usr/local/libexec/station-instance-setup"
    assert "the previous .repo files are back" in machine.script(program, "--check-in")
    assert machine.files() == before
    wait_until(
        "no station knows it",
        lambda: {status(lab, name, n) for n in range(3)} == {None},
        5.0,
    )


def test_instance_is_deleted_at_once_by_force_and_hears_of_it_when_it_asks(
    lab: LabUnderTest, tmp_path: Path, script: Path
) -> None:
    machine = registered(lab, tmp_path / "m", script)
    name = machine.id
    station_command(lab, "instance", "delete", name)
    said = station_command(lab, "instance", "delete", "--force", name)
    assert said.startswith(f"instance {name} deleted")
    wait_until(
        "no station knows it",
        lambda: {status(lab, name, n) for n in range(3)} == {None},
        5.0,
    )
    said = machine.script(script, "--check-in", check=False)
    assert "this machine was deregistered; --unregister" in said
    machine.script(script, "--unregister")
    assert machine.read("etc/yum.repos.d/vendor.repo") == VENDOR
