"""A station.toml with some values changed, and everything else, comments too, as it was. Pure."""

import json
import re
import tomllib
from collections.abc import Mapping, Sequence

_SECTION = re.compile(r"\s*\[\s*([A-Za-z0-9_]+)\s*\]\s*(#.*)?$")
Value = str | bool | int | float | Sequence[str]


def patch_toml(text: str, changes: Mapping[str, Value]) -> str:
    """The text with each dotted key (`proxy.hosts`) set. Raises ValueError for a text that it cannot change safely."""
    wanted = tomllib.loads(text)
    for key, value in changes.items():
        section, _, leaf = key.rpartition(".")
        table = wanted.setdefault(section, {}) if section else wanted
        table[leaf] = list(value) if isinstance(value, list | tuple) else value
        text = _set(text, section, leaf, value)
    try:
        is_right = tomllib.loads(text) == wanted
    except tomllib.TOMLDecodeError:
        is_right = False
    if not is_right:
        raise ValueError(
            f"the file is written in an unusual way; change {', '.join(changes)} by hand"
        )
    return text


def literal(value: Value) -> str:
    """The value as TOML has it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007F")
    return f"[{', '.join(map(literal, value))}]"


def _set(text: str, section: str, leaf: str, value: Value) -> str:
    # Not splitlines: a text may have other line separators in it.
    lines = text.rstrip("\n").split("\n")
    new = f"{leaf} = {literal(value)}"
    here, end = "", None
    for number, line in enumerate(lines):
        if found := _SECTION.match(line):
            here = found[1]
        if here == section:
            if re.match(rf"\s*{re.escape(leaf)}\s*=", line):
                return _joined(lines[:number], [new], lines[number + _length(lines[number:]) :])
            if line.strip():
                end = number + 1
    if end is None:
        block = [new] if not section else ["", f"[{section}]", new]
        return _joined(lines, block, []) if section else _joined([], block, lines)
    return _joined(lines[:end], [new], lines[end:])


def _length(lines: Sequence[str]) -> int:
    """How many lines the assignment that begins here takes. Raises ValueError when it never ends."""
    for count in range(1, len(lines) + 1):
        try:
            tomllib.loads("\n".join(lines[:count]))
        except tomllib.TOMLDecodeError:
            continue
        return count
    raise ValueError(f"{lines[0].strip()}: no end of it found; change it by hand")


def _joined(*parts: Sequence[str]) -> str:
    return "\n".join(line for part in parts for line in part) + "\n"
