"""keepalived.conf for a pair of balancers: one address that moves to the balancer that works. Pure."""

import ipaddress
import re
from collections.abc import Sequence
from dataclasses import dataclass

from station.model.records import GroupRecord

# A balancer that fails two checks, each of at most two seconds, gives the address up.
CHECK_EVERY_S = 1
CHECK_DEADLINE_S = 2
ADVERTISE_EVERY_S = 1
PRIORITY_FIRST, PRIORITY_STEP = 150, 10
_INTERFACE = re.compile(r"[A-Za-z0-9_.:-]{1,15}")
ROUTER_IDS = range(1, 256)


@dataclass(frozen=True, slots=True)
class KeepalivedOptions:
    """`balancers`: the hosts' own addresses, the preferred one first; `own`: the one that this file is for.

    `address`: what clients use, with its prefix length; empty: the group's hostname, when that is an address.
    `interface`: where it is put. `router_id`: differs from those of other pairs in one network.
    """

    balancers: Sequence[str]
    own: str
    interface: str
    address: str = ""
    router_id: int = 51


def render_keepalived(group: GroupRecord, options: KeepalivedOptions) -> str:
    """The text of a keepalived.conf. Raises ValueError, naming what does not fit."""
    address = _address(group, options)
    others = [other for other in options.balancers if other != options.own]
    if options.own not in options.balancers or len(others) != len(options.balancers) - 1:
        raise ValueError(
            f"{options.own} must be one of the balancers, once: {', '.join(options.balancers)}"
        )
    if not others:
        raise ValueError("one balancer alone needs no keepalived; name the second one too")
    if options.router_id not in ROUTER_IDS:
        raise ValueError(f"router id {options.router_id}: expected 1 to 255")
    if not _INTERFACE.fullmatch(options.interface):
        raise ValueError(f"{options.interface!r} is no name of an interface")
    own = ipaddress.ip_address(options.own)
    if any(ipaddress.ip_address(other).version != own.version for other in others):
        raise ValueError("the balancers' own addresses must be of one family")
    priority = PRIORITY_FIRST - PRIORITY_STEP * list(options.balancers).index(options.own)
    peers = "".join(f"        {other}\n" for other in others)
    source = f"[{options.own}]" if own.version == 6 else options.own
    health = f"http://{source}:{group.ports.http}/health/live"
    return f"""\
# HA group {group.hostname}, compartment {group.compartment}; this file is for {options.own}
global_defs {{
    # It refuses to run a program that anybody but root could have replaced.
    enable_script_security
    script_user root
}}

# Whether this host's balancer gets an answer from any station; its front ends must listen on {options.own} too.
vrrp_script balancer {{
    script "/usr/bin/curl -gfs -m {CHECK_DEADLINE_S} -o /dev/null {health}"
    interval {CHECK_EVERY_S}
    timeout {CHECK_DEADLINE_S}
    fall 2
    rise 2
}}

vrrp_instance station {{
    state BACKUP
    interface {options.interface}
    virtual_router_id {options.router_id}
    priority {priority}
    advert_int {ADVERTISE_EVERY_S}
    # The address stays where it is when the other balancer comes back: moving it cuts connections.
    nopreempt
    unicast_src_ip {options.own}
    unicast_peer {{
{peers}    }}
    virtual_ipaddress {{
        {address.with_prefixlen} dev {options.interface}
    }}
    track_script {{
        balancer
    }}
}}
"""


def _address(
    group: GroupRecord, options: KeepalivedOptions
) -> ipaddress.IPv4Interface | ipaddress.IPv6Interface:
    given = options.address or group.hostname
    try:
        return ipaddress.ip_interface(given)
    except ValueError:
        raise ValueError(
            f"{given!r} is no address: give the one that {group.hostname} resolves to"
        ) from None
