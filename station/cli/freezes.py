"""`station source|profile freeze|unfreeze`, and the .repo file of a profile."""

from datetime import datetime, timedelta
from typing import Annotated, Any
from urllib.parse import quote

import typer

from station.cli.admin import admin_of
from station.cli.options import MISUSE, AsJson, SocketFromConfig, SocketPath, fail
from station.cli.output import print_json, print_written


def add_commands(source: typer.Typer, profile: typer.Typer) -> None:
    """Put the commands of this module among those of sources and profiles."""
    source.command("freeze")(freeze_source)
    source.command("unfreeze")(unfreeze_source)
    profile.command("freeze")(freeze_profile)
    profile.command("unfreeze")(unfreeze_profile)
    profile.command("repo")(repo_file)


def freeze_source(
    source_id: Annotated[str, typer.Argument(metavar="ID")],
    until: Annotated[
        str, typer.Option(metavar="TIME", help="2026-12-31T18:00 or +3d; default: until unfrozen.")
    ] = "",
    revision: Annotated[
        str, typer.Option(metavar="REVISION", help="Revision to show; default: what is live stays.")
    ] = "",
    socket: SocketPath = None,
    config: SocketFromConfig = None,
    as_json: AsJson = False,
) -> None:
    """Hold a source at one revision, on every station."""
    body = {
        "until": moment(until, datetime.now().astimezone()) if until else None,
        "revision": revision or None,
    }
    answer = admin_of(socket, config).post(f"/sources/{quote(source_id, safe='')}/freeze", body)
    print_written(answer, f"source {source_id} frozen", as_json)


def unfreeze_source(
    source_id: Annotated[str, typer.Argument(metavar="ID")],
    socket: SocketPath = None,
    config: SocketFromConfig = None,
    as_json: AsJson = False,
) -> None:
    """Let a source follow its upstream again."""
    answer = admin_of(socket, config).post(f"/sources/{quote(source_id, safe='')}/unfreeze")
    print_written(answer, f"source {source_id} follows its upstream again", as_json)


def freeze_profile(
    name: Annotated[str, typer.Argument(metavar="NAME")],
    source_id: Annotated[
        str, typer.Option("--source", metavar="ID", help="The source to hold; default: all of it.")
    ] = "",
    revision: Annotated[
        str, typer.Option(metavar="REVISION", help="Revision to hold; default: the live one.")
    ] = "",
    socket: SocketPath = None,
    config: SocketFromConfig = None,
    as_json: AsJson = False,
) -> None:
    """Hold the sources of a profile, for its instances: their mirrorlists are pinned."""
    body = {"source": source_id or None, "revision": revision or None}
    answer = admin_of(socket, config).post(f"/profiles/{quote(name, safe='')}/freeze", body)
    print_written(answer, f"profile {name}: {source_id or 'all its sources'} frozen", as_json)


def unfreeze_profile(
    name: Annotated[str, typer.Argument(metavar="NAME")],
    source_id: Annotated[
        str, typer.Option("--source", metavar="ID", help="The held source; default: all of them.")
    ] = "",
    socket: SocketPath = None,
    config: SocketFromConfig = None,
    as_json: AsJson = False,
) -> None:
    """Let a profile see what is live again."""
    body = {"source": source_id or None}
    answer = admin_of(socket, config).post(f"/profiles/{quote(name, safe='')}/unfreeze", body)
    what = source_id or "all its sources"
    print_written(answer, f"profile {name}: {what} shown as they are live again", as_json)


def repo_file(
    name: Annotated[str, typer.Argument(metavar="NAME")],
    scheme: Annotated[
        str, typer.Option(metavar="SCHEME", help="How instances reach the mirror: https or http.")
    ] = "https",
    socket: SocketPath = None,
    config: SocketFromConfig = None,
    as_json: AsJson = False,
) -> None:
    """Print the .repo file for the instances of a profile."""
    text = admin_of(socket, config).text("/snippets/repo", profile=name, scheme=scheme)
    _print_text(text, as_json)


def _print_text(text: str, as_json: bool) -> None:
    answer: dict[str, Any] = {"text": text}
    print_json(answer) if as_json else typer.echo(text, nl=False)


_UNITS = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


def moment(text: str, now: datetime) -> float:
    """`2026-12-31T18:00` (this host's zone unless it names one) or `+3d` as wall time in seconds."""
    try:
        if text.startswith("+"):
            return (now + timedelta(**{_UNITS[text[-1]]: int(text[1:-1])})).timestamp()
        stamp = datetime.fromisoformat(text)
    except (ValueError, KeyError, OverflowError):
        fail(f"--until: {text!r} is no time; write 2026-12-31T18:00 or +3d", MISUSE)
    return (stamp if stamp.tzinfo else stamp.replace(tzinfo=now.tzinfo)).timestamp()
