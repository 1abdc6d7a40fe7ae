"""`station balancer`: configurations for the balancer in front of the group."""

from typing import Annotated

import typer

from station.cli.admin import admin_of
from station.cli.options import AsJson, SocketFromConfig, SocketPath, group
from station.cli.output import print_json

balancer = group("The load balancer in front of the group.")


@balancer.command("render")
def render(
    kind: Annotated[str, typer.Argument(metavar="KIND", help="Only `haproxy` is known.")],
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
    socket: SocketPath = None,
    config: SocketFromConfig = None,
    as_json: AsJson = False,
) -> None:
    """Print the balancer's configuration for the stations of the group as they are now."""
    more = {"ca": ca} if ca else {}
    if send_proxy:
        more["send_proxy"] = "yes"
    text = admin_of(socket, config).text("/balancer", kind=kind, bind=bind, balance=balance, **more)
    print_json({"text": text}) if as_json else typer.echo(text, nl=False)
