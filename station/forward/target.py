"""Where a proxy client wants to go: HOST:PORT, in exactly one spelling.

Stricter than RFC 3986: what two programs could read in two ways is no target. A name is lower case, without its
trailing dot, after parsing; nobody normalises again.
"""

import re
from dataclasses import dataclass
from ipaddress import AddressValueError, IPv4Address, IPv6Address

NAME_LENGTH_MAX = 253  # RFC 1035: 255 octets on the wire
_AUTHORITY_LENGTH_MAX = NAME_LENGTH_MAX + 1 + 6  # trailing dot, colon, five digits
_LABEL = r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"  # underscores are in use, whatever RFC 952 says
_NAME = re.compile(rf"{_LABEL}(?:\.{_LABEL})*")
_PORT = re.compile(r"[1-9][0-9]{0,4}")
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")


class TargetError(ValueError):
    """The text is no HOST:PORT. The message is fixed text, safe to be shown."""


@dataclass(frozen=True, slots=True)
class Target:
    """A host (name, or address in canonical form without brackets) and a port, 1 to 65535."""

    host: str
    port: int

    @property
    def address(self) -> IPv4Address | IPv6Address | None:
        """The host as an address, None when it is a name."""
        return literal(self.host)

    @property
    def is_number(self) -> bool:
        """A name that resolvers read as an address: `127.1`, `0x7f.1`, `2130706433`."""
        return self.address is None and bool(_NUMBER.fullmatch(self.host.rpartition(".")[2]))

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def literal(host: str) -> IPv4Address | IPv6Address | None:
    """An address in its canonical spelling, None for anything else."""
    try:
        return IPv6Address(host) if ":" in host else IPv4Address(host)
    except AddressValueError:
        return None


def parse_target(authority: bytes, default_port: int | None = None) -> Target:
    """`HOST:PORT` or `[IPv6]:PORT`; without a port when there is a default. Raises TargetError."""
    if len(authority) > _AUTHORITY_LENGTH_MAX:
        raise TargetError("target too long")
    try:
        text = authority.decode("ascii").lower()
    except UnicodeDecodeError:
        raise TargetError("target is not ASCII") from None
    if text.startswith("["):
        bracketed, closing, rest = text.partition("]")
        host = _ipv6(bracketed[1:]) if closing else ""
    else:
        host, colon, port = text.partition(":")
        host, rest = _host(host), colon + port
    if not host:
        raise TargetError("target has no valid host")
    if not rest and default_port is not None:
        return Target(host, default_port)
    if not rest.startswith(":") or not _PORT.fullmatch(rest[1:]) or int(rest[1:]) > 65535:
        raise TargetError("target has no valid port")
    return Target(host, int(rest[1:]))


def _ipv6(text: str) -> str:
    if "%" in text:
        return ""  # a scope means something on one machine only
    try:
        return str(IPv6Address(text))
    except AddressValueError:
        return ""


def _host(text: str) -> str:
    name = text.removesuffix(".")
    return name if len(name) <= NAME_LENGTH_MAX and _NAME.fullmatch(name) else ""
