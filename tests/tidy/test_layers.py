"""The walls: what each package may import. What is not listed is forbidden.

Loosening a row is a design decision, not a fix: move the code instead.
"""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

# Modules that decide may only compute.
PURE_STDLIB = frozenset(
    "__future__ abc base64 binascii bisect collections contextlib dataclasses datetime email enum fnmatch functools "
    "hashlib heapq hmac html io ipaddress itertools json math operator random re shlex string struct textwrap "
    "types typing unicodedata urllib xml zlib".split()
)

PURE = frozenset({"model", "config", "gossip", "repo", "publish", "forward", "http", "setup"})

# package → (packages of ours, foreign packages). `pydantic` is not I/O; certificates are read by config's caller.
MAY_IMPORT: dict[str, tuple[str, str]] = {
    "model": ("", "pydantic"),
    "config": ("model", "pydantic tomllib"),
    "gossip": ("model", "pydantic"),
    "repo": ("model", ""),
    "publish": ("model", ""),
    "forward": ("", ""),
    "http": ("", ""),
    "setup": ("model config", ""),
    "runtime": ("", "prometheus_client"),
    "storage": ("model repo runtime", "zstandard"),
    "sync": (
        "model config repo forward storage runtime",
        "aiohttp httpx apscheduler zstandard pysequoia",
    ),
    "serve": ("model repo forward http storage runtime lbproxy", ""),
    "peering": ("model config gossip runtime", "httpx cryptography pydantic"),
    "control": (
        "model config gossip repo publish forward http setup runtime storage sync peering",
        "aiohttp aiofiles pydantic jinja2 prometheus_client",
    ),
    "app": (
        "model config gossip repo publish forward http setup runtime storage sync serve peering "
        "control",
        "",
    ),
    "lab": ("model config setup runtime app", "rich httpx"),
    "cli": ("model config setup runtime storage peering app lab", "typer rich httpx click"),
    "lbproxy": ("", ""),
}

# Where a library is seen by one file only, a change of library is a change of one file.
ONLY_IN = {
    "apscheduler": "station/sync/schedule.py",
    "pysequoia": "station/sync/signature.py",
}

# What the station shares with the balancer: the relay, and the epoll below it.
LBPROXY_SHARED = {"lbproxy.relay", "lbproxy.poller"}


def modules() -> list[Path]:
    return sorted(p for top in ("station", "lbproxy") for p in (ROOT / top).rglob("*.py"))


def package_of(path: Path) -> str:
    parts = path.relative_to(ROOT).parts
    return "lbproxy" if parts[0] == "lbproxy" else parts[1] if len(parts) > 2 else "top"


def imports_of(path: Path) -> Iterator[tuple[int, str]]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: imports are absolute"
            yield node.lineno, node.module or ""


def complaint(path: Path, package: str, name: str) -> str | None:
    ours, foreign = (set(column.split()) for column in MAY_IMPORT[package])
    first, _, rest = name.partition(".")
    if first == "station":
        inner = rest.split(".")[0]
        if inner in ("", "errors", "__version__") or inner == package or inner in ours:
            return None
        return f"{package} may not import {name}"
    if first == "lbproxy":
        if package == "lbproxy" or ("lbproxy" in ours and name in LBPROXY_SHARED):
            return None
        return f"{package} may not import {name}"
    if first in sys.stdlib_module_names:
        if package in PURE and first not in PURE_STDLIB and first not in foreign:
            return f"{package} decides and does no I/O: {name} is not on its list"
        return None
    if first in ONLY_IN and path.relative_to(ROOT).as_posix() != ONLY_IN[first]:
        return f"{first} is seen by {ONLY_IN[first]} only"
    return None if first in foreign else f"{package} may not import {first}"


@pytest.mark.parametrize("path", modules(), ids=lambda p: p.relative_to(ROOT).as_posix())
def test_module_imports_only_what_its_layer_may(path: Path) -> None:
    package = package_of(path)
    if package == "top":
        return
    assert package in MAY_IMPORT, f"{package} has no place in the table of layers"
    found = [
        f"{path.relative_to(ROOT)}:{line}: {why}"
        for line, name in imports_of(path)
        if (why := complaint(path, package, name))
    ]
    assert not found, "\n".join(found)


def test_table_of_layers_has_no_cycle() -> None:
    below = {package: set(ours.split()) for package, (ours, _) in MAY_IMPORT.items()}
    while below:
        free = [package for package, ours in below.items() if not ours]
        assert free, f"a cycle among {sorted(below)}"
        for package in free:
            del below[package]
        for ours in below.values():
            ours.difference_update(free)
