"""`station mirror`: what this group mirrors and why, how far it is, and syncing now."""

import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Annotated, Any
from urllib.parse import quote

import typer

from station.cli.admin import Admin, admin_of
from station.cli.options import MISUSE, AsJson, SocketFromConfig, SocketPath, fail, group
from station.cli.output import (
    Column,
    column,
    plain,
    print_json,
    print_table,
    print_written,
    short_revision,
    size_text,
    time_text,
)
from station.model.states import MirrorState

mirror = group("The mirror list: derived from the profiles and instances of the whole group.")

Row = dict[str, Any]

# Four looks a second feel immediate to a person and cost the station nothing.
LOOK_EVERY_S = 0.25

# The station with the duty may be another one, which hears of the request in its next round, a second later. What
# shows no work for this long was looked at there and found unchanged.
UNTOUCHED_S = 5.0

_AT_WORK = (MirrorState.UNSYNCED, MirrorState.QUEUED, MirrorState.SYNCING)

MIRROR_COLUMNS: list[Column] = [
    column("SOURCE", "source"),
    column("STATE", "state"),
    ("DONE", lambda row: f"{row.get('percentage') or 0:.0f}%"),
    ("REVISION", lambda row: short_revision(row.get("revision"))),
    column("PACKAGES", "package_count"),
    ("SIZE", lambda row: size_text(row.get("size"))),
    ("LAST SYNCED", lambda row: time_text(row.get("time_last_synced"))),
    ("NEXT SYNC", lambda row: time_text(row.get("time_next_sync"))),
    ("WHY", lambda row: "\n".join(map(str, row.get("reasons") or ())) or "-"),
]


@mirror.command("list")
def list_mirrors(
    socket: SocketPath = None, config: SocketFromConfig = None, as_json: AsJson = False
) -> None:
    """Every mirrored source, its state here, and the profiles and instances that are the reason."""
    rows: list[Row] = admin_of(socket, config).get("/mirrors")
    if as_json:
        print_json(rows)
        return
    print_table(
        rows, MIRROR_COLUMNS, "nothing is mirrored: no profile or instance refers to a source"
    )
    for row in rows:
        if row.get("error"):
            typer.echo(f"{row['source']}: {row['error']}", err=True)


@mirror.command("status")
def mirror_status(
    socket: SocketPath = None, config: SocketFromConfig = None, as_json: AsJson = False
) -> None:
    """Stations × sources: what each station shows now."""
    answer = admin_of(socket, config).get("/mirrors/status")
    if as_json:
        print_json(answer)
        return
    rows: list[Row] = answer
    names = sorted({row["station"] for row in rows})
    columns: list[Column] = [column("SOURCE", "source")]
    columns += [(name, partial(_cell, name)) for name in names]
    columns += [
        ("APART", lambda row: _seconds(row.get("seconds_apart"))),
        ("LONGEST", lambda row: _seconds(row.get("longest_s"))),
    ]
    print_table(by_source(rows), columns, "nothing is mirrored")


@mirror.command("revisions")
def revisions(
    source: Annotated[str, typer.Argument(metavar="SOURCE")],
    socket: SocketPath = None,
    config: SocketFromConfig = None,
    as_json: AsJson = False,
) -> None:
    """Every revision of a source on this station's storage, and why it is kept."""
    rows: list[Row] = admin_of(socket, config).get(f"/mirrors/{quote(source, safe='')}/revisions")
    columns = [
        ("REVISION", lambda row: short_revision(row["revision"])),
        column("PUBLICATION", "publication"),
        ("WHOLE", lambda row: plain(row["complete"])),
        column("PACKAGES", "package_count"),
        ("SIZE", lambda row: size_text(row["size"])),
        column("KEPT", "kept"),
        ("AT LEAST FOR", lambda row: duration_text(row["kept_for_s"])),
    ]
    print_json(rows) if as_json else print_table(rows, columns, f"no revision of {source} here")


@mirror.command("purge")
def purge(
    sources: Annotated[list[str] | None, typer.Argument(metavar="[SOURCE]...")] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Also what a freeze holds; the freeze is named.")
    ] = False,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Only say what would go, why it may, and what objects."),
    ] = False,
    socket: SocketPath = None,
    config: SocketFromConfig = None,
    as_json: AsJson = False,
) -> None:
    """Remove sources that left the mirror list from every storage now; default: all that left."""
    body = {"sources": sources or [], "force": force, "dry_run": dry_run}
    answer: Row = admin_of(socket, config).post("/mirrors/purge", body)
    if as_json:
        print_json(answer)
        return
    columns = [
        column("SOURCE", "source"),
        column("REVISIONS", "revisions"),
        ("SIZE", lambda row: size_text(row["bytes"])),
        column("ON", "stations"),
        ("WHY IT MAY", _why_it_may),
        column("OBJECTIONS", "objections"),
        column("OVERRIDES", "overrides"),
    ]
    print_table(answer["sources"], columns, "nothing has left the mirror list")
    if answer["waits"]:
        typer.echo(f"station: nothing goes yet: {answer['waits']}", err=True)


def by_source(rows: list[Row]) -> list[Row]:
    """One row per source, its `cells` by station: revision and state, `…` where a newer one is ready too."""
    found: dict[str, Row] = {}
    for row in rows:
        entry = found.setdefault(row["source"], {**row, "cells": {}})
        text = f"{short_revision(row.get('live'))} {row['state']}"
        entry["cells"][row["station"]] = text + (" …" if row.get("staged") else "")
    return list(found.values())


def duration_text(seconds: float | None) -> str:
    """`71 h`, `35 min`; `-`: without end."""
    if seconds is None:
        return "-"
    return f"{seconds / 3600:.0f} h" if seconds >= 3600 else f"{seconds / 60:.0f} min"


def _cell(station: str, row: Mapping[str, Any]) -> str:
    return str(row["cells"].get(station, "-"))


def _seconds(value: object) -> str:
    return f"{value:.1f} s" if isinstance(value, int | float) else "-"


def _why_it_may(row: Mapping[str, Any]) -> str:
    when = f" {time_text(row['left_at'])}" if row.get("left_at") else ""
    return f"{row['why']}{when}" if row["why"] else "-"


@mirror.command("sync")
def sync(
    sources: Annotated[list[str] | None, typer.Argument(metavar="[SOURCE]...")] = None,
    every: Annotated[bool, typer.Option("--all", help="Every source of the mirror list.")] = False,
    wait: Annotated[
        bool, typer.Option("--wait", help="Until they are SYNCED, or one FAILED.")
    ] = False,
    deadline_s: Annotated[
        float, typer.Option("--timeout", help="Seconds that --wait waits at most.")
    ] = 3600.0,
    socket: SocketPath = None,
    config: SocketFromConfig = None,
    as_json: AsJson = False,
) -> None:
    """Look at the upstream now and fetch what changed."""
    if every == bool(sources):
        fail("name the sources to sync, or say --all", MISUSE)
    admin = admin_of(socket, config)
    answer = admin.post("/mirrors/sync", {"all": True} if every else {"sources": sources})
    if not wait:
        print_written(answer, "sync asked for; `station mirror list` shows it", as_json)
        return
    rows = _waited(admin, set(sources or ()), float(answer["requested_at"]), deadline_s)
    failed = [row for row in rows if row["state"] != MirrorState.SYNCED]
    if as_json:
        print_json(rows)
    for row in failed:
        typer.echo(f"station: {row['source']}: {row.get('error') or row['state']}", err=True)
    if failed:
        raise typer.Exit(1)


def _waited(admin: Admin, wanted: set[str], asked_at: float, deadline_s: float) -> list[Row]:
    """The rows of the sources (all, for an empty set) once each was looked at since `asked_at` (wall, seconds)."""
    begin = time.monotonic()
    said: dict[str, str] = {}
    seen_at_work: set[str] = set()
    while True:
        rows = [r for r in admin.get("/mirrors") if not wanted or r["source"] in wanted]
        missing = wanted - {row["source"] for row in rows}
        if missing:
            fail(f"{', '.join(sorted(missing))}: not on the mirror list any more")
        for row in rows:
            _say_progress(row, said, lambda text: typer.echo(text, err=True))
        waited_s = time.monotonic() - begin
        seen_at_work |= {row["source"] for row in rows if row["state"] in _AT_WORK}
        open_rows = [
            row["source"]
            for row in rows
            if not is_finished(row, asked_at, row["source"] in seen_at_work, waited_s)
        ]
        if not open_rows:
            return rows
        if waited_s >= deadline_s:
            fail(f"still at work after {deadline_s:.0f} s: {', '.join(open_rows)}")
        time.sleep(LOOK_EVERY_S)


def is_finished(row: Row, asked_at: float, was_at_work: bool, waited_s: float) -> bool:
    """Whether a row tells the outcome of the sync asked for at `asked_at`, and not of one before."""
    if row["state"] in _AT_WORK:
        return False
    is_newer = float(row.get("time_last_synced") or 0.0) >= asked_at
    return is_newer or was_at_work or waited_s >= UNTOUCHED_S


def _say_progress(row: Row, said: dict[str, str], say: Callable[[str], None]) -> None:
    """A line when a source's state or whole percentage changed."""
    text = f"{row['source']}: {row['state']} {row.get('percentage') or 0:.0f}%"
    if row.get("bytes_total"):
        text += f" ({size_text(row.get('bytes_done'))} of {size_text(row['bytes_total'])})"
    head = text.partition(" (")[0]
    if said.get(row["source"]) != head:
        said[row["source"]] = head
        say(text)
