"""`station replace`: a new machine becomes a station whose machine is gone; the other stations know all the rest."""

import grp
import os
import pwd
import shutil
from pathlib import Path
from typing import Annotated

import typer

from station.cli.config_file import load
from station.cli.join_token import TokenArgument, token_text
from station.cli.membership import SharedStorage, mark_if_empty, print_identity
from station.cli.options import MISUSE, AsJson, ConfigFile, fail

CONFIG_MODE = 0o640


def replace(
    name: Annotated[str, typer.Argument(help="The dead station.")],
    token: TokenArgument,
    host: Annotated[str, typer.Argument(help="Name or address of any member, HOST[:PORT].")],
    config: ConfigFile,
    address: Annotated[
        str, typer.Option(metavar="ADDRESS", help="Of this host, when it differs from the old one.")
    ] = "",
    user: Annotated[
        str,
        typer.Option(metavar="USER", help="As root: whom the station runs as, its files' owner."),
    ] = "",
    shared_storage: SharedStorage = False,
    as_json: AsJson = False,
) -> None:
    """Take over the name, configuration and place of a dead station, on a new machine.

    A configuration file that is not there yet is written as the group knows it.
    """
    from station.peering import join as peering_join
    from station.peering.identity import IdentityError
    from station.peering.token import TokenInvalid

    secret = token_text(token)
    try:
        if not config.exists():
            _write_config(config, name, secret, host, address)
            if user:
                shutil.chown(config, group=user)
        if user:
            _become(user)
        settings = load(config)
        if settings.name != name:
            fail(f"{config} is of station {settings.name}, not of {name}", MISUSE)
        if address and settings.address != address:
            fail(f"{config} has the address {settings.address!r}, not {address}: mend it", MISUSE)
        identity = peering_join.join_group(settings, secret, host, replaces=name)
    except (IdentityError, TokenInvalid) as error:
        fail(str(error), MISUSE)
    except peering_join.JoinError as error:
        fail(str(error))
    except LookupError:
        fail(f"no user {user!r} on this host; `systemd-sysusers` makes it", MISUSE)
    except OSError as error:
        fail(f"{error.filename or config}: {error.strerror or error}")
    mark_if_empty(settings, identity.group, shared_storage)
    print_identity(identity.station, identity.group, as_json)


def _write_config(config: Path, name: str, token: str, host: str, address: str) -> None:
    from station.peering.join import facts_of
    from station.setup.station_toml import render_station_toml

    group, station = facts_of(name, token, host)
    if address:
        station = station.model_copy(update={"address": address})
    config.touch(mode=CONFIG_MODE)
    config.write_text(render_station_toml(group, station), encoding="utf-8")
    typer.echo(f"station: note: {config} was written from the group's record of {name}", err=True)
    if station.proxy_forward:
        typer.echo("station: note: if proxy.forward needs a password, add it to the file", err=True)


def _become(user: str) -> None:
    """Give up root: what is written from now on belongs to the user. Raises KeyError, OSError."""
    entry = pwd.getpwnam(user)
    grp.getgrgid(entry.pw_gid)
    os.initgroups(user, entry.pw_gid)
    os.setgid(entry.pw_gid)
    os.setuid(entry.pw_uid)
