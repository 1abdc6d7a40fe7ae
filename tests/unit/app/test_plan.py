"""What one station consists of, and which descriptor goes to whom."""

import dataclasses
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from station.app.plan import (
    FILES_WORKERS,
    Sockets,
    control_spec,
    needs_restart,
    run_directory,
    worker_specs,
)
from station.config.parse import parse_config

TOML = """
name = "StationA"
compartment = "test"
hostname = "127.0.0.1"
state_directory = "/var/lib/station"
address = "127.0.0.1"
[proxy]
hosts = ["127.0.0.0/8"]
[mirror]
directory = "/mnt/mirror"
"""


def resolved(**changes: dict[str, Any]) -> dict[str, Any]:
    config: dict[str, Any] = parse_config(TOML).model_dump(mode="json")
    for section, values in changes.items():
        config[section] |= values
    return config


@pytest.fixture
def sockets() -> Iterator[Sockets]:
    """Descriptors to hand over; none of them listens or is connected."""
    made = [socket.socket(socket.AF_UNIX) for _ in range(10)]
    yield Sockets(
        http=(made[0], made[1]),
        https=(made[2], made[3]),
        proxy=(made[4],),
        peers=made[5],
        files=made[6],
        feed=made[7],
        relay=made[8],
        admin=made[9],
        page=None,
    )
    for sock in made:
        sock.close()


def test_a_station_is_control_two_files_workers_a_proxy_and_a_peers_worker(
    sockets: Sockets,
) -> None:
    names = [spec.name for spec in worker_specs(resolved(), sockets)]
    assert names == ["files-0", "files-1", "proxy-0", "peers"]
    assert control_spec(resolved(), sockets).name == "control"


def test_every_child_inherits_what_its_settings_name_and_nothing_else(sockets: Sockets) -> None:
    for spec in worker_specs(resolved(), sockets):
        named = [listener["fd"] for listener in spec.settings["listeners"]]
        assert sorted(spec.descriptors) == sorted(named)
    control = control_spec(resolved(), sockets)
    assert sorted(control.descriptors) == sorted(control.settings["descriptors"].values())


def test_each_files_worker_has_tcp_sockets_of_its_own_and_all_share_the_unix_socket(
    sockets: Sockets,
) -> None:
    specs = worker_specs(resolved(), sockets)[:FILES_WORKERS]
    fds = [{each["kind"]: each["fd"] for each in spec.settings["listeners"]} for spec in specs]
    assert fds[0]["http"] != fds[1]["http"]
    assert fds[0]["https"] != fds[1]["https"]
    assert fds[0]["unix"] == fds[1]["unix"]


def test_further_ports_are_served_by_the_workers_of_their_kind(sockets: Sockets) -> None:
    extra = tuple(socket.socket(socket.AF_UNIX) for _ in range(5))
    more = (("http", extra[:2]), ("https", extra[2:4]), ("proxy", extra[4:]))
    try:
        specs = worker_specs(resolved(), dataclasses.replace(sockets, more=more))
        for index, spec in enumerate(specs[:FILES_WORKERS]):
            fds = {(each["kind"], each["fd"]) for each in spec.settings["listeners"]}
            assert {("http", extra[index].fileno()), ("https", extra[2 + index].fileno())} < fds
            assert sorted(spec.descriptors) == sorted(fd for _, fd in fds)
        proxy = specs[FILES_WORKERS]
        assert [each["kind"] for each in proxy.settings["listeners"]] == ["proxy", "proxy"]
        assert extra[4].fileno() in proxy.descriptors
    finally:
        for sock in extra:
            sock.close()


def test_further_ports_need_a_start() -> None:
    changed = resolved(mirror={"more_ports": [18080]})
    assert needs_restart(resolved(), changed) == ["mirror.more_ports"]


def test_a_disabled_proxy_has_no_worker(sockets: Sockets) -> None:
    names = [spec.name for spec in worker_specs(resolved(proxy={"enabled": False}), sockets)]
    assert names == ["files-0", "files-1", "peers"]


def test_a_proxy_enabled_by_a_reload_has_no_socket_and_waits_for_a_start(
    sockets: Sockets,
) -> None:
    without = Sockets(
        **{f: getattr(sockets, f) for f in Sockets.__slots__ if f != "proxy"}, proxy=()
    )
    assert [spec.name for spec in worker_specs(resolved(), without)][-1] == "peers"
    assert len(worker_specs(resolved(), without)) == 3
    assert needs_restart(resolved(proxy={"enabled": False}), resolved()) == ["proxy.enabled"]


def test_changed_ports_need_a_start_and_changed_limits_do_not() -> None:
    assert needs_restart(resolved(), resolved(mirror={"port": 80})) == ["mirror.port"]
    assert needs_restart(resolved(), resolved(limits={"idle_s": 5.0})) == []


def test_the_public_certificate_is_the_groups_unless_one_is_configured(sockets: Sockets) -> None:
    (spec, *_) = worker_specs(resolved(), sockets)
    assert spec.settings["tls"]["cert"] == "/var/lib/station/pki/public.pem"
    own = resolved(mirror={"sslcert": "/etc/c.pem", "sslkey": "/etc/k.pem"})
    (spec, *_) = worker_specs(own, sockets)
    assert spec.settings["tls"] == {"cert": "/etc/c.pem", "key": "/etc/k.pem"}


def test_those_who_end_tls_read_our_openssl_settings_and_nobody_else_does(sockets: Sockets) -> None:
    told = {
        spec.name: spec.environment.get("OPENSSL_CONF")
        for spec in worker_specs(resolved(), sockets)
    }
    assert told["files-0"] == told["files-1"] == told["peers"] is not None
    assert "\nGroups = X25519:P-256:P-384\n" in Path(told["peers"]).read_text()
    assert told["proxy-0"] is None
    assert not control_spec(resolved(), sockets).environment  # it talks to upstreams of any age


def test_our_own_sockets_lie_in_the_state_directory() -> None:
    assert str(run_directory(resolved())) == "/var/lib/station/run"
