"""Reads one HTTP/1 request head, strictly: what two parsers could read in two ways is refused (RFC 9112).

Bytes in, `Request` or `Refusal` out. After a refusal the connection is closed: what follows on it cannot be trusted.
"""

import re
from dataclasses import dataclass

HEAD_BYTES_MAX = 16 * 1024  # dnf sends 200 bytes; a cookie-laden browser 8 KiB
HEADERS_MAX = 100

_TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
# Bytes above 0x7f: curl sends a location that is not ASCII as it is.
_REQUEST_LINE = re.compile(rb"(" + _TOKEN + rb") ([\x21-\x7e\x80-\xff]+) HTTP/([0-9])\.([0-9])")
_NAME = re.compile(_TOKEN)
_VALUE = re.compile(rb"[\t\x20-\x7e\x80-\xff]*")
_HOST = re.compile(rb"(?:[A-Za-z0-9._~%-]*|\[[0-9A-Fa-f:.]+\])(?::[0-9]{0,5})?")
_LENGTH = re.compile(rb"[0-9]{1,18}")
_STARTS_TOKEN = frozenset(
    b"!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
)

_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_METHODS_REFUSED = frozenset({"TRACE", "CONNECT"})
_SINGLE = frozenset({b"host", b"content-length", b"transfer-encoding", b"if-range"})


@dataclass(frozen=True, slots=True)
class Request:
    """One request head. Header names are lower case; values of repeated headers are joined by `, `."""

    method: str
    target: bytes
    minor: int  # 0 or 1, of HTTP/1.x
    headers: dict[bytes, bytes]
    keep_alive: bool
    has_body: bool  # bytes of a body follow the head


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a head is not answered: status and a fixed text without a byte of the request in it."""

    status: int
    reason: str


def find_end(buffer: bytes | bytearray) -> int | Refusal | None:
    """The length of the head at the start of `buffer`; None while it is incomplete; a refusal as soon as it is due.

    Refuses early what will never become a head: a TLS hello, a bare LF, more than HEAD_BYTES_MAX bytes.
    """
    end = buffer.find(b"\r\n\r\n", 0, HEAD_BYTES_MAX)
    if end >= 0:
        return end + 4
    if len(buffer) >= HEAD_BYTES_MAX:
        return Refusal(431, "request head too large")
    if buffer and buffer[0] not in _STARTS_TOKEN and buffer != b"\r":  # half of an empty line
        return Refusal(400, "not an HTTP request")
    if buffer.count(b"\n") != buffer.count(b"\r\n"):
        return Refusal(400, "line feed without carriage return")
    return None


def parse_head(head: bytes) -> Request | Refusal:
    """The request of `head`, which ends with its blank line."""
    if len(head) > HEAD_BYTES_MAX:
        return Refusal(431, "request head too large")
    if not head.endswith(b"\r\n\r\n"):
        return Refusal(400, "head without its blank line")
    first, *rest = head[:-4].split(b"\r\n")
    line = _REQUEST_LINE.fullmatch(first)
    if line is None:
        return Refusal(400, "malformed request line")
    if line[3] != b"1" or line[4] not in (b"0", b"1"):
        return Refusal(505, "HTTP/1.0 and HTTP/1.1 only")
    method = line[1].decode("ascii")
    if method in _METHODS_REFUSED:
        return Refusal(405, "method not allowed")
    if method not in _METHODS:
        return Refusal(501, "unknown method")
    headers = _parse_headers(rest)
    if isinstance(headers, Refusal):
        return headers
    return _judge(method, line[2], int(line[4]), headers)


def _parse_headers(lines: list[bytes]) -> dict[bytes, bytes] | Refusal:
    if len(lines) > HEADERS_MAX:
        return Refusal(431, "too many headers")
    headers: dict[bytes, bytes] = {}
    for line in lines:
        name, colon, value = line.partition(b":")
        # A folded line begins with a blank and so has no token before its colon: refused here as well.
        if not colon or not _NAME.fullmatch(name) or not _VALUE.fullmatch(value):
            return Refusal(400, "malformed header")
        key = name.lower()
        value = value.strip(b" \t")
        if key in headers:
            if key in _SINGLE:
                return Refusal(400, "repeated header")
            value = headers[key] + b", " + value
        headers[key] = value
    return headers


def _judge(
    method: str, target: bytes, minor: int, headers: dict[bytes, bytes]
) -> Request | Refusal:
    host = headers.get(b"host")
    if host is None:
        if minor == 1:
            return Refusal(400, "no Host header")
    elif not _HOST.fullmatch(host):
        return Refusal(400, "malformed Host header")
    body = _body_of(minor, headers)
    if isinstance(body, Refusal):
        return body
    if body and method in ("GET", "HEAD"):
        return Refusal(413, "a body is not expected here")
    options = {option.strip().lower() for option in headers.get(b"connection", b"").split(b",")}
    keep_alive = b"close" not in options and (minor == 1 or b"keep-alive" in options)
    return Request(method, target, minor, headers, keep_alive, body)


def _body_of(minor: int, headers: dict[bytes, bytes]) -> bool | Refusal:
    """Whether a body follows (RFC 9112, 6.3), or a refusal of everything that could be read in two ways."""
    coding = headers.get(b"transfer-encoding")
    length = headers.get(b"content-length")
    if coding is not None:
        if length is not None or minor == 0 or coding.lower() != b"chunked":
            return Refusal(400, "ambiguous length of body")
        return True
    if length is None:
        return False
    if not _LENGTH.fullmatch(length):
        return Refusal(400, "malformed Content-Length")
    return int(length) > 0
