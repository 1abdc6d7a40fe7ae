"""Reads the PROXY header that a balancer puts before the client's bytes, and not one byte more.

What follows may be a TLS handshake, which OpenSSL must read itself.
"""

import ipaddress
import socket
from collections.abc import Iterable

from station.http.proxy_header import HEADER_BYTES_MAX, Header, parse

_SHORTEST = 8  # bytes that tell version 1 from version 2, and that every header has
_V1_BYTES_MAX = 107
_V2_FIXED = 16


class Balancers:
    """The addresses whose PROXY headers are believed, and required."""

    def __init__(self, ranges: Iterable[str]) -> None:
        """Raises ValueError for what is no address range."""
        self._networks = tuple(ipaddress.ip_network(text) for text in ranges)
        self._known: dict[str, bool] = {}

    def __contains__(self, address: str) -> bool:
        if not self._networks:
            return False
        known = self._known.get(address)
        if known is None:
            if len(self._known) >= 4096:
                self._known.clear()
            known = self._known[address] = self._is_listed(address)
        return known

    def _is_listed(self, text: str) -> bool:
        address = ipaddress.ip_address(text.partition("%")[0])
        mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
        return any((mapped or address) in network for network in self._networks)


class Preface:
    """The header of one connection, however it was cut into pieces."""

    def __init__(self) -> None:
        self._bytes = b""

    def read(self, sock: socket.socket) -> Header | None:
        """The header once it is whole, else None. Raises ValueError when it is none, EOFError at the end of the

        connection, BlockingIOError when nothing is there, OSError when the connection broke.
        """
        while True:
            piece = self._receive(sock)
            if not piece:
                raise EOFError("connection ended within its PROXY header")
            self._bytes += piece
            header = parse(self._bytes)
            if header is not None:
                return header

    def _receive(self, sock: socket.socket) -> bytes:
        have = self._bytes
        if len(have) < _SHORTEST:
            return sock.recv(_SHORTEST - len(have))
        if have.startswith(b"PROXY "):
            seen = sock.recv(_V1_BYTES_MAX - len(have) + 1, socket.MSG_PEEK)
            line_end = seen.find(b"\n")
            return sock.recv(line_end + 1 if line_end >= 0 else len(seen)) if seen else b""
        if len(have) < _V2_FIXED:
            return sock.recv(_V2_FIXED - len(have))
        size = min(_V2_FIXED + int.from_bytes(have[14:16], "big"), HEADER_BYTES_MAX)
        return sock.recv(size - len(have))
