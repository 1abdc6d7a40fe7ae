"""What a host needs before a station runs on it: files and commands, from its station.toml. Pure.

Only what differs from the host as it is: the second run has nothing to do.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from station.config.schema import Config
from station.setup.firewalld import SERVICE_PATH, FirewallFacts, firewall_commands, render_service
from station.setup.selinux import (
    HTTP_PORT,
    PROXY_PORT,
    SelinuxFacts,
    path_commands,
    port_commands,
)

SYSUSERS_PATH = "/etc/sysusers.d/station.conf"
TMPFILES_PATH = "/etc/tmpfiles.d/station.conf"
DROP_IN_PATH = "/etc/systemd/system/station.service.d/50-host.conf"
PRIVILEGED_PORTS_BELOW = 1024


@dataclass(frozen=True, slots=True)
class HostOptions:
    """`uid`, `gid`: of the user `station`; None: the next free one. `zone`: of the firewall; empty: its default."""

    uid: int | None = None
    gid: int | None = None
    zone: str = ""


@dataclass(frozen=True, slots=True)
class HostFacts:
    """The host as it is. `files`: those of ours that are there, by path. `user`: uid and gid of the user station."""

    files: Mapping[str, str] = field(default_factory=dict)
    user: tuple[int, int] | None = None
    firewall: FirewallFacts = field(default_factory=FirewallFacts)
    selinux: SelinuxFacts = field(default_factory=SelinuxFacts)


@dataclass(frozen=True, slots=True)
class HostPlan:
    """What is to be done, in this order: `files` (path → text) first. `notes`: what is left to a person."""

    files: Mapping[str, str]
    commands: tuple[tuple[str, ...], ...]
    notes: tuple[str, ...] = ()

    @property
    def is_empty(self) -> bool:
        """Whether the host is as it should be."""
        return not self.files and not self.commands


def plan_host(config: Config, options: HostOptions, facts: HostFacts) -> HostPlan:
    """The difference between the host and what `config` needs."""
    wanted = host_files(config, options, has_user=facts.user is not None)
    files = {path: text for path, text in wanted.items() if facts.files.get(path) != text}
    commands: list[tuple[str, ...]] = []
    if SYSUSERS_PATH in files:
        commands.append(("systemd-sysusers", "station.conf"))
    if TMPFILES_PATH in files:
        commands.append(("systemd-tmpfiles", "--create", "station.conf"))
    if DROP_IN_PATH in files:
        commands.append(("systemctl", "daemon-reload"))
    is_changed = SERVICE_PATH in files
    commands += firewall_commands(facts.firewall, is_changed=is_changed, zone=options.zone)
    commands += port_commands(facts.selinux, _labels(config))
    commands += path_commands(facts.selinux, config.mirror.directory)
    return HostPlan(files, tuple(commands), tuple(_notes(config, options, facts, files)))


def host_files(config: Config, options: HostOptions, *, has_user: bool) -> dict[str, str]:
    """Every file, by path. A user that is there keeps its numbers unless others are asked for."""
    files = {
        TMPFILES_PATH: _tmpfiles(config),
        DROP_IN_PATH: _drop_in(config),
        SERVICE_PATH: render_service(_ports(config)),
    }
    if options.uid is not None or options.gid is not None or not has_user:
        files[SYSUSERS_PATH] = _sysusers(options)
    return files


def _ports(config: Config) -> list[int]:
    return [*_proxy_ports(config), *_http_ports(config)]


def _proxy_ports(config: Config) -> list[int]:
    return [config.proxy.port, *config.proxy.more_ports] if config.proxy.enabled else []


def _http_ports(config: Config) -> list[int]:
    mirror = config.mirror
    more = (*mirror.more_ports, *mirror.more_sslports)
    return [mirror.port, mirror.sslport, config.peer.port, *more]


def _labels(config: Config) -> dict[int, str]:
    proxy = dict.fromkeys(_proxy_ports(config), PROXY_PORT)
    return proxy | dict.fromkeys(_http_ports(config), HTTP_PORT)


def _sysusers(options: HostOptions) -> str:
    gid = "-" if options.gid is None else str(options.gid)
    uid = "-" if options.uid is None else str(options.uid)
    number = uid if options.gid is None else f"{uid}:{gid}"
    return (
        "# Stations that share one storage need one uid and gid: `station configure --uid --gid`.\n"
        f"g station {gid}\n"
        f'u station {number} "Management station" /var/lib/station\n'
        'u lbproxy - "Load balancer in front of management stations" -\n'
    )


def _tmpfiles(config: Config) -> str:
    return (
        "# The directories of the station, as its station.toml names them.\n"
        f"d {_word(config.state_directory)} 0700 station station -\n"
        "d /etc/station 0750 root station -\n"
        "d /etc/lbproxy 0750 root lbproxy -\n"
        f"d {_word(config.mirror.directory)} 0750 station station -\n"
    )


def _drop_in(config: Config) -> str:
    lines = [
        "# What station.toml asks of the unit.",
        "[Service]",
        f'ReadWritePaths="-{_escaped(config.mirror.directory)}" "-{_escaped(config.state_directory)}"',
    ]
    if min(_ports(config)) < PRIVILEGED_PORTS_BELOW:
        # In a user namespace of its own the capability would mean nothing.
        lines += [
            "AmbientCapabilities=CAP_NET_BIND_SERVICE",
            "CapabilityBoundingSet=CAP_NET_BIND_SERVICE",
            "PrivateUsers=no",
        ]
    return "\n".join(lines) + "\n"


def _notes(
    config: Config, options: HostOptions, facts: HostFacts, files: Mapping[str, str]
) -> list[str]:
    notes = []
    if facts.user is not None:
        for key, has, asked in zip(
            ("uid", "gid"), facts.user, (options.uid, options.gid), strict=True
        ):
            if asked not in (None, has):
                notes.append(
                    f"the user station has the {key} {has}, not {asked}: stop the station, change it with "
                    "usermod or groupmod, and give its files to it again"
                )
    if not facts.firewall.is_installed:
        ports = ", ".join(map(str, _ports(config)))
        notes.append(f"firewalld is not here: let TCP ports {ports} in by what is")
    for key, path in (
        ("mirror.directory", config.mirror.directory),
        ("state_directory", config.state_directory),
    ):
        if path.startswith(("/home/", "/root/", "/run/user/")):
            notes.append(f"{key}: the unit does not see {path}: choose a path outside of homes")
    if DROP_IN_PATH in files:
        notes.append(
            "a station that runs already takes the new unit with: systemctl restart station"
        )
    return notes


def _escaped(path: str) -> str:
    return path.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%")


def _word(path: str) -> str:
    return f'"{_escaped(path)}"' if any(c in path for c in " \"'\\") else path.replace("%", "%%")
