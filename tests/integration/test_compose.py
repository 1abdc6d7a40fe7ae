"""docker-compose.yml and what its containers are told are read by the programs that will read them."""

import subprocess
from pathlib import Path

import pytest

from lbproxy.config import load_config
from station.config.parse import advice, parse_config
from station.config.schema import Config

ROOT = Path(__file__).parents[2]
IMAGE = ROOT / "tests" / "integration" / "image"


def station(name: str) -> Config:
    return parse_config((IMAGE / f"{name}.toml").read_text(encoding="utf-8"))


def test_docker_compose_accepts_the_file() -> None:
    done = subprocess.run(
        ["docker-compose", "-f", str(ROOT / "docker-compose.yml"), "config", "-q"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""


@pytest.mark.parametrize("name", ["station-a", "station-b"])
def test_the_stations_configurations_have_no_problem_and_need_no_advice(name: str) -> None:
    assert advice(station(name)) == []


def test_the_stations_agree_in_what_a_group_shares() -> None:
    a, b = station("station-a"), station("station-b")
    assert (a.compartment, a.hostname, a.proxy.port, a.mirror.port, a.mirror.sslport) == (
        b.compartment,
        b.hostname,
        b.proxy.port,
        b.mirror.port,
        b.mirror.sslport,
    )


def test_the_balancer_knows_both_stations_at_the_addresses_of_the_compose_file() -> None:
    backends = {b.name: b.address for b in load_config(IMAGE / "lbproxy.toml").backends}
    compose = (ROOT / "docker-compose.yml").read_text(encoding="utf-8")
    assert backends == {name: station(f"station-{name[-1].lower()}").address for name in backends}
    assert len(backends) == 2
    assert all(f"ipv4_address: {address}\n" in compose for address in backends.values())


def test_the_containers_script_is_a_shell_script_without_errors() -> None:
    done = subprocess.run(["dash", "-n", str(IMAGE / "entry.sh")], timeout=10, check=False)
    assert done.returncode == 0


def test_the_image_copies_only_what_the_tree_has() -> None:
    copies = [
        line.split()[1:-1]
        for line in (IMAGE / "Dockerfile").read_text(encoding="utf-8").splitlines()
        if line.startswith("COPY")
    ]
    missing = [what for line in copies for what in line if not list(ROOT.glob(what))]
    assert copies
    assert not missing
