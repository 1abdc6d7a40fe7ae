"""The join token as `join` and `replace` take it: not from the command line, which every user of a host can read."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from station.cli.options import MISUSE, fail

LINE_LENGTH_MAX = 1000  # a token has some 120 characters; more is a file that holds something else

TokenArgument = Annotated[
    str,
    typer.Argument(
        metavar="TOKEN",
        help="From `station group token` on any member: a file that holds it, or - for standard input.",
    ),
]


def token_text(given: str) -> str:
    """The token itself, from what stands on the command line. Ends the program when it cannot be read.

    `-` is standard input (a terminal is asked without echo), the name of a file its first line. The token itself is
    taken too, with a warning: until the command ends it stands in the list of processes.
    """
    if given == "-":
        if sys.stdin.isatty():
            return str(typer.prompt("join token", hide_input=True, err=True))
        return sys.stdin.readline(LINE_LENGTH_MAX).strip()
    path = Path(given)
    try:
        if path.exists():
            with path.open(encoding="ascii", errors="replace") as file:
                return file.readline(LINE_LENGTH_MAX).strip()
    except OSError as error:
        fail(f"{path}: {error.strerror or error}", MISUSE)
    typer.echo(
        "station: note: a token on the command line can be read by every user of this host while the command runs; "
        "give a file or - instead",
        err=True,
    )
    return given
