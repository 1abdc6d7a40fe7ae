"""`station diagnose`: what somebody needs who is to find a fault from afar, in one file, without secrets."""

import io
import json
import os
import sys
import tarfile
import tomllib
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote

import typer

from station import __version__
from station.cli import host_facts
from station.cli.admin import DEFAULT_SOCKET, Admin, Unanswered
from station.cli.config_file import why_unreadable
from station.cli.host import DEFAULT_CONFIG
from station.cli.options import MISUSE, AsJson, SocketPath, fail
from station.cli.output import print_json
from station.config.masking import masked_settings, masked_toml, secret_words
from station.config.parse import ConfigError, advice, parse_config
from station.config.schema import Config
from station.setup.bundle import Bundle

ANSWER_S = 10.0  # each; a station that says nothing is asked no further

Asked = tuple[str, str, Callable[[], str]]  # a file, what it is, and who makes it

# What the station is asked: file, path, what it is.
ANSWERS = (
    ("status.json", "/status", "`station status`"),
    ("stations.json", "/stations", "`station station list`"),
    ("peers.json", "/peers", "`station peer list`"),
    ("mirrors.json", "/mirrors", "`station mirror list`"),
    ("mirrors-status.json", "/mirrors/status", "`station mirror status`: who shows what, how long they differed"),
    ("sources.json", "/sources", "`station source list`"),
    ("profiles.json", "/profiles", "`station profile list`"),
    ("trust.json", "/group/trust", "`station group trust list`"),
    ("registry.json", "/registry", "the group's record; digest, conflicts, statuses and alarms of the gossip"),
)  # fmt: skip


def diagnose(
    file: Annotated[
        str,
        typer.Argument(metavar="[FILE]", help="Or a directory for it; - for standard output."),
    ] = "",
    config: Annotated[
        Path | None,
        typer.Option(
            "--config",
            metavar="FILE",
            help=f"The station.toml of this host; default: {DEFAULT_CONFIG}.",
        ),
    ] = None,
    socket: SocketPath = None,
    as_json: AsJson = False,
) -> None:
    """Write a .tar.gz for who is to find a fault: states, records, versions, processes, journal; no secrets.

    It works as far as it can when the station does not run. MANIFEST.txt in it says what each file is, and what could
    not be had. Run it as root, or as the station's user: others see less.
    """
    if file == "-" and as_json:
        fail("--json goes to standard output too: give a FILE", MISUSE)
    now = datetime.now(UTC)
    settings, bundle = _begin(config or DEFAULT_CONFIG, now)
    own = Path(settings.admin.socket) if settings else DEFAULT_SOCKET
    # As everywhere: a --config on the command line beats a STATION_SOCKET in the environment.
    from_environment = str(socket) == os.environ.get("STATION_SOCKET")
    admin = Admin(own if socket is None or (config and from_environment) else socket, ANSWER_S)
    name = _add_answers(bundle, admin) or (settings.name if settings else "unknown")
    _add_host(bundle, admin.socket, settings)
    stem = f"station-diagnose-{name}-{now:%Y%m%dT%H%M%SZ}"
    packed = _packed(bundle, stem, now)
    if file == "-":
        sys.stdout.buffer.write(packed)
        sys.stdout.buffer.flush()
        return
    path = Path(file) / f"{stem}.tar.gz" if not file or Path(file).is_dir() else Path(file)
    _write(path, packed)
    if as_json:
        print_json({"file": str(path), "left_out": bundle.left_out()})
        return
    typer.echo(path)
    for missing, why in sorted(bundle.left_out().items()):
        typer.echo(f"station: {missing} is not in it: {why}", err=True)


def _begin(path: Path, now: datetime) -> tuple[Config | None, Bundle]:
    """The settings, None when they are bad or missing, and a bundle that knows what is secret in them."""
    head = [
        f"Diagnosis of a management station, made {now:%Y-%m-%d %H:%M:%SZ} by station {__version__}."
    ]
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        bundle = Bundle(head)
        why = f"{path}: {error.strerror if isinstance(error, OSError) else 'is not UTF-8 text'}"
        for name in ("station.toml", "settings.json", "check.txt"):
            bundle.leave_out(name, why)
        return None, bundle
    bundle = Bundle(head, secret_words(_raw(text)))
    shown = masked_toml(text)
    if shown is None:
        bundle.leave_out("station.toml", "its secrets cannot be told from the rest for certain")
    else:
        bundle.add("station.toml", f"{path}, without passwords", shown)
    try:
        settings = parse_config(text, why_unreadable)
    except ConfigError as error:
        # Without the values: one of them may be what is secret.
        lines = [f"{problem.key}: {problem.cure}" for problem in error.problems]
        bundle.add("check.txt", "problems of the configuration", "\n".join(lines))
        bundle.leave_out("settings.json", "the configuration has problems: see check.txt")
        return None, bundle
    bundle.add("check.txt", "notes of `station check`", "\n".join(advice(settings)) or "good")
    values = masked_settings(settings.model_dump(mode="json"))
    bundle.add(
        "settings.json", "every setting with its default, `station check --json`", _json(values)
    )
    return settings, bundle


def _raw(text: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return {}


def _add_answers(bundle: Bundle, admin: Admin) -> str:
    """What the running station says; its name, empty when it says nothing."""
    names: list[str] = []

    def answer(path: str) -> str:
        said = json.loads(admin.tried(path))
        names.extend([said["name"]] if path == "/status" else [])
        return _json(said)

    asked: list[Asked] = [(name, what, partial(answer, path)) for name, path, what in ANSWERS]
    asked += [
        ("instances.json", "`station instance list`", lambda: _json(_instances(admin))),
        ("revisions.json", "`station mirror revisions`, by source", lambda: _json(_revisions(admin))),
        ("metrics.txt", "what /metrics says", lambda: admin.tried("/metrics")),
    ]  # fmt: skip
    silent = ""
    for name, what, ask in asked:
        try:
            if silent:
                raise Unanswered(silent, is_silent=True)
            bundle.add(name, what, ask())
        except Unanswered as error:
            silent = str(error) if error.is_silent else ""
            bundle.leave_out(name, str(error))
    return "".join(names)


def _instances(admin: Admin) -> list[dict[str, Any]]:
    """Without the hash of each one's secret."""
    statuses = json.loads(admin.tried("/instance-statuses"))
    rows: list[dict[str, Any]] = json.loads(admin.tried("/instances"))
    for row in rows:
        row.pop("secret_digest", None)
        row |= statuses.get(row["id"], {})
    return rows


def _revisions(admin: Admin) -> dict[str, Any]:
    sources = [row["source"] for row in json.loads(admin.tried("/mirrors"))]
    return {s: json.loads(admin.tried(f"/mirrors/{quote(s, safe='')}/revisions")) for s in sources}


def _add_host(bundle: Bundle, admin_socket: Path, settings: Config | None) -> None:
    asked: list[Asked] = [
        ("versions.json", "of the package, its libraries, Python, OpenSSL, the kernel", _versions),
        ("processes.json", "the station's, with memory (PSS)", lambda: _processes(admin_socket)),
        ("limits.txt", "what the kernel allows the supervisor", lambda: _limits(admin_socket)),
        ("journal.txt", "the last lines of the unit's journal", host_facts.journal),
    ]
    if settings is None:
        for name in ("storage.json", "state.json", "certificates.json"):
            bundle.leave_out(name, "where it lies is not known without a good configuration")
    else:
        asked += [
            ("storage.json", "file system of the storage path", lambda: _storage(settings)),
            ("state.json", "what lies in the state directory", lambda: _state(settings)),
            ("certificates.json", "names and dates", lambda: _certificates(settings)),
        ]
    for name, what, ask in asked:
        try:
            bundle.add(name, what, ask())
        except OSError as error:
            where = f"{error.filename}: " if error.filename else ""
            bundle.leave_out(name, f"{where}{error.strerror or error}")


def _versions() -> str:
    return _json(host_facts.versions())


def _processes(admin_socket: Path) -> str:
    return _json(host_facts.processes(host_facts.supervisor_of(admin_socket)))


def _limits(admin_socket: Path) -> str:
    return host_facts.limits(host_facts.supervisor_of(admin_socket))


def _storage(settings: Config) -> str:
    return _json(host_facts.storage(settings.mirror.directory))


def _state(settings: Config) -> str:
    return _json(host_facts.state_files(Path(settings.state_directory)))


def _certificates(settings: Config) -> str:
    return _json(host_facts.certificates(settings))


def _packed(bundle: Bundle, stem: str, now: datetime) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, content in bundle.files().items():
            entry = tarfile.TarInfo(f"{stem}/{name}")
            entry.size, entry.mode, entry.mtime = len(content), 0o600, int(now.timestamp())
            archive.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()


def _write(path: Path, content: bytes) -> None:
    """A new file that only its owner reads. Ends the program when there is one already, or it cannot be written."""
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except OSError as error:
        fail(f"{path}: {error.strerror}")
    try:
        with os.fdopen(fd, "wb") as out:
            out.write(content)
    except OSError as error:
        with suppress(OSError):
            path.unlink()
        fail(f"{path}: {error.strerror}")


def _json(value: object) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False)
