"""The balancer's configuration: one TOML file, every error at once.

status = "127.0.0.1:16090"        # status page, loopback only; "" (default): none
drain_file = "/run/lbproxy/drain" # names of backends that get no new connections, one per line; re-read each second
max_connections = 10000           # beyond it new clients wait in the listeners' queues
connect_timeout_s = 3.0
idle_s = 300.0                    # a relayed connection on which nothing moves
life_s = 86400.0
drain_s = 20.0                    # how long relayed connections may last after SIGTERM or SIGUSR1

[health]                          # GET /health/ready on each backend and front end; over TLS for https
interval_s = 0.5
timeout_s = 0.7
rise = 2                          # successes in a row until a backend is up, failures until it is down
fall = 2

[frontend.proxy]                  # any of proxy, http, https
listen = "0.0.0.0:16080"
policy = "round_robin"            # or least_connections, source_hash
send_proxy = false                # PROXY v2 to the backends, health checks included

[[backend]]
name = "StationA"
address = "127.0.0.11"            # an address, not a name
ports = { proxy = 16080, http = 17080, https = 17443 } # default: the port the front end listens on
"""

import ipaddress
import tomllib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, TypeVar

FRONT_ENDS = ("proxy", "http", "https")

T = TypeVar("T")
Check = Callable[[Any], Any]  # gives the value to keep, or raises ValueError: what was expected


class ConfigError(ValueError):
    """`problems`: each with its key."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


def _number(low: float, high: float) -> Check:
    """A number from `low` to `high`; a whole one where `low` is."""

    def check(value: Any) -> Any:
        is_number = type(value) is int or (type(value) is float and type(low) is float)
        if not is_number or not low <= value <= high:
            raise ValueError(f"{low:g} to {high:g}")
        return value

    return check


def _one_of(*choices: Any) -> Check:
    def check(value: Any) -> Any:
        if value not in choices or type(value) is not type(choices[0]):
            raise ValueError("one of " + ", ".join(map(str, choices)))
        return value

    return check


def _text(value: Any) -> Any:
    if not isinstance(value, str):
        raise ValueError("text")
    return value


def _address(value: Any) -> str:
    try:
        return str(ipaddress.ip_address(_text(value)))
    except ValueError:
        raise ValueError("an IP address") from None


def _endpoint(value: Any) -> tuple[str, int]:
    host, _, port = str(value).rpartition(":")
    try:
        if port.isascii() and port.isdigit() and int(port) <= 65535:
            return _address(host.removeprefix("[").removesuffix("]")), int(port)
    except ValueError:
        pass  # the same words for both halves
    raise ValueError("ADDRESS:PORT")


def _loopback(value: Any) -> tuple[str, int] | None:
    if value and not ipaddress.ip_address(_endpoint(value)[0]).is_loopback:
        raise ValueError("a loopback address, for the page asks for no credential")
    return _endpoint(value) if value else None


def _setting(default: Any, check: Check) -> Any:
    return field(default=default, metadata={"check": check})


_PORT = _number(1, 65535)


@dataclass(frozen=True, slots=True)
class HealthConfig:
    """How backends are asked. Seconds and counts."""

    interval_s: float = _setting(0.5, _number(0.05, 60.0))
    timeout_s: float = _setting(0.7, _number(0.05, 60.0))
    rise: int = _setting(2, _number(1, 100))
    fall: int = _setting(2, _number(1, 100))


@dataclass(frozen=True, slots=True)
class FrontEndConfig:
    """One listening port."""

    name: str
    listen: tuple[str, int] = _setting(("", 0), _endpoint)
    policy: str = _setting(
        "round_robin", _one_of("round_robin", "least_connections", "source_hash")
    )
    send_proxy: bool = _setting(False, _one_of(False, True))


@dataclass(frozen=True, slots=True)
class BackendConfig:
    """One station: its address, and its port for each front end."""

    ports: Mapping[str, int]
    name: str = _setting("", _text)
    address: str = _setting("", _address)


@dataclass(frozen=True, slots=True)
class Config:
    """All of it."""

    front_ends: tuple[FrontEndConfig, ...]
    backends: tuple[BackendConfig, ...]
    health: HealthConfig = field(default_factory=HealthConfig)
    status: tuple[str, int] | None = _setting(None, _loopback)
    drain_file: str = _setting("", _text)
    max_connections: int = _setting(10_000, _number(1, 1_000_000))
    connect_timeout_s: float = _setting(3.0, _number(0.05, 60.0))
    idle_s: float = _setting(300.0, _number(1.0, 86_400.0))
    life_s: float = _setting(86_400.0, _number(1.0, 30 * 86_400.0))
    drain_s: float = _setting(20.0, _number(0.0, 86_400.0))


class _Problems(list[str]):
    """Every problem so far, each with its key."""

    def table(self, value: Any, at: str) -> dict[str, Any]:
        if isinstance(value, dict):
            return dict(value)
        self.append(f"{at}: expected a table")
        return {}

    def checked(self, value: Any, check: Check, at: str, default: Any) -> Any:
        try:
            return check(value)
        except ValueError as error:
            self.append(f"{at}: expected {error}, got {value!r}")
            return default

    def unknown(self, keys: Iterable[str], at: str) -> None:
        self.extend(f"{at}{key}: unknown key" for key in keys)

    def read(self, kind: type[T], data: dict[str, Any], at: str, **known: Any) -> T:
        """A dataclass from a table: what its settings' checks let through, the default for the rest."""
        for each in fields(kind):  # type: ignore[arg-type] # a dataclass
            if each.name in data and "check" in each.metadata:
                value, check = data.pop(each.name), each.metadata["check"]
                known[each.name] = self.checked(value, check, at + each.name, each.default)
        self.unknown(data, at)
        return kind(**known)


def parse_config(text: str) -> Config:
    """The configuration in `text`. Raises ConfigError with every problem."""
    try:
        top = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError([f"not TOML: {error}"]) from error
    problems = _Problems()
    health = problems.table(top.pop("health", {}), "health")
    fronts = problems.table(top.pop("frontend", {}), "frontend")
    front_ends = tuple(
        _front_end(name, fronts.pop(name), problems) for name in FRONT_ENDS if name in fronts
    )
    problems.unknown(fronts, "frontend.")
    if not front_ends:
        problems.append(f"frontend: none of {', '.join(FRONT_ENDS)} is there")
    stations = top.pop("backend", [])
    listens = {front_end.name: front_end.listen[1] for front_end in front_ends}
    backends = tuple(
        _backend(table, i, listens, problems)
        for i, table in enumerate(stations if isinstance(stations, list) else [None])
    )
    names = {backend.name for backend in backends}
    if not names or len(names) < len(backends):
        problems.append("backend: expected at least one, each with a name of its own")
    config = problems.read(
        Config,
        top,
        "",
        front_ends=front_ends,
        backends=backends,
        health=problems.read(HealthConfig, health, "health."),
    )
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


def _front_end(name: str, value: Any, problems: _Problems) -> FrontEndConfig:
    table = {"listen": ""} | problems.table(value, f"frontend.{name}")
    return problems.read(FrontEndConfig, table, f"frontend.{name}.", name=name)


def _backend(
    value: Any, index: int, listens: Mapping[str, int], problems: _Problems
) -> BackendConfig:
    at = f"backend[{index}]"
    table = problems.table(value, at)
    asked = problems.table(table.pop("ports", {}), f"{at}.ports")
    ports = {
        name: problems.checked(asked.pop(name, port), _PORT, f"{at}.ports.{name}", port)
        for name, port in listens.items()
    }
    problems.unknown(asked, f"{at}.ports.")
    needed = {"address": "", "name": table.get("address", "")}
    return problems.read(BackendConfig, needed | table, f"{at}.", ports=ports)
