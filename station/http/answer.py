"""Heads of responses: what nginx would say of the same file, plus an ETag that is its sha256."""

from email.utils import formatdate
from functools import lru_cache
from html import escape

REASONS = {
    200: "OK",
    206: "Partial Content",
    302: "Found",
    304: "Not Modified",
    400: "Bad Request",
    401: "Unauthorized",
    403: "Forbidden",
    404: "Not Found",
    405: "Method Not Allowed",
    408: "Request Timeout",
    409: "Conflict",
    410: "Gone",
    413: "Content Too Large",
    414: "URI Too Long",
    416: "Range Not Satisfiable",
    429: "Too Many Requests",
    431: "Request Header Fields Too Large",
    500: "Internal Server Error",
    501: "Not Implemented",
    502: "Bad Gateway",
    503: "Service Unavailable",
    505: "HTTP Version Not Supported",
}

# What yum/dnf servers in the field answer with. No charset for XML: the document says its own.
_MEDIA = {
    b"rpm": "application/x-rpm",
    b"drpm": "application/x-rpm",
    b"xml": "text/xml",
    b"gz": "application/gzip",
    b"xz": "application/x-xz",
    b"bz2": "application/x-bzip2",
    b"zst": "application/zstd",
    b"zck": "application/x-zchunk",
    b"asc": "text/plain",
    b"key": "application/pgp-keys",
    b"yaml": "text/yaml",
    b"txt": "text/plain",
    b"html": "text/html",
    b"json": "application/json",
    b"iso": "application/octet-stream",
    b"img": "application/octet-stream",
}


def media_type(path: bytes) -> str:
    """The Content-Type of a file, by its name."""
    return _MEDIA.get(path.rpartition(b".")[2].lower(), "application/octet-stream")


@lru_cache(maxsize=4096)
def http_date(seconds: int) -> str:
    """`Sun, 06 Nov 1994 08:49:37 GMT` (RFC 9110, 5.6.7), of seconds since 1970."""
    return formatdate(seconds, usegmt=True)


def file_head(
    status: int,
    *,
    length: int | None,
    etag: bytes,
    mtime: int,
    media: str,
    date: int,
    keep_alive: bool,
    content_range: str = "",
    is_mutable: bool = False,
) -> bytes:
    """The head of an answer about a file. `length` is of the body in bytes, None for a 304; `date`, `mtime` in seconds.

    A mutable name must be asked for again by every cache on the way.
    """
    lines = [f"HTTP/1.1 {status} {REASONS[status]}", f"Date: {http_date(date)}"]
    if length is not None:
        lines += [f"Content-Type: {media}", f"Content-Length: {length}"]
    lines += [f"Last-Modified: {http_date(mtime)}", f"ETag: {etag.decode('ascii')}"]
    if content_range:
        lines.append(f"Content-Range: {content_range}")
    if is_mutable:
        lines.append("Cache-Control: no-cache")
    lines.append("Accept-Ranges: bytes")
    lines.append("Connection: keep-alive" if keep_alive else "Connection: close")
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


def text_answer(
    status: int,
    body: bytes,
    *,
    date: int,
    media: str = "text/plain; charset=utf-8",
    keep_alive: bool,
    is_head: bool = False,
    headers: tuple[str, ...] = (),
) -> bytes:
    """A whole answer with a body made here: pages, lists, errors. Never cached."""
    lines = [
        f"HTTP/1.1 {status} {REASONS[status]}",
        f"Date: {http_date(date)}",
        f"Content-Type: {media}",
        f"Content-Length: {len(body)}",
        "Cache-Control: no-cache",
        "X-Content-Type-Options: nosniff",
        *headers,
        "Connection: keep-alive" if keep_alive else "Connection: close",
    ]
    head = ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")
    return head if is_head else head + body


def error_answer(
    status: int, reason: str, *, date: int, is_head: bool = False, headers: tuple[str, ...] = ()
) -> bytes:
    """An error: one line of fixed text, and the end of the connection."""
    body = f"{status} {REASONS[status]}: {reason}\n".encode()
    return text_answer(status, body, date=date, keep_alive=False, is_head=is_head, headers=headers)


def page(title: str, rows: list[tuple[str, str, str]]) -> bytes:
    """A page for people: rows of (link, text, remark), everything escaped."""
    items = "".join(
        f'<tr><td><a href="{escape(link, quote=True)}">{escape(text)}</a></td>'
        f"<td>{escape(remark)}</td></tr>\n"
        for link, text, remark in rows
    )
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title></head>\n'
        f"<body><h1>{escape(title)}</h1>\n<table>\n{items}</table></body></html>\n"
    ).encode()
