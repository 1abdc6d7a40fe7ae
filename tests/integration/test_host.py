"""What `station configure` writes and runs, as the programs judge it that read it: offline, in directories of ours."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from station.config.schema import Config
from station.setup.firewalld import SERVICE_PATH, FirewallFacts, firewall_query, render_service
from station.setup.host import DROP_IN_PATH, HostFacts, HostOptions, plan_host
from station.setup.selinux import SelinuxFacts, path_commands, path_rule, port_commands
from tests.integration.test_units import SYSTEMD, judged

CONFIG = Config.model_validate(
    {
        "name": "A",
        "compartment": "c",
        "hostname": "lb",
        "mirror": {"directory": "/mnt/my mirror (50%)", "sslport": 443},
    }
)
PORT = 27080  # in no policy

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="the SELinux store is root's")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A file system with what a bare host gets."""
    plan = plan_host(CONFIG, HostOptions(uid=950, gid=951), HostFacts())
    for path, text in plan.files.items():
        target = tmp_path / path.lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, encoding="utf-8")
    for directory in ("var/lib", "mnt"):
        (tmp_path / directory).mkdir(parents=True)
    return tmp_path


def test_users_and_directories_are_made_with_the_numbers_asked_for(root: Path) -> None:
    done = judged("systemd-sysusers", f"--root={root}", "station.conf")
    assert done.returncode == 0, done.stderr
    users = (root / "etc/passwd").read_text(encoding="utf-8").splitlines()
    assert users[0].startswith("station:x:950:951:")
    done = judged("systemd-tmpfiles", f"--root={root}", "--create", "station.conf")
    assert done.returncode == 0, done.stderr
    storage = (root / "mnt/my mirror (50%)").stat()
    assert (storage.st_uid, storage.st_gid) == (950, 951) if os.geteuid() == 0 else True
    assert (root / "var/lib/station").stat().st_mode & 0o777 == 0o700


def test_systemd_reads_the_drop_in_as_the_path_that_was_meant(root: Path) -> None:
    units = root / "etc/systemd/system"
    shutil.copy(SYSTEMD / "station.service", units)
    shutil.copytree("/usr/lib/systemd/system", root / "usr/lib/systemd/system", symlinks=True)
    (root / "lib").symlink_to("usr/lib")
    for program in ("usr/bin/station", "bin/kill"):
        (root / program).parent.mkdir(parents=True, exist_ok=True)
        (root / program).write_text("#!/bin/sh\n", encoding="utf-8")
        (root / program).chmod(0o755)
    done = judged("systemd-analyze", "verify", "--man=no", f"--root={root}", "station.service")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert '"-/mnt/my mirror (50%%)"' in (root / DROP_IN_PATH.lstrip("/")).read_text()


@pytest.fixture
def firewall(tmp_path: Path) -> Path:
    """A system configuration of firewalld with our service."""
    directory = tmp_path / "firewalld"
    (directory / "services").mkdir(parents=True)
    shutil.copy("/etc/firewalld/firewalld.conf", directory)
    text = plan_host(CONFIG, HostOptions(), HostFacts()).files[SERVICE_PATH]
    (directory / "services/station.xml").write_text(text, encoding="utf-8")
    return directory


def offline(directory: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return judged("firewall-offline-cmd", "--system-config", directory, *arguments)


def test_firewalld_accepts_the_service_and_opens_it_in_the_zone(firewall: Path) -> None:
    done = offline(firewall, "--check-config")
    assert done.returncode == 0, done.stdout + done.stderr
    told = offline(firewall, "--info-service=station").stdout
    assert all(f"{port}/tcp" in told for port in (443, 16080, 17080, 17946))
    plan = plan_host(CONFIG, HostOptions(zone="internal"), HostFacts(firewall=FirewallFacts(True)))
    question = firewall_query(zone="internal", is_running=False)
    command = next(c for c in plan.commands if c[0] == "firewall-offline-cmd")
    assert offline(firewall, *question[1:]).returncode != 0
    assert offline(firewall, *command[1:]).returncode == 0
    assert offline(firewall, *question[1:]).returncode == 0


def test_firewalld_would_refuse_a_port_that_is_none(firewall: Path) -> None:
    (firewall / "services/station.xml").write_text(render_service([99999]), encoding="utf-8")
    assert offline(firewall, "--check-config").returncode != 0


@pytest.fixture
def labels() -> Iterator[list[str]]:
    """What to add to semanage's commands so that they change the store and no kernel; undone at the end."""
    where = ["-S", "default", "-N"]

    def undo() -> None:
        rule = path_rule(CONFIG.mirror.directory)
        judged("semanage", "port", *where, "-d", "-p", "tcp", str(PORT))
        judged("semanage", "fcontext", *where, "-d", rule)

    undo()  # what a run that was killed has left
    yield where
    undo()


def facts(labels: list[str]) -> SelinuxFacts:
    said = [
        judged("semanage", what, *labels, "-l", *more)
        for what, more in (("port", ()), ("fcontext", ("-C",)))
    ]
    return SelinuxFacts(True, said[0].stdout, said[1].stdout)


@as_root
def test_semanage_takes_our_commands_and_then_there_are_none_left(labels: list[str]) -> None:
    wanted, directory = {PORT: "http_port_t", 80: "http_port_t"}, CONFIG.mirror.directory
    before = facts(labels)
    commands = [*port_commands(before, wanted), *path_commands(before, directory)]
    assert [command[:2] for command in commands] == [
        ("semanage", "port"),
        ("semanage", "fcontext"),
        ("restorecon", "-R"),
    ]
    for command in commands[:2]:
        done = judged(*command[:2], *labels, *command[2:])
        assert done.returncode == 0, done.stderr
    after = facts(labels)
    assert port_commands(after, wanted) == []
    assert path_commands(after, directory) == []
    changed = port_commands(after, {PORT: "http_cache_port_t"})
    assert [command[2] for command in changed] == ["-m"]
    assert judged(*changed[0][:2], *labels, *changed[0][2:]).returncode == 0


def test_dry_run_prints_a_script_that_a_shell_accepts_and_touches_nothing(tmp_path: Path) -> None:
    config = tmp_path / "station.toml"
    config.write_text(
        'name = "A"\ncompartment = "c"\nhostname = "lb"\n[mirror]\ndirectory = "/mnt/50% \'x\'"\n'
    )
    arguments = ["configure", "--config", str(config)]
    said = station(*arguments, "--dry-run")
    assert said.returncode == 0, said.stderr
    assert SERVICE_PATH in said.stdout
    assert not Path(SERVICE_PATH).exists()
    assert judged("sh", "-n", "-c", said.stdout).returncode == 0
    automatic = station(*arguments, "--automatic")
    assert (automatic.returncode, automatic.stdout.count("\n")) == (0, 1)
    assert "nothing done" in automatic.stdout


def station(*arguments: str) -> subprocess.CompletedProcess[str]:
    return judged(sys.executable, "-m", "station", *arguments)
