"""The head of a proxy request: CONNECT, or GET and HEAD in absolute form, read strictly (RFC 9112).

Bytes in, a `ProxyRequest` out, or nothing yet, or `BadRequest`. One request per connection; after a refusal
the connection is closed, because what follows cannot be trusted.
"""

import re
from dataclasses import dataclass

from station.forward.headers import Field, HeaderError, end_to_end, passes_through, values
from station.forward.target import Target, TargetError, parse_target

HEAD_BYTES_MAX = 16 * 1024
FIELDS_MAX = 100

_TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
_LINE = re.compile(rb"(" + _TOKEN + rb") ([\x21-\x7e]+) HTTP/1\.([01])")
_FIELD = re.compile(
    rb"(" + _TOKEN + rb"):[ \t]*((?:[\t\x20-\x7e\x80-\xff]*[\x21-\x7e\x80-\xff])?)[ \t]*"
)
_LINE_BEGIN = re.compile(rb"(?:" + _TOKEN + rb"(?: [\x21-\x7e]*(?: [HTP/1.0]*\r?)?)?)?")
_HEALTH = (b"/health/live", b"/health/ready")


class BadRequest(ValueError):
    """The bytes are no request that we serve. `status`: the answer; the message: fixed text, safe to be shown."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason


@dataclass(frozen=True, slots=True)
class ProxyRequest:
    """One request. `target` is None for a question about our own health, whose path is `path`.

    `path`: what follows the authority, for GET and HEAD. `size`: bytes of the head; early bytes begin there.
    """

    method: str
    target: Target | None
    path: bytes
    minor: int
    fields: tuple[Field, ...]
    size: int

    @property
    def is_connect(self) -> bool:
        """A tunnel is asked for."""
        return self.method == "CONNECT"

    def onward(self, via: str, *, absolute: bool = False, authorization: str = "") -> bytes:
        """The head of a GET or HEAD for the next server, which is to close after its answer.

        `absolute`: the next one is a proxy, to which `authorization` is a Proxy-Authorization value. Raises
        BadRequest: 508 when it has passed `via` (our own tag) before, 400 for contradictions in it.
        """
        assert self.target is not None
        if passes_through(self.fields, via.encode()):
            raise BadRequest(508, "proxy loop")
        try:
            kept = end_to_end(self.fields)
        except HeaderError as error:
            raise BadRequest(400, str(error)) from None
        host = str(self.target).removesuffix(":80").encode()
        start = b"http://" + host + self.path if absolute else self.path
        lines = [b"%s %s HTTP/1.%d" % (self.method.encode(), start, self.minor), b"Host: " + host]
        lines += [b"%s: %s" % field for field in kept if field[0].lower() != b"host"]
        lines += [b"Via: 1.%d %s" % (self.minor, via.encode()), b"Connection: close"]
        if authorization:
            lines.append(b"Proxy-Authorization: " + authorization.encode())
        return b"\r\n".join(lines) + b"\r\n\r\n"


def parse_request(buffer: bytes | bytearray) -> ProxyRequest | None:
    """The request at the start of `buffer`, None while its head is incomplete. Raises BadRequest as early as it can."""
    end = buffer.find(b"\r\n\r\n", 0, HEAD_BYTES_MAX)
    if end < 0:
        _refuse_hopeless(buffer)
        return None
    first, *rest = bytes(buffer[:end]).split(b"\r\n")
    line = _LINE.fullmatch(first)
    if line is None:
        raise BadRequest(400, "malformed request line")
    if len(rest) > FIELDS_MAX:
        raise BadRequest(431, "too many header fields")
    fields = []
    for text in rest:
        field = _FIELD.fullmatch(text)
        if field is None:
            raise BadRequest(400, "malformed header field")
        fields.append((field[1], field[2]))
    method = line[1].decode()
    if method not in ("CONNECT", "GET", "HEAD"):
        raise BadRequest(405, "only CONNECT, GET and HEAD")
    _refuse_framing(method, fields)
    hosts = values(fields, b"host")
    if len(hosts) > 1:
        raise BadRequest(400, "more than one Host")
    target: Target | None
    try:
        if method == "CONNECT":
            target, path = _connect_target(line[2], hosts), b""
        else:
            target, path = _absolute(line[2])
    except TargetError as error:
        raise BadRequest(400, str(error)) from None
    return ProxyRequest(method, target, path, int(line[3]), tuple(fields), end + 4)


def _refuse_hopeless(buffer: bytes | bytearray) -> None:
    """Refuse what will not become a request however it goes on: TLS, SOCKS, HTTP/2, a bare LF, too many bytes."""
    if len(buffer) >= HEAD_BYTES_MAX:
        raise BadRequest(431, "request head too large")
    if buffer.count(b"\n") != buffer.count(b"\r\n"):
        raise BadRequest(400, "line feed without carriage return")
    line, line_end, _ = bytes(buffer).partition(b"\r\n")
    if not (_LINE if line_end else _LINE_BEGIN).fullmatch(line):
        raise BadRequest(400, "malformed request line")
    if buffer.count(b"\r\n") > FIELDS_MAX + 1:
        raise BadRequest(431, "too many header fields")


def _refuse_framing(method: str, fields: list[Field]) -> None:
    """No request that we serve has a body; one that says it has is meant to confuse somebody."""
    lengths = values(fields, b"content-length")
    if values(fields, b"transfer-encoding") or (lengths and method == "CONNECT"):
        raise BadRequest(400, "request with a body")
    if lengths not in ([], [b"0"]):
        raise BadRequest(400, "request with a body")


def _connect_target(authority: bytes, hosts: list[bytes]) -> Target:
    target = parse_target(authority)
    if hosts and parse_target(hosts[0], target.port) != target:
        raise TargetError("Host differs from the target")
    return target


def _absolute(text: bytes) -> tuple[Target | None, bytes]:
    if text in _HEALTH:
        return None, text
    if text[:7].lower() != b"http://":
        raise TargetError("this is a proxy: CONNECT HOST:PORT, or GET http://HOST/")
    authority, slash, path = text[7:].partition(b"/")
    if b"?" in authority or b"#" in text:
        raise TargetError("malformed URL")
    return parse_target(authority, 80), b"/" + path if slash else b"/"
