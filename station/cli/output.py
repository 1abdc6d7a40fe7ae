"""Results to stdout: tables for people, JSON for programs."""

import json
import sys
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

import typer

Column = tuple[str, Callable[[Mapping[str, Any]], str]]

PIPE_WIDTH = 1000
SHORT_REVISION = 12  # digits; enough for people to tell revisions of one source apart
_UNITS = ("B", "KiB", "MiB", "GiB", "TiB")


def print_json(value: object) -> None:
    """The value, indented."""
    typer.echo(json.dumps(value, indent=2, ensure_ascii=False))


def print_table(rows: Iterable[Mapping[str, Any]], columns: list[Column], empty: str) -> None:
    """A row each, or the sentence `empty`."""
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    for title, _ in columns:
        table.add_column(title, overflow="fold")
    for row in rows:
        table.add_row(*(cell(row) for _, cell in columns))
    if table.row_count:
        # What goes to another program is not folded to the width of a terminal that is not there.
        width = None if sys.stdout.isatty() else PIPE_WIDTH
        Console(highlight=False, markup=False, width=width).print(table)
    else:
        typer.echo(empty)


def print_record(record: Mapping[str, Any]) -> None:
    """A field each."""
    width = max((len(key) for key in record), default=0)
    for key, value in record.items():
        text = plain(value)
        lines = text.splitlines() or [""]
        more = f" … ({len(lines)} lines)" if len(lines) > 1 else ""
        typer.echo(f"{key:<{width}}  {lines[0]}{more}".rstrip())


def print_written(answer: Any, what: str, as_json: bool) -> None:
    """The answer to a write: what was done, and how many peers hold it already."""
    if as_json:
        print_json(answer)
        return
    held = answer.get("held_by") if isinstance(answer, Mapping) else None
    typer.echo(what if held is None else f"{what}; held by {held} peer{'s' * (held != 1)}")


def column(title: str, key: str) -> Column:
    """A column that shows one field as it is."""
    return title, lambda row: plain(row.get(key))


def plain(value: object) -> str:
    """A value for people."""
    match value:
        case None | "":
            return "-"
        case bool():
            return "yes" if value else "no"
        case float():
            return f"{value:g}"
        case list() | tuple():
            return ", ".join(plain(item) for item in value) or "-"
        case dict():
            return ", ".join(f"{key}={plain(item)}" for key, item in value.items()) or "-"
    return str(value)


def short_revision(value: object) -> str:
    """The first digits of a revision."""
    return str(value)[:SHORT_REVISION] if value else "-"


def size_text(value: object) -> str:
    """Bytes with a unit."""
    if not isinstance(value, int | float):
        return "-"
    amount = float(value)
    for unit in _UNITS:
        if amount < 1024 or unit == _UNITS[-1]:
            return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"
        amount /= 1024
    raise AssertionError("the last unit takes everything")


def time_text(value: object) -> str:
    """Wall time (seconds, or ISO text) in UTC, to the second."""
    if isinstance(value, int | float):
        return datetime.fromtimestamp(value, UTC).strftime("%Y-%m-%d %H:%M:%SZ")
    return plain(value)
