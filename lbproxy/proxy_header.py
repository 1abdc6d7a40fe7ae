"""The PROXY protocol header, version 2: tells a backend who the client is.

Source: https://www.haproxy.org/download/2.6/doc/proxy-protocol.txt, section 2.2.
"""

import socket
import struct

_SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
_FIXED = struct.Struct("!12sBBH")
Address = tuple[str, int]
_PROXY, _TCP4, _TCP6 = 0x21, 0x11, 0x21

# "I speak for myself": before health checks.
LOCAL = _FIXED.pack(_SIGNATURE, 0x20, 0, 0)


def proxy_header(source: Address, destination: Address) -> bytes:
    """The header for a client at `source` that connected to `destination`, both of one family.

    Raises OSError on what is no address.
    """
    family, code = (socket.AF_INET6, _TCP6) if ":" in source[0] else (socket.AF_INET, _TCP4)
    hosts = (socket.inet_pton(family, end[0].partition("%")[0]) for end in (source, destination))
    body = b"".join(hosts) + struct.pack("!HH", source[1], destination[1])
    return _FIXED.pack(_SIGNATURE, _PROXY, code, len(body)) + body
