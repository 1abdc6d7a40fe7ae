"""`station station show|update`: one station's record, and a change of it that says first what follows."""

import shlex
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote

import typer

from station.cli.admin import admin_of
from station.cli.config_file import load, why_unreadable
from station.cli.options import MISUSE, AsJson, ConfigFile, SocketFromConfig, SocketPath, fail
from station.cli.output import plain, print_json, print_record, print_written
from station.config.parse import ConfigError, parse_config
from station.config.patch import Value, patch_toml
from station.config.schema import Config, setting_keys

# All stations have these in common; one that changed them alone would leave its group.
# By key: where the group's value stands in what a station says of itself.
GROUP_KEYS = {
    "compartment": ("compartment",),
    "hostname": ("hostname",),
    "proxy.port": ("ports", "proxy"),
    "mirror.port": ("ports", "http"),
    "mirror.sslport": ("ports", "https"),
}
FIXED_KEYS = frozenset({"name", "state_directory"})
# A change of these can part clients from this station.
CUTTING_KEYS = ("proxy.", "mirror.", "address", "listen", "balancers", "limits.")


NewPort = Annotated[
    int | None,
    typer.Option(
        metavar="PORT", min=1, max=65535, help="Every station must serve it, beside the old one."
    ),
]


def update_group(
    hostname: Annotated[
        str, typer.Option(metavar="NAME", help="What clients shall call the group from now on.")
    ] = "",
    compartment: Annotated[
        str, typer.Option(metavar="TEXT", help="What the stations have in common.")
    ] = "",
    proxy_port: NewPort = None,
    http_port: NewPort = None,
    https_port: NewPort = None,
    age_out: Annotated[
        int | None,
        typer.Option(
            metavar="DAYS",
            min=0,
            help="After how many days of silence an instance's own references count no more; 0: never.",
        ),
    ] = None,
    sync_every: Annotated[
        int | None,
        typer.Option(metavar="HOURS", min=1, help="How often each upstream is looked at."),
    ] = None,
    socket: SocketPath = None,
    config: SocketFromConfig = None,
    as_json: AsJson = False,
) -> None:
    """Give the group another hostname or another port: registered instances follow at their next check-in.

    Say the same in each station.toml then: `station station update NAME hostname=…`. Or change how long silent
    instances count, and how often upstreams are looked at.
    """
    body: dict[str, Any] = {"hostname": hostname, "compartment": compartment}
    body = {key: value for key, value in body.items() if value}
    if age_out is not None:
        body["age_out_days"] = age_out
    if sync_every is not None:
        body["sync_every_h"] = sync_every
    ports = {"proxy": proxy_port, "http": http_port, "https": https_port}
    if given := {kind: port for kind, port in ports.items() if port is not None}:
        body["ports"] = given
    if not body:
        known = "--hostname, --compartment, a port, --age-out or --sync-every"
        fail(f"nothing to change: give {known}", MISUSE)
    answer = admin_of(socket, config).patch("/group", body)
    print_written(answer, f"the group has {plain(body)} now", as_json)


def show(
    name: str, socket: SocketPath = None, config: SocketFromConfig = None, as_json: AsJson = False
) -> None:
    """Everything about one station: its record, the group's part of it, its peers, and who refers to it."""
    record = admin_of(socket, config).get(f"/stations/{quote(name, safe='')}")
    (print_json if as_json else print_record)(record)


def update(
    name: Annotated[str, typer.Argument(help="The station of this host.")],
    settings: Annotated[
        list[str],
        typer.Argument(metavar="KEY=VALUE...", help="As in station.toml: proxy.hosts=10.0.0.0/8"),
    ],
    config: ConfigFile,
    yes: Annotated[
        bool, typer.Option("--yes", help="Do it; without, only say what follows.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Change settings of this host's station.toml, the rest of it stays; says first who and what is touched."""
    old = load(config)
    if old.name != name:
        fail(f"{config} is of station {old.name}: run this on the host of {name}", MISUSE)
    changes = dict(_assignment(text, old) for text in settings)
    text = config.read_text(encoding="utf-8")
    try:
        text = patch_toml(text, changes)
        new = parse_config(text, why_unreadable)
    except (ValueError, ConfigError) as error:
        fail(str(error), MISUSE)
    preview = _preview(old, new, changes)
    if as_json:
        print_json(preview)
    else:
        print_record(preview)
    if not yes:
        typer.echo("station: note: nothing was changed; add --yes to do it", err=True)
        return
    beside = config.with_name(f".{config.name}.new")
    try:
        found = config.stat()
        beside.write_text(text, encoding="utf-8")
        beside.chmod(found.st_mode & 0o777)
        beside.rename(config)
    except OSError as error:
        fail(f"{config}: {error.strerror or error}")


def _assignment(text: str, old: Config) -> tuple[str, Value]:
    key, equals, given = text.partition("=")
    if not equals or key not in setting_keys():
        fail(f"{text!r}: expected KEY=VALUE with a key of station.toml", MISUSE)
    if key in GROUP_KEYS and not _is_the_groups(old, key, given):
        fail(f"{key} is the group's: equal on all stations, and not changed on one alone", MISUSE)
    if key in FIXED_KEYS:
        fail(f"{key} is what makes this station itself; it cannot be changed", MISUSE)
    value: Value
    if isinstance(_value(old, key), tuple) and not given.startswith("["):
        value = [part for part in given.split(",") if part]
    else:
        try:
            value = tomllib.loads(f"value = {given}")["value"]
        except tomllib.TOMLDecodeError:
            value = given
    return key, value


def _is_the_groups(old: Config, key: str, given: str) -> bool:
    """Whether the file only follows what `station group update` has changed."""
    path = Path(old.admin.socket)
    if not path.exists():
        return False
    value = admin_of(path, None).get(f"/stations/{quote(old.name, safe='')}")
    for part in GROUP_KEYS[key]:
        value = value[part]
    return str(value) == given


def _preview(old: Config, new: Config, changes: Mapping[str, Value]) -> dict[str, Any]:
    from station.app.plan import needs_restart
    from station.cli.host import plan_of

    changed = [key for key in changes if _value(old, key) != _value(new, key)]
    restart = needs_restart(old.model_dump(mode="json"), new.model_dump(mode="json"))
    touched: dict[str, Any] = {}
    if any(key.startswith(CUTTING_KEYS) for key in changed):
        path = Path(old.admin.socket)
        if path.exists():
            facts = admin_of(path, None).get(f"/stations/{quote(old.name, safe='')}")
            touched = {kind: facts[kind] for kind in ("instances", "profiles", "peers")}
    plan = plan_of(new)
    host = [f"write {path}" for path in plan.files] + [shlex.join(c) for c in plan.commands]
    return {
        "changes": {
            key: f"{plain(_value(old, key))} → {plain(_value(new, key))}" for key in changed
        },
        "referring instances": touched.get("instances", []),
        "referring profiles": touched.get("profiles", []),
        "clients meanwhile go to": touched.get("peers", []),
        "host (station configure)": host,
        "then": "systemctl restart station" if restart else "systemctl reload station",
    }


def _value(config: Config, key: str) -> Any:
    value: Any = config
    for part in key.split("."):
        value = getattr(value, part)
    return value
