"""The RPM on a machine with a real systemd: its units start, restart, reload, and set the host up."""

import contextlib
import os
import secrets
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Self

import pytest

from tests.accept.machines import DISKS
from tests.integration.lab import wait_until

ROOT = Path(__file__).parents[2]
BUILD_S = 300.0
COMMAND_S = 120.0
BOOT_S = 60.0
CONFIG = "/etc/station/station.toml"
TOML = """\
name = "StationA"
compartment = "datacenter-1"
hostname = "127.0.0.1"
address = "127.0.0.1"
listen = "127.0.0.1"

[proxy]
hosts = ["127.0.0.0/8"]

[mirror]
directory = "/mnt/mirror"
"""
LBPROXY = """\
[frontend.http]
listen = "127.0.0.2:17080"

[[backend]]
name = "StationA"
address = "127.0.0.1"
"""

pytestmark = [pytest.mark.accept, pytest.mark.timeout(600)]


class Booted:
    """This host's files, with none of its services, under an init of their own."""

    def __init__(self) -> None:
        self._disk = Path(tempfile.mkdtemp(prefix="boots-", dir=DISKS))
        self.root = self._disk / "root"

    def __enter__(self) -> Self:
        for part in ("upper", "work", "root"):
            (self._disk / part).mkdir()
        layers = f"lowerdir=/,upperdir={self._disk}/upper,workdir={self._disk}/work"
        words = ["mount", "-t", "overlay", "overlay", "-o", layers, str(self.root)]
        subprocess.run(words, check=True)
        for wants in (self.root / "etc/systemd/system").glob("*.wants"):
            shutil.rmtree(wants)
        (self.root / "etc/machine-id").write_text(secrets.token_hex(16) + "\n")
        log = (self._disk / "console").open("wb")
        options = "--register=no --keep-unit --private-network --boot --console=pipe".split()
        self._nspawn = subprocess.Popen(
            ["systemd-nspawn", "-q", *options, "-D", str(self.root)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
        log.close()
        wait_until("systemd is up", self._is_up, BOOT_S)
        return self

    def __exit__(self, *_error: object) -> None:
        with contextlib.suppress(OSError, IndexError, subprocess.TimeoutExpired):
            self.try_run("systemctl poweroff")
        try:
            self._nspawn.wait(20.0)
        except subprocess.TimeoutExpired:
            self._nspawn.kill()
            self._nspawn.wait()
        subprocess.run(["umount", "--lazy", str(self.root)], check=False)
        shutil.rmtree(self._disk, ignore_errors=True)

    def try_run(self, command: str) -> "subprocess.CompletedProcess[str]":
        """A line of shell there, as root."""
        pid = Path(f"/proc/{self._nspawn.pid}/task/{self._nspawn.pid}/children")
        return subprocess.run(
            ["nsenter", "-t", pid.read_text().split()[0], "-a", "sh", "-c", f"cd /root; {command}"],
            env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=COMMAND_S,
            check=False,
        )

    def run(self, command: str) -> str:
        """The same; its output. AssertionError, with the journal, when it fails."""
        done = self.try_run(command)
        if done.returncode:
            journal = self.try_run("journalctl -n 60 --no-pager").stdout
            raise AssertionError(f"# {command}\n{done.stdout}{done.stderr}\n{journal}")
        return done.stdout

    def _is_up(self) -> bool:
        assert self._nspawn.poll() is None, (self._disk / "console").read_text(errors="replace")
        with contextlib.suppress(OSError, IndexError):
            return "running" in self.try_run("systemctl is-system-running").stdout
        return False


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("dist")
    words = [str(ROOT / ".ci/rpm"), str(directory)]
    subprocess.run(words, capture_output=True, timeout=BUILD_S, check=True)
    return next(directory.glob("*.rpm"))


@pytest.fixture(scope="module")
def machine(package: Path) -> Iterator[Booted]:
    assert os.geteuid() == 0, "systemd-nspawn needs root"
    with Booted() as booted:
        shutil.copy(package, booted.root / "root/station.rpm")
        # The requirements have other names here, and no database of this host's rpm knows them.
        booted.run("rpm -i --nodeps --nosignature station.rpm")
        yield booted


def property_of(machine: Booted, unit: str, name: str) -> str:
    return machine.run(f"systemctl show -P {name} {unit}").strip()


def is_ready(machine: Booted) -> bool:
    ready = "curl -sf -m 2 -o /dev/null http://127.0.0.1:17080/health/ready"
    return machine.try_run(ready).returncode == 0


def test_station_runs_as_its_own_user_from_the_package(machine: Booted) -> None:
    write(machine, CONFIG, TOML, "root:station")
    machine.run(f"station check --config {CONFIG}")
    machine.run(f"station configure --config {CONFIG}")
    machine.run(f"runuser -u station -- station group create --config {CONFIG}")
    machine.run("systemctl enable --now station")
    assert property_of(machine, "station", "ActiveState") == "active"
    assert property_of(machine, "station", "StatusErrno") == "0"
    wait_until("ready", lambda: is_ready(machine), 30.0)
    pid = property_of(machine, "station", "MainPID")
    assert machine.run(f"stat -c %U /proc/{pid}").strip() == "station"
    assert machine.run(f"grep NoNewPrivs /proc/{pid}/status").split()[1] == "1"
    assert "ready" in machine.run("station status")


def test_station_that_was_killed_is_there_again_and_a_reload_keeps_it(machine: Booted) -> None:
    old = property_of(machine, "station", "MainPID")
    machine.run(f"kill -9 {old}")
    wait_until("another process", lambda: property_of(machine, "station", "MainPID") != old, 20.0)
    took = wait_until("ready again", lambda: is_ready(machine), 30.0)
    pid = property_of(machine, "station", "MainPID")
    machine.run("systemctl reload station")
    assert property_of(machine, "station", "MainPID") == pid
    print(f"killed, and ready again {took:.1f} s after systemd had started it anew")
    assert int(property_of(machine, "station", "NRestarts")) == 1


def test_a_change_of_the_file_sets_the_host_up_by_itself(machine: Booted) -> None:
    machine.run("systemctl enable --now station-configure.path")
    automatic = "is_auto_config_enabled = true\n" + TOML.replace("/mnt/mirror", "/srv/mirror")
    write(machine, CONFIG, automatic, "root:station")
    drop_in = "/etc/systemd/system/station.service.d"
    wait_until(
        "the unit may write to the new storage path",
        lambda: "/srv/mirror" in machine.try_run(f"cat {drop_in}/*.conf").stdout,
        30.0,
    )
    machine.run("systemctl stop station-configure.path")


def test_balancer_of_the_package_passes_requests_on(machine: Booted) -> None:
    write(machine, "/etc/lbproxy/lbproxy.toml", LBPROXY, "root:lbproxy")
    machine.run("systemctl enable --now lbproxy")
    asked = "curl -sf -m 2 -o /dev/null http://127.0.0.2:17080/health/ready"
    try:
        wait_until("an answer through it", lambda: not machine.try_run(asked).returncode, 60.0)
    except AssertionError:
        print(machine.run("systemctl status lbproxy station --no-pager -n 40 || true"))
        raise
    pid = property_of(machine, "lbproxy", "MainPID")
    assert machine.run(f"stat -c %U /proc/{pid}").strip() == "lbproxy"


def test_stopping_is_clean_and_removing_leaves_nothing_running(machine: Booted) -> None:
    machine.run("systemctl stop station")
    assert property_of(machine, "station", "Result") == "success"
    machine.run("systemctl start station")
    machine.run("rpm -e station")
    assert machine.try_run("systemctl is-active station lbproxy").stdout.split() != ["active"] * 2
    assert machine.try_run("pgrep -u station").stdout == ""


def write(machine: Booted, path: str, text: str, owner: str) -> None:
    (machine.root / "root/new").write_text(text)
    machine.run(f"install -m 640 -o {owner.replace(':', ' -g ')} new {path}")
