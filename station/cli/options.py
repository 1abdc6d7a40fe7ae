"""The options that every command has, and the words for what goes wrong."""

from pathlib import Path
from typing import Annotated, NoReturn

import typer

FAILED = 1
MISUSE = 2  # also: a configuration or a value that cannot be

ConfigFile = Annotated[
    Path, typer.Option("--config", metavar="FILE", help="The station.toml of this host.")
]
SocketPath = Annotated[
    Path | None,
    typer.Option(
        "--socket",
        envvar="STATION_SOCKET",
        metavar="PATH",
        help="Admin socket of the station to talk to.",
    ),
]
SocketFromConfig = Annotated[
    Path | None,
    typer.Option("--config", metavar="FILE", help="Take the admin socket from this station.toml."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]
Sources = Annotated[
    list[str] | None, typer.Option("--source", metavar="ID", help="A source; may be repeated.")
]
MoreSources = Annotated[
    list[str] | None, typer.Argument(metavar="[ID]...", help="More sources, after --source.")
]


def group(help_text: str) -> typer.Typer:
    """A group of subcommands."""
    return typer.Typer(help=help_text, no_args_is_help=True, rich_markup_mode=None)


def fail(message: str, code: int = FAILED) -> NoReturn:
    """One line to stderr, and the end."""
    typer.echo(f"station: {message}", err=True)
    raise typer.Exit(code)
