"""Header fields on their way to the next server: what belongs to one hop stays behind (RFC 9110 section 7.6.1)."""

from collections.abc import Iterable

Field = tuple[bytes, bytes]  # name as it came, value without surrounding blanks

# Never forwarded: fields of one hop, and what was meant for us alone.
HOP_BY_HOP = frozenset(
    b"connection proxy-connection keep-alive proxy-authenticate proxy-authorization te trailer "
    b"transfer-encoding upgrade http2-settings".split()
)
# A client that names one of these in Connection wants it removed behind its server's back.
END_TO_END = frozenset(
    b"host authorization cookie content-length content-type content-encoding range if-range if-match "
    b"if-none-match if-modified-since if-unmodified-since accept accept-encoding cache-control expect "
    b"forwarded x-forwarded-for x-forwarded-host x-forwarded-proto x-real-ip via user-agent date "
    b"max-forwards origin referer".split()
)


class HeaderError(ValueError):
    """The fields contradict each other. The message is fixed text, safe to be shown."""


def values(fields: Iterable[Field], name: bytes) -> list[bytes]:
    """All values of a field; `name` in lower case."""
    return [value for key, value in fields if key.lower() == name]


def end_to_end(fields: Iterable[Field]) -> list[Field]:
    """The fields that travel on. Raises HeaderError when Connection names one that must not be removed."""
    fields = list(fields)
    named = {
        option.strip(b" \t").lower()
        for value in values(fields, b"connection")
        for option in value.split(b",")
    }
    if named & END_TO_END:
        raise HeaderError("Connection names an end-to-end header")
    gone = named | HOP_BY_HOP
    return [(name, value) for name, value in fields if name.lower() not in gone]


def passes_through(fields: Iterable[Field], via: bytes) -> bool:
    """Whether `via`, our own tag, is among the proxies that a request has passed."""
    return any(
        via in value.split() for item in values(fields, b"via") for value in item.split(b",")
    )
