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
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, TypeVar

FRONT_ENDS = ("proxy", "http", "https")
POLICIES = ("round_robin", "least_connections", "source_hash")

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


def _setting(default: Any, check: Check, *, is_needed: bool = False) -> Any:
    return field(default=default, metadata={"check": check, "is_needed": is_needed})


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
    listen: tuple[str, int] = _setting(("", 0), _endpoint, is_needed=True)
    policy: str = _setting(POLICIES[0], _one_of(*POLICIES))
    send_proxy: bool = _setting(False, _one_of(False, True))


@dataclass(frozen=True, slots=True)
class _Ports:
    proxy: int = _setting(0, _number(1, 65535))
    http: int = _setting(0, _number(1, 65535))
    https: int = _setting(0, _number(1, 65535))


@dataclass(frozen=True, slots=True)
class BackendConfig:
    """One station: its address, and its port for each front end."""

    ports: Mapping[str, int]
    name: str = _setting("", _text)
    address: str = _setting("", _address, is_needed=True)


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

    def read(self, kind: type[T], value: Any, at: str, **known: Any) -> T:
        """A dataclass from a table: what its settings' checks let through, the default for the rest."""
        if not isinstance(value, dict):
            self.append(f"{at}: expected a table")
            value = {}
        left = dict(value)
        for each in fields(kind):  # type: ignore[arg-type] # a dataclass
            if each.metadata and (each.name in left or each.metadata["is_needed"]):
                found, key = left.pop(each.name, ""), f"{at}.{each.name}".lstrip(".")
                try:
                    known[each.name] = each.metadata["check"](found)
                except ValueError as error:
                    self.append(f"{key}: expected {error}, got {found!r}")
        self.extend(f"{at}.{key}".lstrip(".") + ": unknown key" for key in left)
        return kind(**known)

    def backend(self, value: Any, at: str, listens: Mapping[str, int]) -> BackendConfig:
        """One backend. Where it names no port for a front end, it is the front end's own."""
        table = dict(value) if isinstance(value, dict) else {}
        ports = asdict(self.read(_Ports, table.pop("ports", {}), f"{at}.ports"))
        known = {name: ports[name] or port for name, port in listens.items()}
        table.setdefault("name", table.get("address", ""))
        return self.read(BackendConfig, table, at, ports=known)


def parse_config(text: str) -> Config:
    """The configuration in `text`. Raises ConfigError with every problem."""
    try:
        top = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError([f"not TOML: {error}"]) from error
    problems = _Problems()
    read = problems.read
    health = read(HealthConfig, top.pop("health", {}), "health")
    fronts, tables = top.pop("frontend", {}), top.pop("backend", [])
    if not isinstance(fronts, dict) or not isinstance(tables, list):
        raise ConfigError(["expected tables [frontend.NAME] and [[backend]]"])
    problems.extend(f"frontend.{name}: unknown key" for name in fronts if name not in FRONT_ENDS)
    names = [name for name in FRONT_ENDS if name in fronts]
    front_ends = tuple(read(FrontEndConfig, fronts[n], f"frontend.{n}", name=n) for n in names)
    if not front_ends:
        problems.append(f"frontend: none of {', '.join(FRONT_ENDS)} is there")
    ports = {each.name: each.listen[1] for each in front_ends}
    backends = tuple(problems.backend(t, f"backend[{i}]", ports) for i, t in enumerate(tables))
    if not backends or len({each.name for each in backends}) < len(backends):
        problems.append("backend: expected at least one, each with a name of its own")
    config = read(Config, top, "", front_ends=front_ends, backends=backends, health=health)
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
