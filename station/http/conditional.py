"""Conditions of a request (RFC 9110, 13): is the client's copy still right, and may its part be completed?"""

from collections.abc import Mapping


def is_not_modified(
    headers: Mapping[bytes, bytes], etag: bytes, last_modified: bytes = b""
) -> bool:
    """Whether 304 is the answer. If-None-Match goes before If-Modified-Since.

    Dates are compared for equality, as nginx does: a source that was set back to an older revision has an older
    date, and `not newer than your copy` would leave the client with the wrong one.
    """
    wanted = headers.get(b"if-none-match")
    if wanted is not None:
        if wanted.strip() == b"*":
            return True
        return etag in (tag.strip().removeprefix(b"W/") for tag in wanted.split(b","))
    since = headers.get(b"if-modified-since")
    return bool(since) and since == last_modified


def is_range_allowed(headers: Mapping[bytes, bytes], etag: bytes) -> bool:
    """Whether Range counts: without If-Range, or when it is exactly our strong tag.

    A date is never strong enough to join two parts of a file; weak tags never match.
    """
    condition = headers.get(b"if-range")
    return condition is None or condition == etag
