"""The PROXY protocol header, versions 1 and 2: who the client is, said by the hop before us.

Source: https://www.haproxy.org/download/2.6/doc/proxy-protocol.txt. Addresses are (text, port) pairs. `parse` is
incremental and strict; it keeps no state, so that the caller owns the buffer, its bound and its deadline.
"""

import ipaddress
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field

Address = tuple[str, int]

SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
_V1 = b"PROXY "
_V1_BYTES_MAX = 107  # the longest line the protocol allows, with CRLF
# The length field allows 64 KiB; real headers stay below 600 bytes, ours below 300.
HEADER_BYTES_MAX = 4096

TLV_NOOP = 0x04
TLV_SSL = 0x20
TLV_SSL_CN = 0x22  # inside TLV_SSL
TLV_LISTENER = 0xE0  # ours: name of the listener that accepted the client
_SSL_CLIENT_HAS_CERT = 0x01 | 0x02 | 0x04  # over TLS, certificate on this connection and session

_LOCAL, _PROXY = 0x20, 0x21
_TCP4, _TCP6 = 0x11, 0x21
_ADDRESS_BYTES = {0x0: 0, 0x1: 12, 0x2: 36, 0x3: 216}  # by family: unspecified, IPv4, IPv6, unix
_FIXED = struct.Struct("!12sBBH")
_PORTS = struct.Struct("!HH")
_TLV = struct.Struct("!BH")
_SSL = struct.Struct("!BI")


@dataclass(frozen=True, slots=True)
class Header:
    """A parsed header. `size`: its length in bytes; the client's own bytes begin there.

    `source` and `destination` are None where the sender named none (LOCAL, UNKNOWN, not TCP): then the
    connection's own addresses hold. `is_local`: the sender speaks for itself (a health check).
    """

    source: Address | None
    destination: Address | None
    size: int
    is_local: bool = False
    tlvs: dict[int, bytes] = field(default_factory=dict)

    def common_name(self) -> str | None:
        """CN of the client's verified certificate, from the SSL TLV; None when there is none. Raises ValueError."""
        value = self.tlvs.get(TLV_SSL)
        if value is None:
            return None
        if len(value) < _SSL.size:
            raise ValueError("SSL TLV cut short")
        client, not_verified = _SSL.unpack_from(value)
        name = _parse_tlvs(value[_SSL.size :]).get(TLV_SSL_CN)
        if name is None or not_verified or not client & 0x02:
            return None
        return name.decode()

    def listener(self) -> str:
        """The value of TLV 0xE0, "" when there is none."""
        return self.tlvs.get(TLV_LISTENER, b"").decode("ascii", "replace")


def ssl_common_name(name: str) -> bytes:
    """The value of a TLV_SSL that says: over TLS, with a verified certificate whose CN is `name`."""
    return _SSL.pack(_SSL_CLIENT_HAS_CERT, 0) + _encode_tlvs({TLV_SSL_CN: name.encode()})


def encode_v2(
    source: Address, destination: Address, tlvs: Mapping[int, bytes] | None = None
) -> bytes:
    """Version 2. An IPv4 and an IPv6 address together travel as IPv6 (the first one mapped).

    Raises ValueError on what is no address and on a header longer than HEADER_BYTES_MAX.
    """
    family, here, there = _packed(source, destination)
    body = here + there + _PORTS.pack(source[1], destination[1]) + _encode_tlvs(tlvs or {})
    if _FIXED.size + len(body) > HEADER_BYTES_MAX:
        raise ValueError(f"PROXY header of {len(body)} bytes")
    return _FIXED.pack(SIGNATURE, _PROXY, family, len(body)) + body


def parse(buffer: bytes | bytearray | memoryview) -> Header | None:
    """The header at the beginning of `buffer`; None while more bytes are needed. Raises ValueError.

    Never needs more than HEADER_BYTES_MAX bytes, and refuses at the first byte that cannot belong to a header.
    """
    head = bytes(buffer[:HEADER_BYTES_MAX])
    if head.startswith(_V1):
        return _parse_v1(head)
    if len(head) >= _FIXED.size:
        return _parse_v2(head)
    if SIGNATURE.startswith(head[: len(SIGNATURE)]) or _V1.startswith(head):
        return None
    raise ValueError("no PROXY header")


def _parse_v1(head: bytes) -> Header | None:
    end = head.find(b"\n", 0, _V1_BYTES_MAX)
    if end < 0:
        if len(head) >= _V1_BYTES_MAX:
            raise ValueError("PROXY line too long")
        return None
    if head[end - 1 : end] != b"\r":
        raise ValueError("PROXY line ends without CR")
    words = head[: end - 1].split(b" ")
    if words[1] == b"UNKNOWN":
        return Header(None, None, end + 1)
    versions = {b"TCP4": 4, b"TCP6": 6}
    if len(words) != 6 or words[1] not in versions:
        raise ValueError("PROXY line malformed")
    version = versions[words[1]]
    source, destination = (_address(version, words[i], words[i + 2]) for i in (2, 3))
    return Header(source, destination, end + 1)


def _address(version: int, host: bytes, port: bytes) -> Address:
    address = ipaddress.ip_address(host.decode("ascii", "replace"))
    if address.version != version or b"%" in host:
        raise ValueError("PROXY line: no address")
    if not (port.isdigit() and len(port) <= 5) or (port[:1] == b"0" and port != b"0"):
        raise ValueError("PROXY line: no port")
    number = int(port)
    if number > 65535:
        raise ValueError("PROXY line: port out of range")
    return str(address), number


def _parse_v2(head: bytes) -> Header | None:
    signature, command, family, length = _FIXED.unpack_from(head)
    if signature != SIGNATURE:
        raise ValueError("no PROXY header")
    if command not in (_LOCAL, _PROXY):
        raise ValueError(f"PROXY version and command {command:#04x}")
    size = _FIXED.size + length
    if size > HEADER_BYTES_MAX:
        raise ValueError(f"PROXY header of {size} bytes")
    if family >> 4 not in _ADDRESS_BYTES or family & 0x0F > 2:
        raise ValueError(f"PROXY family {family:#04x}")
    if len(head) < size:
        return None
    if command == _LOCAL:
        return Header(None, None, size, is_local=True)  # the rest is to be ignored, whatever it is
    body = head[_FIXED.size : size]
    end = _ADDRESS_BYTES[family >> 4]
    if len(body) < end:
        raise ValueError("PROXY addresses cut short")
    tlvs = _parse_tlvs(body[end:])
    if family not in (_TCP4, _TCP6):
        return Header(None, None, size, tlvs=tlvs)
    width = 4 if family == _TCP4 else 16
    here, there = (_text(body[i : i + width]) for i in (0, width))
    ports = _PORTS.unpack_from(body, 2 * width)
    return Header((here, ports[0]), (there, ports[1]), size, tlvs=tlvs)


def _text(packed: bytes) -> str:
    """An IPv4 address that travelled as IPv6 is what it was: rules and caps are about addresses, not spellings."""
    address = ipaddress.ip_address(packed)
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return str(mapped or address)


def _parse_tlvs(data: bytes) -> dict[int, bytes]:
    found: dict[int, bytes] = {}
    at = 0
    while at < len(data):
        if at + _TLV.size > len(data):
            raise ValueError("PROXY TLV cut short")
        kind, length = _TLV.unpack_from(data, at)
        at += _TLV.size
        if at + length > len(data):
            raise ValueError("PROXY TLV overruns the header")
        if kind in found and kind != TLV_NOOP:
            raise ValueError(f"PROXY TLV {kind:#04x} twice")  # two answers to one question
        found[kind] = data[at : at + length]
        at += length
    return found


def _encode_tlvs(tlvs: Mapping[int, bytes]) -> bytes:
    try:
        return b"".join(_TLV.pack(kind, len(value)) + value for kind, value in tlvs.items())
    except struct.error as error:
        raise ValueError(str(error)) from error


def _packed(source: Address, destination: Address) -> tuple[int, bytes, bytes]:
    """Family byte and both addresses, as IPv4 only when both are. A scope means nothing elsewhere."""
    here, there = (ipaddress.ip_address(end[0].partition("%")[0]) for end in (source, destination))
    if here.version == there.version == 4:
        return _TCP4, here.packed, there.packed
    return _TCP6, _as_v6(here), _as_v6(there)


def _as_v6(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bytes:
    return address.packed if address.version == 6 else b"\0" * 10 + b"\xff" * 2 + address.packed
