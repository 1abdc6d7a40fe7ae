"""The balancer's configuration: one TOML file, every error at once.

status = "127.0.0.1:16090"        # status page, loopback only; "" (default): none
drain_file = "/run/lbproxy/drain" # names of backends that get no new connections, one per line; re-read each second
max_connections = 10000           # beyond it new clients wait in the listeners' queues
connect_timeout_s = 3.0
idle_s = 300.0                    # a relayed connection on which nothing moves
life_s = 86400.0
drain_s = 20.0                    # how long relayed connections may last after SIGTERM or SIGUSR1

[health]                          # GET /health/ready on each backend and front end
interval_s = 0.5
timeout_s = 0.7
rise = 2                          # successes in a row until a backend is up, failures until it is down
fall = 2

[frontend.proxy]                  # any of proxy, http, https
listen = "0.0.0.0:16080"
policy = "round_robin"            # or least_connections, source_hash
send_proxy = false                # PROXY v2 to the backends, health checks included
check = "http"                    # or https (the default of front end https), tcp
check_ca = ""                     # PEM file; "" : an https check does not verify the certificate

[[backend]]
name = "StationA"
address = "127.0.0.11"            # an address, not a name
ports = { proxy = 16080, http = 17080, https = 17443 } # default: the port the front end listens on
check_port = 0                    # ask for health here instead of on the front end's own port; 0: no
"""

import ipaddress
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

FRONT_ENDS = ("proxy", "http", "https")
POLICIES = ("round_robin", "least_connections", "source_hash")
CHECKS = ("http", "https", "tcp")


class ConfigError(ValueError):
    """`problems`: each with its key."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


@dataclass(frozen=True, slots=True)
class HealthConfig:
    """How backends are asked. Seconds and counts."""

    interval_s: float = 0.5
    timeout_s: float = 0.7
    rise: int = 2
    fall: int = 2


@dataclass(frozen=True, slots=True)
class FrontEndConfig:
    """One listening port."""

    name: str
    listen: tuple[str, int]
    policy: str = "round_robin"
    send_proxy: bool = False
    check: str = "http"
    check_ca: str = ""


@dataclass(frozen=True, slots=True)
class BackendConfig:
    """One station: its address, its port for each front end, the port asked for health (0: that port)."""

    name: str
    address: str
    ports: Mapping[str, int]
    check_port: int = 0


@dataclass(frozen=True, slots=True)
class Config:
    """All of it."""

    front_ends: tuple[FrontEndConfig, ...]
    backends: tuple[BackendConfig, ...]
    health: HealthConfig = field(default_factory=HealthConfig)
    status: tuple[str, int] | None = None
    drain_file: str = ""
    max_connections: int = 10_000
    connect_timeout_s: float = 3.0
    idle_s: float = 300.0
    life_s: float = 86_400.0
    drain_s: float = 20.0


class _Table:
    """One table of the file: takes keys, remembers problems, complains of what nobody took."""

    def __init__(self, data: object, at: str, problems: list[str]) -> None:
        self._at, self._problems = at, problems
        self._data: dict[str, Any] = dict(data) if isinstance(data, dict) else {}
        if not isinstance(data, dict):
            self.complain("", "expected a table")

    def complain(self, key: str, text: str) -> None:
        self._problems.append(f"{'.'.join(filter(None, (self._at, key)))}: {text}")

    def take(self, key: str, default: Any) -> Any:
        """The value, or `default` when it is missing or not of the default's type."""
        value = self._data.pop(key, default)
        wanted = type(default)
        if wanted is float and type(value) is int:
            value = float(value)
        if type(value) is not wanted:
            self.complain(key, f"expected {wanted.__name__}, got {value!r}")
            return default
        return value

    def table(self, key: str) -> "_Table":
        at = ".".join(filter(None, (self._at, key)))
        return _Table(self.take(key, {}), at, self._problems)

    def among(self, keys: tuple[str, ...]) -> list[str]:
        return [key for key in keys if key in self._data]

    def number(self, key: str, default: Any, low: float, high: float) -> Any:
        value = self.take(key, default)
        if not low <= value <= high:
            self.complain(key, f"expected {low:g} to {high:g}, got {value!r}")
            return default
        return value

    def choice(self, key: str, default: str, choices: tuple[str, ...]) -> str:
        value = str(self.take(key, default))
        if value not in choices:
            self.complain(key, f"expected one of {', '.join(choices)}, got {value!r}")
        return value

    def endpoint(self, key: str) -> tuple[str, int] | None:
        text = str(self.take(key, ""))
        if not text:
            return None
        host, _, port = text.rpartition(":")
        try:
            address = ipaddress.ip_address(host.removeprefix("[").removesuffix("]"))
        except ValueError:
            address = None
        if address is None or not (port.isascii() and port.isdigit() and int(port) <= 65535):
            self.complain(key, f"expected ADDRESS:PORT, got {text!r}")
            return None
        return str(address), int(port)

    def end(self) -> None:
        for key in self._data:
            self.complain(key, "unknown key")


def parse_config(text: str) -> Config:
    """The configuration in `text`. Raises ConfigError with every problem."""
    problems: list[str] = []
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError([f"not TOML: {error}"]) from error
    top = _Table(data, "", problems)
    health = _health(top.table("health"))
    fronts = top.table("frontend")
    front_ends = tuple(_front_end(name, fronts.table(name)) for name in fronts.among(FRONT_ENDS))
    fronts.end()
    listens = {front_end.name: front_end.listen[1] for front_end in front_ends}
    backends = tuple(
        _backend(_Table(table, f"backend[{i}]", problems), listens)
        for i, table in enumerate(top.take("backend", []))
    )
    if not front_ends:
        top.complain("frontend", f"none of {', '.join(FRONT_ENDS)} is there")
    names = [backend.name for backend in backends]
    if not names or len(set(names)) < len(names):
        top.complain("backend", "expected at least one, each with a name of its own")
    status = top.endpoint("status")
    if status and not ipaddress.ip_address(status[0]).is_loopback:
        top.complain("status", "expected a loopback address: the page asks for no credential")
    config = Config(
        front_ends,
        backends,
        health,
        status,
        top.take("drain_file", ""),
        top.number("max_connections", 10_000, 1, 1_000_000),
        top.number("connect_timeout_s", 3.0, 0.05, 60),
        top.number("idle_s", 300.0, 1, 86_400),
        top.number("life_s", 86_400.0, 1, 30 * 86_400),
        top.number("drain_s", 20.0, 0, 86_400),
    )
    top.end()
    if problems:
        raise ConfigError(problems)
    return config


def load_config(path: Path) -> Config:
    """The configuration in a file. Raises ConfigError, also for a file that cannot be read."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError([f"{path}: {error}"]) from error
    return parse_config(text)


def _health(table: _Table) -> HealthConfig:
    health = HealthConfig(
        table.number("interval_s", 0.5, 0.05, 60),
        table.number("timeout_s", 0.7, 0.05, 60),
        table.number("rise", 2, 1, 100),
        table.number("fall", 2, 1, 100),
    )
    table.end()
    return health


def _front_end(name: str, table: _Table) -> FrontEndConfig:
    listen = table.endpoint("listen")
    if listen is None:
        table.complain("listen", "missing: ADDRESS:PORT")
    front_end = FrontEndConfig(
        name,
        listen or ("", 0),
        table.choice("policy", "round_robin", POLICIES),
        table.take("send_proxy", False),
        table.choice("check", "https" if name == "https" else "http", CHECKS),
        table.take("check_ca", ""),
    )
    table.end()
    return front_end


def _backend(table: _Table, listens: dict[str, int]) -> BackendConfig:
    address = table.take("address", "")
    try:
        ipaddress.ip_address(address)
    except ValueError:
        table.complain("address", f"expected an IP address, got {address!r}")
    ports = table.table("ports")
    backend = BackendConfig(
        table.take("name", "") or address,
        address,
        {name: ports.number(name, port, 1, 65535) for name, port in listens.items()},
        table.number("check_port", 0, 0, 65535),
    )
    ports.end()
    table.end()
    return backend
