"""The head of an answer that passes through the proxy, read strictly enough to be passed on (RFC 9112)."""

import re
from dataclasses import dataclass

HEAD_BYTES_MAX = 64 * 1024  # servers set large cookies; nginx as a proxy takes 32 KiB at most

_STATUS_LINE = re.compile(rb"HTTP/1\.([01]) ([1-5][0-9]{2})(?: [^\r\n]*)?")
_FIELD = re.compile(rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]+):[^\r\n\0]*")
# Transfer-Encoding and Trailer stay: the body passes as it is.
_HOP_BY_HOP = frozenset(
    b"connection proxy-connection keep-alive proxy-authenticate proxy-authentication-info upgrade".split()
)


class BadResponse(ValueError):
    """The bytes are no answer that can be passed on. The message is fixed text."""


@dataclass(frozen=True, slots=True)
class Response:
    """`size`: bytes of the head; `onward`: the head for the client, which says that the connection ends."""

    status: int
    size: int
    onward: bytes

    @property
    def is_interim(self) -> bool:
        """1xx: another head follows."""
        return self.status < 200


def parse_response(buffer: bytes | bytearray, via: str = "") -> Response | None:
    """The head at the start of `buffer`, None while it is incomplete. Raises BadResponse."""
    end = buffer.find(b"\r\n\r\n", 0, HEAD_BYTES_MAX)
    if end < 0:
        if len(buffer) >= HEAD_BYTES_MAX or not b"HTTP/1.".startswith(bytes(buffer[:7])):
            raise BadResponse("answer without a proper head")
        return None
    first, *fields = bytes(buffer[:end]).split(b"\r\n")
    line = _STATUS_LINE.fullmatch(first)
    if line is None:
        raise BadResponse("answer with a malformed status line")
    kept = [first]
    for text in fields:
        field = _FIELD.fullmatch(text)
        if field is None:
            raise BadResponse("answer with a malformed header field")
        if field[1].lower() not in _HOP_BY_HOP:
            kept.append(text)
    if via:
        kept.append(b"Via: 1.%s %s" % (line[1], via.encode()))
    kept.append(b"Connection: close")
    return Response(int(line[2]), end + 4, b"\r\n".join(kept) + b"\r\n\r\n")
