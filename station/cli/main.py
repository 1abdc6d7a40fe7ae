"""`station`: the command line. Exit codes: 0 done, 1 failed, 2 misuse or a bad configuration.

Results go to stdout (`--json` for programs), talk goes to stderr. Commands talk to the running station over its
admin socket; only `group create`, `join` and `storage init` write on this host, and only while nothing runs.
"""

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from station import __version__
from station.cli import (
    balancer,
    diagnose,
    freezes,
    host,
    instances,
    membership,
    mirrors,
    records,
    replace,
    stations,
)
from station.cli.options import AsJson, ConfigFile

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
app.add_typer(membership.ha_group, name="group")
app.command("join")(membership.join)
app.command("replace")(replace.replace)
app.command("configure")(host.configure)
freezes.add_commands(records.source, records.profile)
instances.add_to(records.profile, records.instance)
app.add_typer(records.source, name="source")
app.add_typer(records.profile, name="profile")
app.add_typer(records.instance, name="instance")
app.add_typer(mirrors.mirror, name="mirror")
app.add_typer(membership.peers, name="peer")
app.add_typer(balancer.balancer, name="balancer")
membership.ha_group.add_typer(membership.trust, name="trust")
membership.ha_group.command("update")(stations.update_group)
membership.stations.command("show")(stations.show)
membership.stations.command("update")(stations.update)
app.add_typer(membership.stations, name="station")
app.add_typer(membership.storage, name="storage")
app.command("status")(membership.status)
app.command("diagnose")(diagnose.diagnose)


@app.callback(invoke_without_command=True)
def about(
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    """A self-hosted management station: mirrors RPM sources and serves them, highly available.

    Exit codes: 0 done, 1 failed, 2 misuse or a bad configuration.
    """
    if version:
        typer.echo(f"station {__version__}")
        raise typer.Exit


@app.command()
def run(config: ConfigFile) -> None:
    """Run the station in the foreground, until SIGTERM or Ctrl-C."""
    from station.cli.config_file import load, warnings

    settings = load(config)
    for warning in warnings(settings):
        typer.echo(f"station: note: {warning}", err=True)
    environment = {
        **os.environ,
        "STATION_CONFIG": str(config.resolve()),
        "STATION_SETTINGS": settings.model_dump_json(),
    }
    sys.stderr.flush()
    # A fresh interpreter in the same process: the supervisor lives for months and needs none of what checked the file.
    os.execve(sys.executable, [sys.executable, "-m", "station.app.supervisor"], environment)


@app.command()
def check(config: ConfigFile, as_json: AsJson = False) -> None:
    """Say every problem of a station.toml, with the cure."""
    from station.cli.config_file import load, warnings
    from station.cli.output import print_json

    settings = load(config)
    notes = warnings(settings)
    for note in notes:
        typer.echo(f"station: note: {note}", err=True)
    if as_json:
        print_json({"config": settings.model_dump(mode="json"), "notes": notes})
    else:
        typer.echo(f"{config} is good")


@app.command()
def lab(
    stations: Annotated[int, typer.Option(min=1, max=9, help="How many stations.")] = 3,
    directory: Annotated[
        Path | None, typer.Option("--dir", metavar="DIR", help="Keep everything here.")
    ] = None,
    upstream: Annotated[
        str | None, typer.Option(metavar="URL", help="Mirror this instead of the demo repository.")
    ] = None,
    shared: Annotated[
        bool, typer.Option("--shared", help="All stations on one storage directory.")
    ] = False,
    network: Annotated[
        str, typer.Option(metavar="A.B.C", help="Loopback network to use; another one each.")
    ] = "127.0.0",
) -> None:
    """Stations, a balancer and a demo repository on this machine, to try things with."""
    from station.lab.main import run_lab

    raise typer.Exit(
        run_lab(
            stations=stations,
            directory=directory,
            upstream=upstream,
            shared=shared,
            network=network,
        )
    )


def main() -> None:
    """Entry point of the `station` command."""
    app(prog_name="station")
