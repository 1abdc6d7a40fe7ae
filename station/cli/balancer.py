"""`station balancer`: configurations for the balancer in front of the group, checked by the program they are for."""

import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Annotated

import typer

from station.cli.admin import admin_of
from station.cli.options import MISUSE, AsJson, SocketFromConfig, SocketPath, fail, group
from station.cli.output import print_json

balancer = group("The load balancer in front of the group.")
render = group("Configurations for the stations of the group as they are now.")
balancer.add_typer(render, name="render")

CHECK_S = 30.0

Check = Annotated[
    bool,
    typer.Option("--check", help="Let the program that is installed here judge the text first."),
]


@render.command("haproxy")
def render_haproxy(
    bind: Annotated[
        str, typer.Option(metavar="ADDRESS", help="Address of the three front ends; *: all.")
    ] = "*",
    balance: Annotated[
        str, typer.Option(metavar="ALGORITHM", help="HAProxy's: leastconn, random, source, …")
    ] = "leastconn",
    ca: Annotated[
        str, typer.Option(metavar="PATH", help="The group's CA on the balancer, for its checks.")
    ] = "",
    send_proxy: Annotated[
        bool,
        typer.Option(
            "--send-proxy", help="Tell the stations the client's address; see `balancers`."
        ),
    ] = False,
    check: Check = False,
    socket: SocketPath = None,
    config: SocketFromConfig = None,
    as_json: AsJson = False,
) -> None:
    """Print an haproxy.cfg: TCP mode, three front ends, each station asked for its readiness."""
    more = {"ca": ca} if ca else {}
    if send_proxy:
        more["send_proxy"] = "yes"
    admin = admin_of(socket, config)
    text = admin.text("/balancer", kind="haproxy", bind=bind, balance=balance, **more)
    _print(text, ("haproxy", "-c", "-f") if check else (), as_json)


@render.command("keepalived")
def render_keepalived(
    own: Annotated[
        str, typer.Option(metavar="ADDRESS", help="The balancer host that the text is for.")
    ],
    balancers: Annotated[
        list[str],
        typer.Option(
            "--balancer", metavar="ADDRESS", help="Each balancer host, the preferred one first."
        ),
    ],
    interface: Annotated[
        str, typer.Option(metavar="NAME", help="Where the shared address is put.")
    ],
    address: Annotated[
        str,
        typer.Option(
            metavar="ADDRESS/PREFIX", help="What clients use; default: the group's hostname."
        ),
    ] = "",
    router_id: Annotated[
        int, typer.Option(metavar="1-255", help="Differs from those of other pairs nearby.")
    ] = 51,
    check: Check = False,
    socket: SocketPath = None,
    config: SocketFromConfig = None,
    as_json: AsJson = False,
) -> None:
    """Print a keepalived.conf: the address of the group moves to a balancer that works."""
    from station.model.records import GroupRecord, Ports
    from station.setup import keepalived

    status = admin_of(socket, config).get("/status")
    facts = GroupRecord(
        id="",
        compartment=status["compartment"],
        hostname=status["hostname"],
        ports=Ports.model_validate(status["ports"]),
    )
    options = keepalived.KeepalivedOptions(balancers, own, interface, address, router_id)
    try:
        text = keepalived.render_keepalived(facts, options)
    except ValueError as error:
        fail(str(error), MISUSE)
    _print(text, ("keepalived", "-t", "-f") if check else (), as_json)


def _print(text: str, checker: tuple[str, ...], as_json: bool) -> None:
    if checker:
        _check(text, checker)
    print_json({"text": text}) if as_json else typer.echo(text, nl=False)


def _check(text: str, checker: tuple[str, ...]) -> None:
    """Ask the program. Ends this one with what it said when it refuses."""
    # Neither lies in the PATH of a user who is not root.
    program = shutil.which(checker[0]) or shutil.which(checker[0], path="/usr/sbin:/usr/local/sbin")
    if program is None:
        fail(f"--check: {checker[0]} is not installed on this host")
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / f"{checker[0]}.conf"
        path.write_text(text, encoding="utf-8")
        try:
            done = subprocess.run(
                [program, *checker[1:], str(path)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                timeout=CHECK_S,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            fail(f"--check: {error}")
    if done.returncode:
        fail(f"{checker[0]} refuses the text:\n{done.stdout.rstrip()}")
    if done.stdout.strip():
        typer.echo(done.stdout.rstrip(), err=True)
