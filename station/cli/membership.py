"""`station group|join|station|peer|storage|status`: who belongs together, and how they are."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import quote

import typer

from station.cli.admin import admin_of
from station.cli.config_file import load
from station.cli.join_token import TokenArgument, token_text
from station.cli.options import (
    MISUSE,
    AsJson,
    ConfigFile,
    SocketFromConfig,
    SocketPath,
    fail,
    group,
)
from station.cli.output import (
    column,
    print_json,
    print_record,
    print_table,
    print_written,
    short_revision,
    time_text,
)

if TYPE_CHECKING:
    from station.config.schema import Config

ha_group = group("The HA group that this station is part of.")
stations = group("The stations of the group.")
trust = group("Whom instances believe beside the group's own CA.")
peers = group("The other stations, as this one sees them.")
storage = group("The storage path of this host.")

SharedStorage = Annotated[
    bool,
    typer.Option(
        "--shared-storage",
        help="The storage is shared with another station: leave its marker to `storage init`.",
    ),
]


@ha_group.command("create")
def create_group(
    config: ConfigFile, shared_storage: SharedStorage = False, as_json: AsJson = False
) -> None:
    """Make a new group with this station as its first member."""
    from station.peering import group as peering_group
    from station.peering.identity import IdentityError
    from station.peering.keys import KeysInvalid

    settings = load(config)
    try:
        identity = peering_group.create_group(settings)
    except (IdentityError, KeysInvalid, ValueError) as error:
        fail(str(error), MISUSE)
    except OSError as error:
        fail(f"{settings.state_directory}: {error.strerror or error}")
    mark_if_empty(settings, identity.group, shared_storage)
    print_identity(identity.station, identity.group, as_json)


@ha_group.command("token")
def group_token(
    socket: SocketPath = None, config: SocketFromConfig = None, as_json: AsJson = False
) -> None:
    """Print a token that lets one more station join, once, within the hour."""
    answer = admin_of(socket, config).post("/group/token")
    print_json(answer) if as_json else typer.echo(answer["token"])


@trust.command("list")
def list_trust(
    socket: SocketPath = None, config: SocketFromConfig = None, as_json: AsJson = False
) -> None:
    """The authorities that instances believe beside the group's own CA."""
    rows: list[dict[str, Any]] = admin_of(socket, config).get("/group/trust")
    columns = [
        column("AUTHORITY", "subject"),
        ("ENDS", lambda row: time_text(row.get("ends"))),
        column("FINGERPRINT", "fingerprint"),
    ]
    print_json(rows) if as_json else print_table(rows, columns, "the group's own CA, and no other")


@trust.command("set")
def set_trust(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="Their certificates, PEM; /dev/null for none.")
    ],
    socket: SocketPath = None,
    config: SocketFromConfig = None,
    as_json: AsJson = False,
) -> None:
    """Let instances believe these authorities too, instead of those set before; they take it at their next check-in.

    Before `mirror.sslcert` names a certificate from elsewhere, its authority has to be known to the instances.
    """
    try:
        pem = file.read_text(encoding="ascii", errors="replace")
    except OSError as error:
        fail(f"{file}: {error.strerror or error}", MISUSE)
    answer = admin_of(socket, config).put("/group/trust", {"pem": pem})
    count = len(answer["result"])
    print_written(answer, f"instances believe {count} more beside the group's CA", as_json)


def join(
    token: TokenArgument,
    host: Annotated[str, typer.Argument(help="Name or address of any member, HOST[:PORT].")],
    config: ConfigFile,
    shared_storage: SharedStorage = False,
    as_json: AsJson = False,
) -> None:
    """Make this station a member of the group that HOST belongs to."""
    from station.peering import join as peering_join
    from station.peering.identity import IdentityError
    from station.peering.token import TokenInvalid

    settings = load(config)
    try:
        identity = peering_join.join_group(settings, token_text(token), host)
    except (IdentityError, TokenInvalid) as error:
        fail(str(error), MISUSE)
    except peering_join.JoinError as error:
        fail(str(error))
    except OSError as error:
        fail(f"{settings.state_directory}: {error.strerror or error}")
    mark_if_empty(settings, identity.group, shared_storage)
    print_identity(identity.station, identity.group, as_json)


@storage.command("init")
def init_storage(config: ConfigFile, as_json: AsJson = False) -> None:
    """Mark the storage path as this group's, and go on with it. Nothing is ever written where the marker is not."""
    from station.peering.identity import GroupIdentity, IdentityError

    settings = load(config)
    try:
        identity = GroupIdentity.load(Path(settings.state_directory))
    except IdentityError as error:
        fail(str(error), MISUSE)
    storage_id = _mark(Path(settings.mirror.directory), identity.group)
    _remember(Path(settings.state_directory), storage_id)
    if as_json:
        print_json({"directory": settings.mirror.directory, "storage_id": storage_id})
    else:
        typer.echo(f"{settings.mirror.directory} is storage {storage_id}")


@stations.command("list")
def list_stations(
    socket: SocketPath = None, config: SocketFromConfig = None, as_json: AsJson = False
) -> None:
    """Every station of the group, this one too."""
    rows: list[dict[str, Any]] = admin_of(socket, config).get("/stations")
    columns = [
        column("STATION", "name"),
        column("ADDRESS", "address"),
        column("PEER PORT", "peer_port"),
        column("STATE", "state"),
        column("STORAGE", "storage_path"),
    ]
    print_json(rows) if as_json else print_table(rows, columns, "no stations known yet")


@stations.command("forget")
def forget_station(
    name: str,
    move_to: Annotated[
        str, typer.Option(metavar="STATION", help="Give its profiles and instances to this one.")
    ] = "",
    socket: SocketPath = None,
    config: SocketFromConfig = None,
    as_json: AsJson = False,
) -> None:
    """Remove a station for good: its certificate is refused everywhere from then on."""
    parameters = {"move_to": move_to} if move_to else {}
    answer = admin_of(socket, config).delete(f"/stations/{quote(name, safe='')}", **parameters)
    print_written(answer, f"station {name} forgotten", as_json)


@peers.command("list")
def list_peers(
    socket: SocketPath = None, config: SocketFromConfig = None, as_json: AsJson = False
) -> None:
    """The other stations: present or not, and what each shows its clients."""
    rows: list[dict[str, Any]] = admin_of(socket, config).get("/peers")
    columns = [
        column("PEER", "name"),
        column("ADDRESS", "address"),
        column("STATE", "state"),
        ("SEEN", lambda row: _seconds(row.get("last_seen_s"), "s ago")),
        ("CLOCK", lambda row: _seconds(row.get("clock_offset_ms"), "ms")),
        ("LIVE", lambda row: _live(row.get("live"))),
    ]
    print_json(rows) if as_json else print_table(rows, columns, "no peers: this station is alone")


def status(
    socket: SocketPath = None, config: SocketFromConfig = None, as_json: AsJson = False
) -> None:
    """How this station is: ready or why not, its storage, its mirrors."""
    answer: dict[str, Any] = admin_of(socket, config).get("/status")
    (print_json if as_json else print_record)(answer)


def _seconds(value: object, unit: str) -> str:
    return f"{value:.1f} {unit}" if isinstance(value, int | float) else "-"


def _live(value: object) -> str:
    if not isinstance(value, dict) or not value:
        return "-"
    return "\n".join(f"{source} {short_revision(revision)}" for source, revision in value.items())


def print_identity(station: str, group_id: str, as_json: bool) -> None:
    if as_json:
        print_json({"station": station, "group": group_id})
    else:
        typer.echo(f"station {station} is a member of group {group_id}; start it: station run")


def mark_if_empty(settings: "Config", group_id: str, shared_storage: bool) -> None:
    """An empty storage path becomes the group's at once; one that holds anything is left to a person."""
    path = Path(settings.mirror.directory)
    try:
        path.mkdir(parents=True, exist_ok=True)
        is_empty = not any(path.iterdir())
    except OSError as error:
        fail(f"{path}: {error.strerror}; mend it, then run `station storage init`")
    if is_empty and not shared_storage:
        _mark(path, group_id)


def _mark(directory: Path, group_id: str) -> str:
    from station.storage.errors import StorageError
    from station.storage.layout import Layout
    from station.storage.marker import init_storage

    try:
        return init_storage(Layout(directory), group_id).storage_id
    except StorageError as error:
        fail(f"{directory}: {error}")
    except OSError as error:
        fail(f"{directory}: {error.strerror or error}")


def _remember(state_directory: Path, storage_id: str) -> None:
    """Whoever marks a storage means it: a station that ran with another one takes this one from now on."""
    from station.storage.remembered import remember_storage

    try:
        remember_storage(state_directory, storage_id)
    except OSError as error:
        fail(f"{state_directory}: {error.strerror or error}")
