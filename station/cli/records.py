"""`station source|profile|instance`: what the group knows of, written at any station."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote

import typer

from station.cli.admin import admin_of
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


def _add_reading(app: typer.Typer, path: str, singular: str, columns: list[Column] | None) -> None:
    """list, show and delete are the same for every kind of record; without columns, list and delete are elsewhere."""

    def list_all(
        socket: SocketPath = None, config: SocketFromConfig = None, as_json: AsJson = False
    ) -> None:
        rows: list[dict[str, Any]] = admin_of(socket, config).get(path)
        if as_json:
            print_json(rows)
        else:
            print_table(rows, columns or [], f"no {singular}s yet")

    if columns is not None:
        app.command("list", help=f"All {singular}s of the group.")(list_all)

    @app.command("show", help=f"Everything about one {singular}.")
    def show(
        name: str,
        socket: SocketPath = None,
        config: SocketFromConfig = None,
        as_json: AsJson = False,
    ) -> None:
        record = admin_of(socket, config).get(f"{path}/{quote(name, safe='')}")
        (print_json if as_json else print_record)(record)

    def delete(
        name: str,
        socket: SocketPath = None,
        config: SocketFromConfig = None,
        as_json: AsJson = False,
    ) -> None:
        answer = admin_of(socket, config).delete(f"{path}/{quote(name, safe='')}")
        print_written(answer, f"{singular} {name} deleted", as_json)

    if columns is not None:
        text = f"Delete one {singular} and every reference it has part in."
        app.command("delete", help=text)(delete)


def frozen_text(row: Mapping[str, Any]) -> str:
    """What a source is frozen at, for people."""
    if not row.get("is_frozen"):
        return "-"
    return short_revision(row["frozen_revision"]) if row.get("frozen_revision") else "what is live"


_add_reading(
    source,
    "/sources",
    "source",
    [
        column("SOURCE", "id"),
        column("TYPE", "type"),
        column("ARCH", "arch"),
        ("FROZEN AT", frozen_text),
        column("UPSTREAM", "url"),
    ],
)
_add_reading(
    profile,
    "/profiles",
    "profile",
    [column("PROFILE", "name"), column("STATION", "station"), column("SOURCES", "sources")],
)
_add_reading(instance, "/instances", "instance", None)
