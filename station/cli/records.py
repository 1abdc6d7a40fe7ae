"""`station source|profile|instance`: what the group knows of, written at any station."""

from datetime import datetime, timedelta
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote

import typer

from station.cli.admin import Admin, admin_of
from station.cli.options import (
    MISUSE,
    AsJson,
    MoreSources,
    SocketFromConfig,
    SocketPath,
    Sources,
    fail,
    group,
)
from station.cli.output import (
    Column,
    column,
    print_json,
    print_record,
    print_table,
    print_written,
    short_revision,
)

source = group("Software sources: what can be mirrored.")
profile = group("Profiles: named sets of sources that refer to a station.")
instance = group("Instances: managed hosts.")

# Keys of vendors have 1–10 KiB; the record holds at most this much.
KEY_BYTES_MAX = 262_144
KEY_FETCH_S = 30.0


@source.command("create")
def create_source(
    source_id: Annotated[str, typer.Argument(metavar="ID")],
    url: Annotated[
        str, typer.Option(metavar="URL", help="Directory of the upstream that holds repodata/.")
    ],
    gpgkey: Annotated[
        str, typer.Option(metavar="FILE|URL", help="Armoured OpenPGP key of its packages.")
    ] = "",
    kind: Annotated[
        str,
        typer.Option(
            "--type", metavar="TYPE", help="VENDOR, CUSTOM, VERSIONED, PRIVATE or THIRD_PARTY."
        ),
    ] = "VENDOR",
    arch: Annotated[
        str, typer.Option(metavar="ARCH", help="x86_64, aarch64, i686, src or noarch.")
    ] = "x86_64",
    os_family: Annotated[
        str, typer.Option(metavar="FAMILY", help="Whose packages these are.")
    ] = "ORACLE_LINUX_9",
    display_name: Annotated[str, typer.Option(metavar="TEXT", help="Name for people.")] = "",
    gpgcheck: Annotated[
        bool, typer.Option(help="Whether clients check the packages' signatures.")
    ] = True,
    repo_gpgcheck: Annotated[
        bool, typer.Option(help="Whether we and clients check the metadata's signature.")
    ] = False,
    sslverify: Annotated[
        bool, typer.Option(help="Whether we check the upstream's certificate.")
    ] = True,
    mirror_sync: Annotated[
        bool, typer.Option(help="Whether a private or third-party source may be mirrored.")
    ] = True,
    pin: Annotated[bool, typer.Option("--pin", help="Mirror it without a reference too.")] = False,
    socket: SocketPath = None,
    config: SocketFromConfig = None,
    as_json: AsJson = False,
) -> None:
    """Make a source known to the group. It is mirrored once a profile or an instance refers to it."""
    body = {
        "id": source_id,
        "url": url,
        "gpgkey": key_text(gpgkey),
        "type": kind.upper(),
        "arch": arch,
        "os_family": os_family,
        "display_name": display_name,
        "is_gpg_check_enabled": gpgcheck,
        "is_repo_gpg_check_enabled": repo_gpgcheck,
        "is_sslverify_enabled": sslverify,
        "is_mirror_sync_allowed": mirror_sync,
        "is_pinned": pin,
    }
    answer = admin_of(socket, config).post("/sources", body)
    print_written(answer, f"source {source_id} created", as_json)


@profile.command("create")
def create_profile(
    name: Annotated[str, typer.Argument(metavar="NAME")],
    station: Annotated[str, typer.Option(metavar="STATION", help="Any station of the group.")],
    sources: Sources = None,
    more: MoreSources = None,
    description: Annotated[str, typer.Option(metavar="TEXT", help="A line for people.")] = "",
    arch: Annotated[
        str, typer.Option(metavar="ARCH", help="Architecture of its instances.")
    ] = "x86_64",
    os_family: Annotated[
        str, typer.Option(metavar="FAMILY", help="Family of its instances.")
    ] = "ORACLE_LINUX_9",
    socket: SocketPath = None,
    config: SocketFromConfig = None,
    as_json: AsJson = False,
) -> None:
    """Put sources on the mirror list of every station, for the instances that will register with it."""
    body = {
        "name": name,
        "station": station,
        "sources": [*(sources or ()), *(more or ())],
        "description": description,
        "arch": arch,
        "os_family": os_family,
    }
    answer = admin_of(socket, config).post("/profiles", body)
    print_written(answer, f"profile {name} created", as_json)


@instance.command("create")
def create_instance(
    name: Annotated[str, typer.Argument(metavar="NAME")],
    station: Annotated[str, typer.Option(metavar="STATION", help="Any station of the group.")],
    sources: Sources = None,
    more: MoreSources = None,
    profile_name: Annotated[
        str | None,
        typer.Option("--profile", metavar="PROFILE", help="The profile it is registered with."),
    ] = None,
    arch: Annotated[str, typer.Option(metavar="ARCH", help="Its architecture.")] = "x86_64",
    os_family: Annotated[
        str, typer.Option(metavar="FAMILY", help="Its family.")
    ] = "ORACLE_LINUX_9",
    socket: SocketPath = None,
    config: SocketFromConfig = None,
    as_json: AsJson = False,
) -> None:
    """Record a managed host and the sources it uses."""
    body = {
        "id": name,
        "station": station,
        "sources": [*(sources or ()), *(more or ())],
        "profile": profile_name,
        "arch": arch,
        "os_family": os_family,
    }
    answer = admin_of(socket, config).post("/instances", body)
    print_written(answer, f"instance {name} created", as_json)


@source.command("freeze")
def freeze_source(
    source_id: Annotated[str, typer.Argument(metavar="ID")],
    until: Annotated[
        str, typer.Option(metavar="TIME", help="2026-12-31, 2026-12-31T18:00, or +3d, +12h.")
    ] = "",
    revision: Annotated[
        str, typer.Option(metavar="REVISION", help="Revision to hold; default: the live one.")
    ] = "",
    socket: SocketPath = None,
    config: SocketFromConfig = None,
    as_json: AsJson = False,
) -> None:
    """Hold a source at one revision, on every station."""
    admin = admin_of(socket, config)
    body = {
        "frozen_until": moment(until, datetime.now().astimezone()) if until else None,
        "frozen_revision": revision or live_revision(admin, source_id),
    }
    answer = admin.patch(f"/sources/{quote(source_id, safe='')}", body)
    print_written(answer, f"source {source_id} frozen", as_json)


@profile.command("freeze")
def freeze_profile(
    name: Annotated[str, typer.Argument(metavar="NAME")],
    source_id: Annotated[str, typer.Option("--source", metavar="ID", help="The source to hold.")],
    revision: Annotated[
        str, typer.Option(metavar="REVISION", help="Revision to hold; default: the live one.")
    ] = "",
    socket: SocketPath = None,
    config: SocketFromConfig = None,
    as_json: AsJson = False,
) -> None:
    """Hold one source at one revision for the instances of a profile."""
    admin, path = admin_of(socket, config), f"/profiles/{quote(name, safe='')}"
    frozen = admin.get(path)["frozen"] | {source_id: revision or live_revision(admin, source_id)}
    answer = admin.patch(path, {"frozen": frozen})
    print_written(answer, f"profile {name}: {source_id} frozen", as_json)


@source.command("unfreeze")
def unfreeze_source(
    source_id: Annotated[str, typer.Argument(metavar="ID")],
    socket: SocketPath = None,
    config: SocketFromConfig = None,
    as_json: AsJson = False,
) -> None:
    """Let a source follow its upstream again."""
    body = {"frozen_until": None, "frozen_revision": None}
    answer = admin_of(socket, config).patch(f"/sources/{quote(source_id, safe='')}", body)
    print_written(answer, f"source {source_id} follows its upstream again", as_json)


@profile.command("unfreeze")
def unfreeze_profile(
    name: Annotated[str, typer.Argument(metavar="NAME")],
    source_id: Annotated[str, typer.Option("--source", metavar="ID", help="The held source.")],
    socket: SocketPath = None,
    config: SocketFromConfig = None,
    as_json: AsJson = False,
) -> None:
    """Let a profile see what is live again."""
    admin, path = admin_of(socket, config), f"/profiles/{quote(name, safe='')}"
    frozen = {held: at for held, at in admin.get(path)["frozen"].items() if held != source_id}
    answer = admin.patch(path, {"frozen": frozen})
    print_written(answer, f"profile {name}: {source_id} follows what is live again", as_json)


def live_revision(admin: Admin, source_id: str) -> str:
    """The revision that the station shows now. Ends the program when there is none to hold."""
    for row in admin.get("/mirrors"):
        if row["source"] == source_id and row["revision"]:
            return str(row["revision"])
    fail(f"{source_id} has no revision to hold yet; sync it first, or name one with --revision")


def key_text(where: str) -> str:
    """The armoured key at a file or an http(s) URL; empty for empty. Ends the program when it is none."""
    if not where:
        return ""
    if where.startswith(("http://", "https://")):
        data = _fetched(where)
    else:
        path = Path(where.removeprefix("file://"))
        try:
            data = path.read_bytes()
        except OSError as error:
            fail(f"--gpgkey: {path}: {error.strerror}", MISUSE)
    if b"-----BEGIN PGP PUBLIC KEY BLOCK-----" not in data:
        fail(f"--gpgkey: {where} is no armoured public key; `gpg --enarmor` makes one", MISUSE)
    if len(data) > KEY_BYTES_MAX:
        fail(f"--gpgkey: {where} has {len(data)} bytes; at most {KEY_BYTES_MAX} are kept", MISUSE)
    return data.decode("utf-8", "replace")


def _fetched(url: str) -> bytes:
    import httpx

    try:
        answer = httpx.get(url, timeout=KEY_FETCH_S, follow_redirects=True)
        answer.raise_for_status()
    except httpx.HTTPError as error:
        fail(f"--gpgkey: {url}: {error}")
    return answer.content


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


def _add_reading(app: typer.Typer, path: str, singular: str, columns: list[Column]) -> None:
    """list, show and delete are the same for every kind of record."""

    @app.command("list", help=f"All {singular}s of the group.")
    def list_all(
        socket: SocketPath = None, config: SocketFromConfig = None, as_json: AsJson = False
    ) -> None:
        rows: list[dict[str, Any]] = admin_of(socket, config).get(path)
        if as_json:
            print_json(rows)
        else:
            print_table(rows, columns, f"no {singular}s yet")

    @app.command("show", help=f"Everything about one {singular}.")
    def show(
        name: str,
        socket: SocketPath = None,
        config: SocketFromConfig = None,
        as_json: AsJson = False,
    ) -> None:
        record = admin_of(socket, config).get(f"{path}/{quote(name, safe='')}")
        (print_json if as_json else print_record)(record)

    @app.command("delete", help=f"Delete one {singular} and every reference it has part in.")
    def delete(
        name: str,
        socket: SocketPath = None,
        config: SocketFromConfig = None,
        as_json: AsJson = False,
    ) -> None:
        answer = admin_of(socket, config).delete(f"{path}/{quote(name, safe='')}")
        print_written(answer, f"{singular} {name} deleted", as_json)


_add_reading(
    source,
    "/sources",
    "source",
    [
        column("SOURCE", "id"),
        column("TYPE", "type"),
        column("ARCH", "arch"),
        ("FROZEN AT", lambda row: short_revision(row.get("frozen_revision"))),
        column("UPSTREAM", "url"),
    ],
)
_add_reading(
    profile,
    "/profiles",
    "profile",
    [column("PROFILE", "name"), column("STATION", "station"), column("SOURCES", "sources")],
)
_add_reading(
    instance,
    "/instances",
    "instance",
    [
        column("INSTANCE", "id"),
        column("STATION", "station"),
        column("PROFILE", "profile"),
        column("SOURCES", "sources"),
    ],
)
