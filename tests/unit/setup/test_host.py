"""What a host needs is a function of its station.toml and of what is there; done once, nothing is left."""

from typing import Any

import pytest

from station.config.schema import Config
from station.setup.firewalld import SERVICE_PATH, FirewallFacts
from station.setup.host import (
    DROP_IN_PATH,
    SYSUSERS_PATH,
    TMPFILES_PATH,
    HostFacts,
    HostOptions,
    HostPlan,
    plan_host,
)
from station.setup.selinux import SelinuxFacts

PORTS = "http_port_t  tcp  17946, 17443, 17080, 80\nhttp_cache_port_t  tcp  16080, 3128\n"
PATHS = "/mnt/mirror(/.*)?    all files    system_u:object_r:public_content_t:s0\n"
RUNNING = FirewallFacts(is_installed=True, is_running=True)


def config(mirror: dict[str, Any] | None = None, **settings: Any) -> Config:
    given = {"directory": "/mnt/mirror", **(mirror or {})}
    return Config.model_validate(
        {"name": "A", "compartment": "c", "hostname": "lb", "mirror": given, **settings},
        strict=False,
    )


def plan(settings: Config, facts: HostFacts | None = None, **options: Any) -> HostPlan:
    return plan_host(settings, HostOptions(**options), facts or HostFacts())


def test_a_bare_host_gets_every_file_and_the_commands_that_use_them() -> None:
    made = plan(config(), HostFacts(firewall=RUNNING))
    assert set(made.files) == {SERVICE_PATH, SYSUSERS_PATH, TMPFILES_PATH, DROP_IN_PATH}
    assert [command[0] for command in made.commands] == [
        "systemd-sysusers",
        "systemd-tmpfiles",
        "systemctl",
        "firewall-cmd",
        "firewall-cmd",
        "firewall-cmd",
    ]


def test_the_second_run_has_nothing_to_do() -> None:
    first = plan(config())
    done = HostFacts(
        first.files,
        (950, 950),
        FirewallFacts(True, True, True),
        SelinuxFacts(True, PORTS, PATHS),
    )
    assert plan(config(), done).is_empty


def test_another_port_is_opened_and_labelled_and_nothing_else_is_done() -> None:
    done = HostFacts(
        plan(config()).files,
        (950, 950),
        FirewallFacts(True, True, True),
        SelinuxFacts(True, PORTS, PATHS),
    )
    made = plan(config({"port": 18080}), done)
    assert set(made.files) == {SERVICE_PATH}
    assert made.commands == (
        ("firewall-cmd", "--reload"),
        ("semanage", "port", "-a", "-t", "http_port_t", "-p", "tcp", "18080"),
    )


def test_a_switched_off_proxy_has_no_open_port() -> None:
    assert '"16080"' in plan(config()).files[SERVICE_PATH]
    assert '"16080"' not in plan(config(proxy={"enabled": False})).files[SERVICE_PATH]


def test_the_unit_may_write_to_the_storage_path_whatever_its_name() -> None:
    text = plan(config({"directory": '/srv/my "50%" mirror'})).files[DROP_IN_PATH]
    assert r'"-/srv/my \"50%%\" mirror"' in text


def test_a_port_below_1024_needs_the_one_capability() -> None:
    assert "CAP_NET_BIND_SERVICE" not in plan(config()).files[DROP_IN_PATH]
    text = plan(config({"sslport": 443})).files[DROP_IN_PATH]
    assert "AmbientCapabilities=CAP_NET_BIND_SERVICE\n" in text
    assert "PrivateUsers=no\n" in text


def test_numbers_of_the_user_are_those_asked_for() -> None:
    text = plan(config(), uid=950, gid=951).files[SYSUSERS_PATH]
    assert "g station 951\n" in text
    assert "u station 950:951 " in text


def test_a_user_with_other_numbers_is_named_and_not_changed() -> None:
    made = plan(config(), HostFacts(user=(998, 951)), uid=950, gid=951)
    assert any("uid 998, not 950" in note for note in made.notes)
    assert not any("gid" in note for note in made.notes)


def test_a_user_that_is_there_keeps_its_numbers() -> None:
    assert SYSUSERS_PATH not in plan(config(), HostFacts(user=(998, 998))).files


def test_a_stopped_firewall_is_set_up_for_its_next_start() -> None:
    made = plan(config(), HostFacts(firewall=FirewallFacts(is_installed=True)), zone="internal")
    assert ("firewall-offline-cmd", "--zone=internal", "--add-service=station") in made.commands


def test_a_host_without_firewalld_is_told_the_ports() -> None:
    assert any("16080, 17080, 17443, 17946" in note for note in plan(config()).notes)


@pytest.mark.parametrize("path", ["/home/X/mirror", "/root/MIRROR"])
def test_a_storage_path_that_the_unit_cannot_see_is_named(path: str) -> None:
    assert any("does not see" in note for note in plan(config({"directory": path})).notes)
