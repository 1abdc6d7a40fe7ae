"""A production haproxy.cfg for a group: TCP mode, three front ends, each station asked for its readiness.

TCP and not HTTP mode: bytes pass by splice, TLS ends at the stations, and CONNECT tunnels are tunnels.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from station.model.records import GroupRecord, StationRecord

# A station counts as down after two failures, as up after two successes. After the first of either the next check comes
# soon: one that froze is down after at most 2.6 s, within the hold around a flip (station/http/view.py).
CHECK_EVERY_MS = 500
CHECK_AGAIN_MS = 100
CHECK_DEADLINE_MS = 1000

# As the stations' own: idle tunnels end after 5 minutes on their side; the balancer must not be the first.
IDLE = "310s"
TUNNEL_IDLE = "24h"


@dataclass(frozen=True, slots=True)
class HaproxyOptions:
    """`bind` is the address of the front ends; `connections_max` bounds each of them; `ca_path` is the group's CA, for
    the checks of the https front end (empty: they do not verify). `send_proxy`: speak PROXY v2 to the stations, which
    must then list this balancer under `balancers`.
    """

    bind: str = "*"
    balance: str = "leastconn"
    connections_max: int = 20_000
    ca_path: str = ""
    send_proxy: bool = False
    stats_socket: str = ""


def render_haproxy(
    group: GroupRecord, stations: Sequence[StationRecord], options: HaproxyOptions
) -> str:
    """The text of an haproxy.cfg. Raises ValueError for no station, or for one without an address."""
    if not stations:
        raise ValueError("a balancer needs at least one station")
    for station in stations:
        if not station.address:
            raise ValueError(f"station {station.name} has no address; set it in its station.toml")
    head = _head(group, options)
    return head + "".join(
        _listen(kind, kind if is_first else f"{kind}-{port}", port, stations, options)
        for kind in ("proxy", "http", "https")
        for is_first, port in _ports(kind, group, stations)
    )


def _ports(
    kind: str, group: GroupRecord, stations: Sequence[StationRecord]
) -> list[tuple[bool, int]]:
    """The group's port first (True), then what every station serves as well, while clients move to another."""
    main: int = getattr(group.ports, kind)
    served = [set(getattr(station.serves, kind)) for station in stations]
    more = sorted(set.intersection(*served) - {main})
    return [(True, main), *((False, port) for port in more)]


def _head(group: GroupRecord, options: HaproxyOptions) -> str:
    stats = (
        f"    stats socket {options.stats_socket} mode 600 level admin\n"
        if options.stats_socket
        else ""
    )
    return f"""\
# HA group {group.hostname}, compartment {group.compartment}
global
    maxconn {3 * options.connections_max}
{stats}
defaults
    mode tcp
    maxconn {options.connections_max}
    timeout connect 3s
    timeout check {CHECK_DEADLINE_MS}ms
    timeout client {IDLE}
    timeout server {IDLE}
    timeout tunnel {TUNNEL_IDLE}
    # A station that refuses the connection: try again at another, while nothing was sent.
    retries 3
    option redispatch 1
    option tcp-smart-accept
    option splice-auto
    # A station whose name does not resolve now does not keep the others from being balanced.
    default-server init-addr last,libc,none
"""


def _listen(
    kind: str, name: str, port: int, stations: Sequence[StationRecord], options: HaproxyOptions
) -> str:
    check = ["check", f"inter {CHECK_EVERY_MS}ms fastinter {CHECK_AGAIN_MS}ms", "rise 2", "fall 2"]
    if kind == "https":
        verify = f"verify required ca-file {options.ca_path}" if options.ca_path else "verify none"
        check += ["check-ssl", verify]
    if options.send_proxy:
        check += ["send-proxy-v2", "check-send-proxy"]
    # Whoever was connected to a station that is down is told at once and asks again. One that stops answers 404, which
    # is not down: it gets nobody new, and those it has may finish.
    check.append("on-marked-down shutdown-sessions")
    servers = "\n".join(
        f"    server {station.name} {_bracketed(station.address)}:{port} {' '.join(check)}"
        for station in stations
    )
    return f"""
listen {name}
    bind {_bracketed(options.bind)}:{port}
    balance {options.balance}
    option httpchk
    http-check disable-on-404
    http-check send meth GET uri /health/ready ver HTTP/1.1 hdr host station
    http-check expect status 200
{servers}
"""


def _bracketed(address: str) -> str:
    return f"[{address}]" if ":" in address else address
