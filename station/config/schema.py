"""The settings of one station: what `station.toml` may say, with the unit and the consequence of each key.

Each section is a frozen value. Fields are checked one by one here; what concerns several keys is in `parse`.
"""

import ipaddress
import re
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from station.model.identity import StationName

PORT_MIN, PORT_MAX = 1, 65535

_HOST = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,251}[A-Za-z0-9])?")
_LABELS = re.compile(r"\.?[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*")


def _absolute(text: str) -> str:
    if not text.startswith("/"):
        raise ValueError("a relative path means another place in each shell; begin it with /")
    return _printable(text)


def _printable(text: str) -> str:
    if any(ord(c) < 32 or ord(c) == 127 for c in text):
        raise ValueError("has a control character; remove it")
    return text


def _absolute_or_empty(text: str) -> str:
    return _absolute(text) if text else text


def _host(text: str) -> str:
    if _HOST.fullmatch(text) or is_address(text):
        return text
    raise ValueError("expected a host name or an IP address, without port or scheme")


def _host_or_empty(text: str) -> str:
    return _host(text) if text else text


def _network(text: str) -> str:
    try:
        loose = ipaddress.ip_network(text, strict=False)
    except ValueError:
        raise ValueError("expected an address range such as 10.0.0.0/8") from None
    if str(ipaddress.ip_interface(text).ip) != str(loose.network_address):
        raise ValueError(f"has bits set behind the prefix; the network is {loose}")
    return text


def _address(text: str) -> str:
    if not is_address(text):
        raise ValueError("expected an IP address of this host, or 0.0.0.0 for all of them")
    return text


def _loopback_listener(text: str) -> str:
    if not text:
        return text
    host, port = host_and_port(text, "expected ADDRESS:PORT, such as 127.0.0.1:17081")
    if not is_address(host) or not ipaddress.ip_address(host).is_loopback:
        raise ValueError(f"{host} is not a loopback address; use 127.0.0.1:{port}")
    return text


def _outer_proxy(text: str) -> str:
    if text:
        bare = text.removeprefix("http://").rstrip("/")
        host, _ = host_and_port(bare.rpartition("@")[2], "expected http://HOST:PORT or HOST:PORT")
        _host(host)
    return text


def _destination(text: str) -> str:
    what = "expected a domain suffix (example.com), an exact HOST:PORT, or * for all public ones"
    if text == "*" or is_address(text) or _LABELS.fullmatch(text):
        return text
    _host(host_and_port(text, what)[0])
    return text


def _station_name(text: str) -> str:
    return str(StationName.parse(text))


def is_address(text: str) -> bool:
    """Whether the text is an IPv4 or IPv6 address."""
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def host_and_port(text: str, expected: str) -> tuple[str, int]:
    """`HOST:PORT` or `[IPv6]:PORT` as a pair. Raises ValueError(expected)."""
    host, _, port = text.rpartition(":")
    if host.startswith("[") != host.endswith("]") or (":" in host and not host.startswith("[")):
        raise ValueError(expected)
    number = int(port) if port.isascii() and port.isdecimal() and len(port) <= 5 else 0
    if not host or not PORT_MIN <= number <= PORT_MAX:
        raise ValueError(expected)
    return host.strip("[]"), number


Name = Annotated[str, AfterValidator(_station_name)]
Line = Annotated[str, Field(max_length=1000), AfterValidator(_printable)]
Host = Annotated[str, AfterValidator(_host)]
OptionalHost = Annotated[str, AfterValidator(_host_or_empty)]
Address = Annotated[str, AfterValidator(_address)]
Network = Annotated[str, AfterValidator(_network)]
Networks = Annotated[tuple[Network, ...], Field(strict=False)]  # TOML has lists
Destinations = Annotated[
    tuple[Annotated[str, AfterValidator(_destination)], ...], Field(strict=False)
]
Port = Annotated[int, Field(ge=PORT_MIN, le=PORT_MAX)]
MorePorts = Annotated[tuple[Port, ...], Field(strict=False, max_length=4)]
Directory = Annotated[str, AfterValidator(_absolute)]
File = Annotated[str, AfterValidator(_absolute_or_empty)]
Count = Annotated[int, Field(ge=1, le=10_000_000)]
Seconds = Annotated[float, Field(gt=0, le=86_400, strict=False)]


class Section(BaseModel):
    """Base of all sections: frozen, TOML's types as they are, unknown keys refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class ProxySettings(Section):
    """`[proxy]`: the forward proxy for instances without a route out."""

    enabled: bool = Field(default=True, description="whether the proxy port is opened")
    hosts: Networks = Field(
        default=(),
        description="client address ranges that may use the proxy; must contain the balancer unless it "
        "speaks PROXY; empty: nobody",
        examples=['["10.0.0.0/8"]'],
    )
    port: Port = Field(default=16080, description="port of the proxy")
    more_ports: MorePorts = Field(
        default=(), description="further ports of the proxy, while clients move to another"
    )
    forward: Annotated[str, AfterValidator(_outer_proxy)] = Field(
        default="", description="outer proxy to go through; empty: none"
    )
    destinations: Destinations = Field(
        default=(),
        description="allowed targets: domain suffixes with ports 443 and 80, exact HOST:PORT; empty: the "
        "upstreams of mirrored sources and the group; * : everything public",
    )


class MirrorSettings(Section):
    """`[mirror]`: the storage path and the two ports that clients install from."""

    directory: Directory = Field(
        description="storage path: packages and metadata; its own file system is advised",
        examples=['"/mnt/mirror"'],
    )
    port: Port = Field(default=17080, description="port of the mirror over http")
    sslport: Port = Field(default=17443, description="port of the mirror over https")
    more_ports: MorePorts = Field(
        default=(), description="further ports over http, while clients move to another"
    )
    more_sslports: MorePorts = Field(
        default=(), description="further ports over https, while clients move to another"
    )
    sslcert: File = Field(
        default="", description="certificate chain, PEM; empty: issued by the group's own CA"
    )
    sslkey: File = Field(default="", description="private key of sslcert, PEM")
    is_sslverify_enabled: bool = Field(
        default=True, description="whether the .repo files we hand out verify the certificate"
    )
    access_log: Annotated[str, Field(pattern=r"^(|combined|json)$")] = Field(
        default="", description="combined or json: a line per answer of both ports; empty: none"
    )
    access_log_file: File = Field(
        default="", description="where access_log goes; empty: the log of the station (stderr)"
    )


class PeerSettings(Section):
    """`[peer]`: the conversation between stations."""

    port: Port = Field(default=17946, description="port for the other stations, mutual TLS")


class AdminSettings(Section):
    """`[admin]`: where administrators talk to the station."""

    socket: Directory = Field(
        default="/run/station/admin.sock", description="unix socket of the command line, mode 0660"
    )
    listen: Annotated[str, AfterValidator(_loopback_listener)] = Field(
        default="",
        description="loopback ADDRESS:PORT of the page and /metrics; empty: none",
        examples=['"127.0.0.1:17081"'],
    )


class Limits(Section):
    """`[limits]`: what one worker process lets clients use. The names and defaults are those of the workers' table."""

    connections: Count = Field(
        default=4096, description="connections of one worker, cut to what its descriptors allow"
    )
    waiting: Count = Field(
        default=1000,
        description="connections beyond those that are accepted to wait; more stay in the kernel's queue",
    )
    per_address: Count = Field(
        default=1024, description="connections of one client address; balancers have no such cap"
    )
    requests: Count = Field(default=100_000, description="requests on one connection")
    head_s: Seconds = Field(
        default=10.0, description="seconds until a request head must be complete"
    )
    handshake_s: Seconds = Field(
        default=10.0, description="seconds until a TLS handshake must be complete"
    )
    idle_s: Seconds = Field(
        default=60.0, description="seconds a connection may stay without a request"
    )
    rate_bytes: Count = Field(
        default=1024, description="bytes per second below which a reader is ended …"
    )
    rate_s: Seconds = Field(default=60.0, description="… when it is that slow for so many seconds")
    drain_s: Seconds = Field(
        default=20.0, description="seconds that running downloads get when a worker stops"
    )


class Config(Section):
    """A whole station.toml."""

    name: Name = Field(
        description="name of this station, unique in its group", examples=['"StationA"']
    )
    compartment: Annotated[Line, Field(min_length=1)] = Field(
        description="what the stations of one group have in common", examples=['"datacenter-1"']
    )
    hostname: Host = Field(
        description="what clients call the group: the balancer's name, or this host's own",
        examples=['"loadbalancer.example.com"'],
    )
    description: Line = Field(default="", description="a line for people")
    state_directory: Directory = Field(
        default="/var/lib/station",
        description="registry, keys and manifests; local disk, never shared",
    )
    address: OptionalHost = Field(
        default="",
        description="how peers and mirrorlist clients reach this host; empty: its own name",
    )
    listen: Address = Field(default="0.0.0.0", description="address that the ports are opened on")
    balancers: Networks = Field(
        default=(),
        description="addresses that speak the PROXY protocol to us, and from then on must",
    )
    is_auto_config_enabled: bool = Field(
        default=False, description="whether firewall and SELinux are set up by themselves"
    )
    tcp_congestion: Annotated[str, Field(pattern=r"^[a-z0-9_]{0,15}$")] = Field(
        default="",
        description="congestion control of client connections (bbr, cubic); empty: the kernel's",
    )
    proxy: ProxySettings = ProxySettings()
    mirror: MirrorSettings
    peer: PeerSettings = PeerSettings()
    admin: AdminSettings = AdminSettings()
    limits: Limits = Limits()


SECTIONS: dict[str, type[Section]] = {
    "proxy": ProxySettings,
    "mirror": MirrorSettings,
    "peer": PeerSettings,
    "admin": AdminSettings,
    "limits": Limits,
}


def setting_keys() -> dict[str, str]:
    """Every key, dotted (`mirror.port`), with its description."""
    found: dict[str, str] = {}
    for name, field in Config.model_fields.items():
        if name in SECTIONS:
            for inner, inner_field in SECTIONS[name].model_fields.items():
                found[f"{name}.{inner}"] = inner_field.description or ""
        else:
            found[name] = field.description or ""
    return found
