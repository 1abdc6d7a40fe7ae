"""Request heads: what is read, what is refused."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from station.http.head import HEAD_BYTES_MAX, Refusal, Request, find_end, parse_head


def head(*lines: str, first: str = "GET /repo/x/y HTTP/1.1") -> bytes:
    return "\r\n".join([first, *lines, "", ""]).encode("latin-1")


def parsed(*lines: str, first: str = "GET /repo/x/y HTTP/1.1") -> Request:
    found = parse_head(head(*lines, first=first))
    assert isinstance(found, Request)
    return found


def status(data: bytes) -> int:
    found = parse_head(data)
    assert isinstance(found, Refusal)
    return found.status


def test_a_plain_request_is_read() -> None:
    request = parsed("Host: h:17080", "User-Agent:  libdnf\t", "Accept: */*")
    assert (request.method, request.target, request.minor) == ("GET", b"/repo/x/y", 1)
    assert request.headers[b"user-agent"] == b"libdnf"
    assert request.keep_alive
    assert not request.has_body


def test_repeated_headers_are_joined() -> None:
    assert (
        parsed("Host: h", "Range: bytes=0-1", "range: bytes=2-3").headers[b"range"]
        == b"bytes=0-1, bytes=2-3"
    )


@pytest.mark.parametrize(
    ("first", "connection", "expected"),
    [
        ("GET / HTTP/1.1", "keep-alive", True),
        ("GET / HTTP/1.1", "Keep-Alive, Close", False),
        ("GET / HTTP/1.0", "x", False),
        ("GET / HTTP/1.0", "Keep-Alive", True),
    ],
)
def test_keep_alive_follows_version_and_connection(
    first: str, connection: str, expected: bool
) -> None:
    assert parsed("Host: h", f"Connection: {connection}", first=first).keep_alive is expected


def test_http_1_0_needs_no_host() -> None:
    assert parsed(first="GET / HTTP/1.0").headers == {}


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ((), 400),
        (("Host: a", "Host: a"), 400),
        (("Host: a, b",), 400),
        (("Host: u@h",), 400),
        (("Host: h/x",), 400),
        (("Host : h",), 400),
        (("Host: h", " folded"), 400),
        (("Host: h", "no colon"), 400),
        (("Host: h", ": empty"), 400),
        (("Host: h", "X: a\0b"), 400),
        (("Host: h", "X: a\nb"), 400),
        (("Host: h", "X: a\rb"), 400),
        (("Host: h", "Content-Length: 1"), 413),
        (("Host: h", "Content-Length: 0", "Content-Length: 0"), 400),
        (("Host: h", "Content-Length: 5, 5"), 400),
        (("Host: h", "Content-Length: "), 400),
        (("Host: h", "Content-Length: +1"), 400),
        (("Host: h", "Content-Length: " + "9" * 19), 400),
        (("Host: h", "Transfer-Encoding: chunked"), 413),
        (("Host: h", "Transfer-Encoding: xchunked"), 400),
        (("Host: h", "Transfer-Encoding: chunked, identity"), 400),
        (("Host: h", "Transfer-Encoding: chunked", "Content-Length: 1"), 400),
        (("Host: h", *["X: y"] * 100), 431),
    ],
)
def test_what_could_be_read_in_two_ways_is_refused(lines: tuple[str, ...], expected: int) -> None:
    assert status(head(*lines)) == expected


@pytest.mark.parametrize(
    ("first", "expected"),
    [
        ("GET /", 400),
        ("GET  / HTTP/1.1", 400),
        ("GET / HTTP/1.1 ", 400),
        ("GET /a b HTTP/1.1", 400),
        ("GET /\x7f HTTP/1.1", 400),
        ("GET / http/1.1", 400),
        ("GET / HTTP/0.9", 505),
        ("GET / HTTP/1.2", 505),
        ("PRI * HTTP/2.0", 505),
        ("get / HTTP/1.1", 501),
        ("FOO / HTTP/1.1", 501),
        ("TRACE / HTTP/1.1", 405),
        ("CONNECT h:443 HTTP/1.1", 405),
    ],
)
def test_request_lines_that_are_refused(first: str, expected: int) -> None:
    assert status(head("Host: h", first=first)) == expected


def test_a_body_is_allowed_where_control_answers() -> None:
    assert parsed("Host: h", "Content-Length: 5", first="POST /instances HTTP/1.1").has_body


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"", None),
        (b"\r", None),
        (b"GET / HT", None),
        (b"GET / HTTP/1.1\r\nHost: h\r\n", None),
        (b"GET / HTTP/1.1\r\n\r\nrest", 18),
    ],
)
def test_the_end_of_a_head_is_found(data: bytes, expected: int | None) -> None:
    assert find_end(data) == expected


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"\x16\x03\x01", 400),
        (b" GET", 400),
        (b"GET / HTTP/1.1\nHost: h\n\n", 400),
        (b"G" * HEAD_BYTES_MAX, 431),
        (b"G" * HEAD_BYTES_MAX + b"\r\n\r\n", 431),
    ],
)
def test_what_never_becomes_a_head_is_refused_early(data: bytes, expected: int) -> None:
    found = find_end(data)
    assert isinstance(found, Refusal)
    assert found.status == expected


@given(st.binary(max_size=300))
@example(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
def test_any_bytes_are_answered_without_a_failure(data: bytes) -> None:
    end = find_end(data)
    if isinstance(end, int):
        assert isinstance(parse_head(data[:end]), Request | Refusal)
