"""What kind of place an IP address is. The only thing that decides whether we may dial it.

Never decided on text: resolvers read `127.1`, `0x7f.1` and `2130706433` as loopback. And not by
`ipaddress.is_global`, which calls the NAT64 form of 127.0.0.1 global. IPv4 inside IPv6 is unwrapped first, then an
explicit table decides.

Sources: the IANA special-purpose registries (RFC 6890), RFC 6052 (NAT64), 3056 (6to4), 4380 (Teredo), 5214 (ISATAP).
"""

from enum import Enum
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

Address = IPv4Address | IPv6Address


class Class(Enum):
    """Kinds of addresses. Only PUBLIC is dialled unless an administrator listed the target exactly."""

    PUBLIC = "public"
    UNSPECIFIED = "unspecified"
    LOOPBACK = "loopback"
    LINK_LOCAL = "link-local"
    METADATA = "metadata service"
    PRIVATE = "private"
    SHARED = "shared (carrier-grade NAT)"
    MULTICAST = "multicast"
    BROADCAST = "broadcast"
    RESERVED = "reserved"
    EMBEDDED = "IPv4 inside IPv6"


# Where clouds answer whoever is on the machine with its credentials; one of them is in public space.
_METADATA: frozenset[Address] = frozenset(
    ip_address(text)
    for text in (
        "169.254.169.254",
        "169.254.170.2",
        "100.100.100.200",
        "168.63.129.16",
        "192.0.0.192",
        "fd00:ec2::254",
        "fd20:ce::254",
    )
)

# The first match decides.
_V4 = [
    (IPv4Network(network), kind)
    for network, kind in (
        ("0.0.0.0/32", Class.UNSPECIFIED),
        ("0.0.0.0/8", Class.RESERVED),
        ("10.0.0.0/8", Class.PRIVATE),
        ("100.64.0.0/10", Class.SHARED),
        ("127.0.0.0/8", Class.LOOPBACK),
        ("169.254.0.0/16", Class.LINK_LOCAL),
        ("172.16.0.0/12", Class.PRIVATE),
        ("192.0.0.0/24", Class.RESERVED),
        ("192.0.2.0/24", Class.RESERVED),
        ("192.88.99.0/24", Class.RESERVED),
        ("192.168.0.0/16", Class.PRIVATE),
        ("198.18.0.0/15", Class.RESERVED),
        ("198.51.100.0/24", Class.RESERVED),
        ("203.0.113.0/24", Class.RESERVED),
        ("224.0.0.0/4", Class.MULTICAST),
        ("255.255.255.255/32", Class.BROADCAST),
        ("240.0.0.0/4", Class.RESERVED),
    )
]
_V6 = [
    (IPv6Network(network), kind)
    for network, kind in (
        ("::/128", Class.UNSPECIFIED),
        ("::1/128", Class.LOOPBACK),
        ("fe80::/10", Class.LINK_LOCAL),
        ("fec0::/10", Class.PRIVATE),  # site-local, deprecated and still routed by somebody
        ("fc00::/7", Class.PRIVATE),
        ("ff00::/8", Class.MULTICAST),
        ("2001::/23", Class.RESERVED),  # protocol assignments; Teredo was unwrapped before
        ("2001:db8::/32", Class.RESERVED),
        ("3fff::/20", Class.RESERVED),
        ("2000::/3", Class.PUBLIC),
        ("::/0", Class.RESERVED),  # not handed out to anybody
    )
]

_NAT64 = IPv6Network("64:ff9b::/96")
_COMPATIBLE = IPv6Network("::/96")
_TRANSLATED = IPv6Network("::ffff:0:0:0/96")  # RFC 2765
_SIX_TO_FOUR = IPv6Network("2002::/16")
_TEREDO = IPv6Network("2001::/32")
_ISATAP = frozenset((0x00005EFE, 0x02005EFE))
_LOW_32 = 0xFFFFFFFF


def embedded(address: IPv6Address) -> IPv4Address | None:
    """The IPv4 address that packets to this one end up at, or None."""
    if address.ipv4_mapped is not None:
        return address.ipv4_mapped
    value = int(address)
    if address in _SIX_TO_FOUR:
        return IPv4Address(value >> 80 & _LOW_32)
    if address in _TEREDO:
        return IPv4Address(~value & _LOW_32)
    is_low = address in _NAT64 or address in _TRANSLATED or value >> 32 & _LOW_32 in _ISATAP
    if is_low or (address in _COMPATIBLE and value > 0xFFFF):
        return IPv4Address(value & _LOW_32)
    return None


def unmapped(address: Address) -> Address:
    """An IPv4 address in its mapped form as IPv4: the same client, seen through an IPv6 socket."""
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address


def classify(address: Address | str) -> Class:
    """The kind of an address. Raises ValueError for text that is no address; a scope (`%eth0`) is ignored."""
    if isinstance(address, str):
        address = ip_address(address.partition("%")[0])
    if address in _METADATA:
        return Class.METADATA
    if isinstance(address, IPv4Address):
        return next((kind for network, kind in _V4 if address in network), Class.PUBLIC)
    inner = embedded(address)
    if inner is not None:
        kind = classify(inner)
        return Class.EMBEDDED if kind is Class.PUBLIC else kind
    return next(kind for network, kind in _V6 if address in network)


def judge(address: Address | str) -> str | None:
    """Why an address may not be dialled without having been listed exactly; None when it may."""
    kind = classify(address)
    return None if kind is Class.PUBLIC else f"{kind.value} address"
