"""`station profile key|command`, `station instance rsp|list|switch`: how machines register, and how they are."""

from typing import Annotated, Any
from urllib.parse import quote

import typer

from station.cli.admin import admin_of
from station.cli.options import MISUSE, AsJson, SocketFromConfig, SocketPath, fail, group
from station.cli.output import column, print_json, print_table, print_written, time_text

key = group("Install keys: with one of them a machine registers with the profile.")

ProfileName = Annotated[str, typer.Argument(metavar="PROFILE")]
Expires = Annotated[
    str, typer.Option(metavar="TIME", help="How long it is good: 30m, 12h, 7d, 4w.")
]
Uses = Annotated[
    int, typer.Option(metavar="N", min=0, help="How many machines may use it; 0: any number.")
]
_UNIT_S = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}


@key.command("create")
def create_key(
    profile: ProfileName,
    expires: Expires = "7d",
    uses: Uses = 0,
    socket: SocketPath = None,
    config: SocketFromConfig = None,
    as_json: AsJson = False,
) -> None:
    """Make an install key and print it, this once: the stations keep only its hash."""
    path = f"/profiles/{quote(profile, safe='')}/keys"
    answer = admin_of(socket, config).post(path, {"life_s": life_s(expires), "uses": uses})
    if as_json:
        print_json(answer)
    else:
        typer.echo(answer["key"])
        typer.echo(f"install key {answer['result']['id']} of profile {profile}", err=True)


@key.command("list")
def list_keys(
    profile: ProfileName,
    socket: SocketPath = None,
    config: SocketFromConfig = None,
    as_json: AsJson = False,
) -> None:
    """The install keys of a profile; never their secrets."""
    rows: list[dict[str, Any]] = admin_of(socket, config).get(
        f"/profiles/{quote(profile, safe='')}/keys"
    )
    if as_json:
        print_json(rows)
        return
    columns = [
        column("KEY", "id"),
        ("EXPIRES", lambda row: time_text(row.get("expires"))),
        column("USES", "uses"),
        ("AT MOST", lambda row: str(row["uses_max"] or "-")),
        column("STATE", "state"),
    ]
    print_table(rows, columns, f"no install keys for {profile} yet")


@key.command("revoke")
def revoke_key(
    profile: ProfileName,
    key_id: Annotated[str, typer.Argument(metavar="KEY", help="As `key list` shows it.")],
    socket: SocketPath = None,
    config: SocketFromConfig = None,
    as_json: AsJson = False,
) -> None:
    """No machine registers with this key any more; those that did stay."""
    path = f"/profiles/{quote(profile, safe='')}/keys/{quote(key_id, safe='')}"
    answer = admin_of(socket, config).delete(path)
    print_written(answer, f"install key {key_id} revoked", as_json)


def command(
    profile: ProfileName,
    by_proxy: Annotated[
        bool, typer.Option("--by-proxy", help="For machines that reach only the proxy port.")
    ] = False,
    socket: SocketPath = None,
    config: SocketFromConfig = None,
    as_json: AsJson = False,
) -> None:
    """Print the one command that registers a machine; it asks there for an install key of the profile."""
    path = f"/profiles/{quote(profile, safe='')}/command"
    answer = admin_of(socket, config).get(path, by_proxy="true" if by_proxy else "false")
    if as_json:
        print_json(answer)
    else:
        typer.echo(answer["command"])


def rsp(
    profile: ProfileName,
    expires: Expires = "7d",
    uses: Uses = 0,
    socket: SocketPath = None,
    config: SocketFromConfig = None,
    as_json: AsJson = False,
) -> None:
    """Print a response file with a new install key, for `instance-setup.sh --response-file`."""
    path = f"/profiles/{quote(profile, safe='')}/response-file"
    answer = admin_of(socket, config).post(path, {"life_s": life_s(expires), "uses": uses})
    if as_json:
        print_json(answer)
    else:
        typer.echo(answer["text"], nl=False)


def list_instances(
    socket: SocketPath = None,
    config: SocketFromConfig = None,
    as_json: AsJson = False,
) -> None:
    """All instances of the group, and how they are.

    NORMAL; WARNING: silent for 10 minutes, UNREACHABLE: for an hour; ONBOARDING: not heard of yet; REBOOTING: said
    that it goes down to boot; DELETING: deleted, and does not know it yet; ERROR, REGISTRATION_ERROR: `station
    instance show` has the reason.
    """
    admin = admin_of(socket, config)
    statuses = admin.get("/instance-statuses")
    rows = [row | statuses.get(row["id"], {}) for row in admin.get("/instances")]
    if as_json:
        print_json(rows)
        return
    columns = [
        column("INSTANCE", "id"),
        column("NAME", "display_name"),
        column("STATUS", "status"),
        ("LAST SEEN", lambda row: time_text(row.get("last_seen"))),
        column("STATION", "station"),
        column("PROFILE", "profile"),
        column("SOURCES", "sources"),
        column("SAME MACHINE AS", "same_machine"),
    ]
    print_table(rows, columns, "no instances yet")


def switch(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="[INSTANCE]...", help="Which; by their ids.")
    ] = None,
    to: Annotated[
        str, typer.Option("--to", metavar="STATION", help="The station they refer to from now on.")
    ] = "",
    previous: Annotated[
        str, typer.Option("--from", metavar="STATION", help="All that refer to this station.")
    ] = "",
    profile: Annotated[
        str, typer.Option(metavar="PROFILE", help="All that registered with this profile.")
    ] = "",
    socket: SocketPath = None,
    config: SocketFromConfig = None,
    as_json: AsJson = False,
) -> None:
    """Let instances refer to another station: one, several, all of a station or of a profile; all of them or none.

    Without a balancer, where the group's hostname is a station's own address, they go to the new station's address
    from their next check-in on.
    """
    if not to:
        fail("--to STATION says where they go", MISUSE)
    given = {"instances": names, "from": previous, "profile": profile}
    body = {key: value for key, value in given.items() if value}
    if not body:
        fail("which? give their ids, --from STATION or --profile PROFILE", MISUSE)
    answer = admin_of(socket, config).post("/instance-switch", body | {"to": to})
    count = len(answer["result"]["switched"])
    print_written(answer, f"{count} instance{'s' * (count != 1)} switched to {to}", as_json)


def delete(
    name: str,
    force: Annotated[
        bool, typer.Option("--force", help="Now, whether the machine hears of it or not.")
    ] = False,
    socket: SocketPath = None,
    config: SocketFromConfig = None,
    as_json: AsJson = False,
) -> None:
    """Delete an instance and what it refers to.

    One that registered is DELETING until it has put its previous .repo files back, at its next check-in, or two weeks
    have passed.
    """
    parameters = {"force": "true"} if force else {}
    answer = admin_of(socket, config).delete(f"/instances/{quote(name, safe='')}", **parameters)
    until = answer["result"].get("deleted_by")
    said = f"is DELETING: it puts its previous .repo files back, or is gone {time_text(until)}"
    print_written(answer, f"instance {name} {said if until else 'deleted'}", as_json)


def life_s(text: str) -> float:
    """`7d` in seconds. Ends the program when it is no length of time."""
    number, unit = text[:-1], text[-1:]
    if unit not in _UNIT_S or not (number.isascii() and number.isdecimal() and len(number) <= 6):
        fail(f"--expires: {text!r} is no length of time; write 12h or 7d", MISUSE)
    return float(int(number) * _UNIT_S[unit])


def add_to(profile: typer.Typer, instance: typer.Typer) -> None:
    """Put the commands into the groups of the records."""
    profile.add_typer(key, name="key")
    profile.command("command")(command)
    instance.command("rsp")(rsp)
    instance.command("list")(list_instances)
    instance.command("switch")(switch)
    instance.command("delete")(delete)
