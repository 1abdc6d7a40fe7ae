"""From the text of a station.toml to a Config, or to one error that lists every problem.

A problem says which key, what stands there, and what to write instead.
"""

import contextlib
import tomllib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from station.config.schema import SECTIONS, Config, host_and_port, setting_keys

# A unix socket's path is limited to 107 bytes by the kernel; this leaves room for a temporary name beside it.
SOCKET_PATH_BYTES_MAX = 100

# The sockets between our own processes, below the state directory.
LONGEST_RUN_SOCKET = "/run/files.sock"

_DEFAULT_PORTS = {
    "proxy.port": 16080,
    "mirror.port": 17080,
    "mirror.sslport": 17443,
    "peer.port": 17946,
}


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing to mend: the dotted key, the value as written (empty when missing), what to do."""

    key: str
    value: str
    cure: str

    def __str__(self) -> str:
        return (
            f"{self.key} = {self.value}: {self.cure}" if self.value else f"{self.key}: {self.cure}"
        )


class ConfigError(ValueError):
    """The text is no valid configuration. Nothing was started or changed; `problems` has all of them."""

    def __init__(self, problems: tuple[Problem, ...]) -> None:
        super().__init__("\n".join(str(problem) for problem in problems))
        self.problems = problems


def parse_config(text: str, readable: Callable[[str], str] | None = None) -> Config:
    """The configuration. Raises ConfigError with every problem.

    `readable` says why a file cannot be read (empty: it can); None leaves the files unchecked.
    """
    try:
        raw = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError((Problem("file", "", f"is not TOML: {error}"),)) from None
    problems: list[Problem] = []
    config: Config | None = None
    try:
        config = Config.model_validate(raw)
    except ValidationError as error:
        problems += [_problem(dict(detail)) for detail in error.errors(include_url=False)]
    named = {problem.key for problem in problems}
    problems += [p for p in _across_keys(raw, readable) if p.key not in named]
    if config is None or problems:
        raise ConfigError(tuple(problems))
    return config


def advice(config: Config) -> list[str]:
    """What is allowed and yet rarely meant, a line each."""
    found = []
    if config.proxy.enabled and not config.proxy.hosts:
        found.append(
            "proxy.hosts is empty: nobody may use the proxy; list address ranges, or set proxy.enabled = false"
        )
    if "*" in config.proxy.destinations:
        found.append("proxy.destinations has *: clients reach every public address on any port")
    return found


# One field.


def _problem(detail: Mapping[str, Any]) -> Problem:
    key = _dotted(detail["loc"])
    if detail["type"] == "missing":
        return _missing(key)
    if detail["type"] == "extra_forbidden":
        return Problem(key, "", f"unknown key{_nearest(key)}")
    return Problem(key, _as_toml(detail["input"]), _cure(key, detail))


def _dotted(loc: tuple[int | str, ...]) -> str:
    text = ""
    for part in loc:
        text += f"[{part}]" if isinstance(part, int) else f".{part}"
    return text.lstrip(".")


def _missing(key: str) -> Problem:
    if key == "mirror":  # the section is named by what it must say
        key = "mirror.directory"
    section, _, leaf = key.rpartition(".")
    field = (SECTIONS[section] if section else Config).model_fields[leaf]
    where = f" under [{section}]" if section else ""
    example = (field.examples or ["…"])[0]
    return Problem(key, "", f"missing ({field.description}); write {leaf} = {example}{where}")


_EXPECTED = {
    "string_type": 'expected text in quotes, "…"',
    "bool_type": "expected true or false",
    "int_type": "expected a whole number, without quotes",
    "float_type": "expected a number of seconds, without quotes",
    "float_parsing": "expected a number of seconds, without quotes",
    "tuple_type": 'expected a list, ["…"]',
    "model_type": "expected a section in brackets on a line of its own",
    "model_attributes_type": "expected a section in brackets on a line of its own",
}


def _cure(key: str, detail: Mapping[str, Any]) -> str:
    kind = detail["type"]
    if key in _DEFAULT_PORTS and kind in ("greater_than_equal", "less_than_equal"):
        return f"ports are 1–65535 (default {_DEFAULT_PORTS[key]})"
    if kind in _EXPECTED:
        return _EXPECTED[str(kind)]
    message = str(detail["msg"]).removeprefix("Value error, ")
    return message[0].lower() + message[1:] if message.startswith(("Input", "String")) else message


def _as_toml(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return f'"{value[:100]}"'
    return str(value)[:100]


def _nearest(key: str) -> str:
    section, _, leaf = key.rpartition(".")
    known = [*setting_keys(), *SECTIONS]
    beside = {n: n.rpartition(".")[2] for n in known if n.rpartition(".")[0] == section}
    best = min(beside, key=lambda name: _distance(leaf, beside[name]), default="")
    if best and _distance(leaf, beside[best]) <= max(2, len(leaf) // 3):
        return f"; did you mean {best}?"
    elsewhere = [name for name in known if name.rpartition(".")[2] == leaf]
    longer = [name for name, last in beside.items() if len(leaf) > 2 and last.startswith(leaf)]
    meant = elsewhere or longer
    return f"; did you mean {' or '.join(meant)}?" if meant else "; remove it"


def _distance(a: str, b: str) -> int:
    """How many letters to add, drop or change to make b of a (Levenshtein), case ignored."""
    a, b = a.lower(), b.lower()
    row = list(range(len(b) + 1))
    for i, letter in enumerate(a, 1):
        before, row[0] = row[0], i
        for j, other in enumerate(b, 1):
            before, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, before + (letter != other))
    return row[-1]


# Several keys. These look at the text as written, so that one bad field hides none of them.


def _across_keys(
    raw: Mapping[str, Any], readable: Callable[[str], str] | None
) -> Iterator[Problem]:
    yield from _equal_ports(raw)
    yield from _long_sockets(raw)
    yield from _certificate(raw, readable)
    state = _get(raw, "state_directory", "/var/lib/station")
    storage = _get(raw, "mirror.directory", "")
    if (
        isinstance(storage, str)
        and isinstance(state, str)
        and storage.strip("/") == state.strip("/")
    ):
        yield Problem(
            "mirror.directory", _as_toml(storage), "is the state directory too; choose another"
        )


def _get(raw: Mapping[str, Any], key: str, default: object) -> object:
    section, _, leaf = key.rpartition(".")
    table = raw.get(section, {}) if section else raw
    return table.get(leaf, default) if isinstance(table, dict) else default


def _equal_ports(raw: Mapping[str, Any]) -> Iterator[Problem]:
    taken: dict[int, str] = {}
    ports = {key: _get(raw, key, default) for key, default in _DEFAULT_PORTS.items()}
    page = _get(raw, "admin.listen", "")
    with contextlib.suppress(ValueError):  # empty, or reported with its own key
        ports["admin.listen"] = host_and_port(page, "")[1] if isinstance(page, str) else None
    for key, port in [*ports.items(), *_more_ports(raw)]:
        if not isinstance(port, int) or isinstance(port, bool):
            continue
        if port in taken:
            yield Problem(key, str(port), f"is also {taken[port]}; each port needs its own number")
        taken.setdefault(port, key)


def _long_sockets(raw: Mapping[str, Any]) -> Iterator[Problem]:
    state = _get(raw, "state_directory", "")
    admin = _get(raw, "admin.socket", "")
    limit = f"unix sockets allow {SOCKET_PATH_BYTES_MAX}; choose a shorter directory"
    if isinstance(state, str):
        length = len((state.rstrip("/") + LONGEST_RUN_SOCKET).encode())
        if length > SOCKET_PATH_BYTES_MAX:
            yield Problem(
                "state_directory",
                _as_toml(state),
                f"{LONGEST_RUN_SOCKET[1:]} below it has {length} bytes, {limit}",
            )
    if isinstance(admin, str) and len(admin.encode()) > SOCKET_PATH_BYTES_MAX:
        yield Problem("admin.socket", _as_toml(admin), f"has {len(admin.encode())} bytes, {limit}")


def _certificate(
    raw: Mapping[str, Any], readable: Callable[[str], str] | None
) -> Iterator[Problem]:
    files = {key: _get(raw, key, "") for key in ("mirror.sslcert", "mirror.sslkey")}
    given = {key: path for key, path in files.items() if isinstance(path, str) and path}
    if len(given) == 1:
        missing = next(key for key in files if key not in given)
        yield Problem(missing, "", f"missing; {next(iter(given))} is of no use without it")
    for key, path in given.items():
        why = readable(path) if readable and path.startswith("/") else ""
        if why:
            yield Problem(key, _as_toml(path), f"cannot be read: {why}")


def _more_ports(raw: Mapping[str, Any]) -> Iterator[tuple[str, object]]:
    for key in ("proxy.more_ports", "mirror.more_ports", "mirror.more_sslports"):
        found = _get(raw, key, [])
        for port in found if isinstance(found, list) else []:
            yield key, port
