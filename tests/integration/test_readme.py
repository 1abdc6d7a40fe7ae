"""Every command of README.md, in its order, on loopback."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import station.lab.demo
from tests.integration.readme import Command, Host, copy_between, steps

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
DEMO = Path(station.lab.demo.__path__[0])
NETWORK = "127.0.29"  # of the pair of stations
LAB_NETWORK = "127.0.28"
LAB_S = 120.0

NAMES = {"192.0.2.12": "b", "client.example.com": "client"}

# Done once, on the first host; the others see the same directory.
COMMON = ("python3 -m venv", "/opt/station/bin/pip")


@pytest.fixture
def directory() -> Iterator[Path]:
    """A short one: unix sockets lie below it."""
    path = Path(tempfile.mkdtemp(prefix="rm-"))
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture
def upstream() -> Iterator[str]:
    """The demo repository, in the place of the vendor's."""
    process = subprocess.Popen(
        [sys.executable, "-m", "station.lab.upstream", str(DEMO / "repository"), "127.0.0.1", "0"],
        stdout=subprocess.PIPE,
    )
    with process:
        assert process.stdout
        yield f"http://127.0.0.1:{int(process.stdout.readline().split()[1])}/"
        process.kill()


@pytest.fixture
def hosts(directory: Path, upstream: str) -> Iterator[dict[str, Host]]:
    """The four machines of the quick start."""
    words = {
        "lb.example.com": f"{NETWORK}.10",
        "192.0.2.0/24": "127.0.0.0/8",
        "192.0.2.": f"{NETWORK}.",
        "https://yum.example.com/ol9/baseos/": upstream,
        "RPM-GPG-KEY-vendor": str(DEMO / "RPM-GPG-KEY-demo"),
        "install tree": "install station-demo-hello",
    }
    made = {name: Host(name, directory / name, ROOT, words) for name in ("a", "b", "lb", "client")}
    for name in ("b", "lb"):
        (made[name].root / "opt").rmdir()
        (made[name].root / "opt").symlink_to(made["a"].root / "opt")
    yield made
    for host in made.values():
        host.begin_to_stop()
    for host in made.values():
        host.stop()


@pytest.mark.timeout(600)
def test_the_quick_start_leads_from_two_bare_hosts_to_an_installed_package(
    hosts: dict[str, Host],
) -> None:
    said: dict[str, str] = {}
    for step in steps(README):
        if not isinstance(step, Command):
            hosts[step.host].write(step)
        elif step.hosts != ("$",):
            once = step.text.startswith(COMMON)
            for name in step.hosts[:1] if once else step.hosts:
                if step.text.startswith("scp "):
                    copy_between(hosts, NAMES, hosts[name], step.text)
                else:
                    said[f"{name}# {step.text}"] = hosts[name].run(step.text)
    assert "profile web (station StationA)" in said["b# station mirror list"]
    assert "SYNCED" in said["b# station mirror list"]
    assert "instance db1 (station StationB)" in said["b# station mirror list --json"]
    assert "StationA" in said["b# station peer list"]
    assert "ol9_baseos" in said["client# dnf repolist"]
    assert "web" in said["b# station instance list"]
    assert "station-demo-hello" in hosts["client"].installed()


@pytest.mark.timeout(300)
def test_the_two_commands_for_a_checkout_work(directory: Path) -> None:
    commands = [s.text for s in steps(README) if isinstance(s, Command) and s.hosts == ("$",)]
    assert commands == ["make lab", "make test"]
    environment = {k: v for k, v in os.environ.items() if k not in ("MAKEFLAGS", "MAKELEVEL")}
    small = {"PYTEST_ARGS": "--collect-only tests/tidy/test_readme.py"}
    subprocess.run(["make", "test"], cwd=ROOT, env=environment | small, timeout=280, check=True)
    arguments = {"LAB_ARGS": f"--network {LAB_NETWORK} --dir {directory}/lab"}
    lab = subprocess.Popen(
        ["make", "lab"],
        cwd=ROOT,
        env=environment | arguments,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    deadline = time.monotonic() + LAB_S
    try:
        while not (directory / "lab/lab.json").exists():
            assert lab.poll() is None, lab.communicate()[0]
            assert time.monotonic() < deadline, "the lab was not SYNCED in time"
            time.sleep(0.1)
        os.killpg(lab.pid, signal.SIGINT)
        output, _ = lab.communicate(timeout=60)
    finally:
        if lab.poll() is None:
            os.killpg(lab.pid, signal.SIGKILL)
            lab.communicate()
    assert "mirrorlist=" in output
    assert "dnf --installroot=" in output
    assert "kill -9 " in output
