"""`station configure`: this host is made ready for its station: firewall, SELinux, user, directories, unit."""

import os
import pwd
import shlex
import shutil
import subprocess
from pathlib import Path
from typing import Annotated

import typer

from station.cli.config_file import load
from station.cli.options import FAILED, MISUSE, AsJson, fail
from station.cli.output import print_json
from station.config.schema import Config
from station.setup.firewalld import FirewallFacts, firewall_query
from station.setup.host import HostFacts, HostOptions, HostPlan, host_files, plan_host
from station.setup.selinux import SelinuxFacts

DEFAULT_CONFIG = Path("/etc/station/station.toml")
# Rebuilding the SELinux policy takes some seconds, relabelling millions of files minutes.
COMMAND_S = 1800.0
QUESTION_S = 60.0


def configure(
    config: Annotated[
        Path, typer.Option("--config", metavar="FILE", help="The station.toml of this host.")
    ] = DEFAULT_CONFIG,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print what would be done, and do nothing.")
    ] = False,
    uid: Annotated[
        int | None, typer.Option(min=1, help="Of the user station, equal on a shared storage.")
    ] = None,
    gid: Annotated[
        int | None, typer.Option(min=1, help="Of the group station, equal on a shared storage.")
    ] = None,
    zone: Annotated[
        str,
        typer.Option(metavar="ZONE", help="Firewall zone of the clients; default: the default."),
    ] = "",
    automatic: Annotated[
        bool, typer.Option("--automatic", help="Do nothing unless is_auto_config_enabled is set.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Set up firewalld, SELinux, user, directories and unit for this station.toml; again after a change of it."""
    settings = load(config)
    if automatic and not settings.is_auto_config_enabled:
        typer.echo("is_auto_config_enabled is not set: nothing done")
        return
    options = HostOptions(uid, gid, zone)
    plan = plan_host(settings, options, _facts(settings, options))
    if as_json:
        commands = [shlex.join(command) for command in plan.commands]
        print_json({"files": dict(plan.files), "commands": commands, "notes": plan.notes})
    elif dry_run or plan.is_empty:
        _print(plan)
    if not dry_run and not plan.is_empty:
        if os.geteuid() != 0:
            fail("only root can set up a host; --dry-run prints what it would do", MISUSE)
        _carry_out(plan, quiet=as_json)


def plan_of(config: Config) -> HostPlan:
    """What this host, as it is, still needs for `config`; without choices of a person."""
    options = HostOptions()
    return plan_host(config, options, _facts(config, options))


def _facts(config: Config, options: HostOptions) -> HostFacts:
    user = _user()
    files = {}
    for path in host_files(config, options, has_user=user is not None):
        try:
            files[path] = Path(path).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError):
            continue  # not there, or not as we would write it
    return HostFacts(files, user, _firewall(options.zone), _selinux())


def _user() -> tuple[int, int] | None:
    try:
        entry = pwd.getpwnam("station")
    except KeyError:
        return None
    return entry.pw_uid, entry.pw_gid


def _firewall(zone: str) -> FirewallFacts:
    if not shutil.which("firewall-offline-cmd"):
        return FirewallFacts()
    is_running = _asked("firewall-cmd", "--state")[0] == 0
    has_service = _asked(*firewall_query(zone=zone, is_running=is_running))[0] == 0
    return FirewallFacts(True, is_running, has_service)


def _selinux() -> SelinuxFacts:
    if _asked("selinuxenabled")[0] != 0:
        return SelinuxFacts()
    ports = _asked("semanage", "port", "-l")
    paths = _asked("semanage", "fcontext", "-l", "-C")
    if ports[0] or paths[0]:
        fail(f"SELinux is on, and semanage is missing or fails: {(ports[1] or paths[1]).strip()}")
    return SelinuxFacts(True, ports[1], paths[1])


def _asked(*command: str) -> tuple[int, str]:
    """Exit code and output of a question; 127 when there is nobody to ask."""
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=QUESTION_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return 127, str(error)
    return done.returncode, done.stdout


def _print(plan: HostPlan) -> None:
    """As a shell script that does the same."""
    for path, text in plan.files.items():
        typer.echo(f"mkdir -p {shlex.quote(str(Path(path).parent))}")
        typer.echo(f"cat > {shlex.quote(path)} <<'END'\n{text}END")
    for command in plan.commands:
        typer.echo(shlex.join(command))
    for note in plan.notes:
        typer.echo(f"# {note}")
    if plan.is_empty:
        typer.echo("# the host is as this station.toml needs it")


def _carry_out(plan: HostPlan, *, quiet: bool) -> None:
    for path, text in plan.files.items():
        target = Path(path)
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            beside = target.with_name(f".{target.name}.new")
            beside.write_text(text, encoding="utf-8")
            beside.chmod(0o644)
            beside.rename(target)
        except OSError as error:
            fail(f"{path}: {error.strerror or error}")
        typer.echo(f"wrote {path}", err=quiet)
    failed = False
    for command in plan.commands:
        typer.echo(f"run {shlex.join(command)}", err=quiet)
        try:
            failed |= subprocess.run(command, timeout=COMMAND_S, check=False).returncode != 0
        except (OSError, subprocess.TimeoutExpired) as error:
            typer.echo(f"station: {command[0]}: {error}", err=True)
            failed = True
    for note in plan.notes:
        typer.echo(f"station: note: {note}", err=True)
    if failed:
        fail("not all of it was done; mend what the lines above say, then run it again", FAILED)
