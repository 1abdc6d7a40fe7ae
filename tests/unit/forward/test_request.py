import pytest
from hypothesis import given
from hypothesis import strategies as st

from station.forward.request import HEAD_BYTES_MAX, BadRequest, parse_request
from station.forward.target import Target

CONNECT = b"CONNECT example.com:443 HTTP/1.1\r\nHost: example.com:443\r\n\r\n"


def status_of(data: bytes) -> int:
    with pytest.raises(BadRequest) as caught:
        parse_request(data)
    return caught.value.status


def test_connect_names_its_target_and_leaves_early_bytes_alone() -> None:
    request = parse_request(CONNECT + b"\x16\x03\x01")
    assert request is not None
    assert (request.is_connect, request.target) == (True, Target("example.com", 443))
    assert request.size == len(CONNECT)


def test_one_byte_at_a_time_is_unfinished_until_the_last() -> None:
    assert all(parse_request(CONNECT[:n]) is None for n in range(len(CONNECT)))


def test_absolute_get_travels_on_in_origin_form_without_what_belongs_to_one_hop() -> None:
    request = parse_request(
        b"GET http://Example.com/a?b=c HTTP/1.1\r\nHost: evil.example\r\nProxy-Authorization: Basic eA==\r\n"
        b"Connection: keep-alive, X-Own\r\nX-Own: 1\r\nKeep-Alive: 5\r\nTE: trailers\r\nRange: bytes=0-\r\n\r\n"
    )
    assert request is not None and request.target == Target("example.com", 80)
    assert request.onward("StationA") == (
        b"GET /a?b=c HTTP/1.1\r\nHost: example.com\r\nRange: bytes=0-\r\nVia: 1.1 StationA\r\n"
        b"Connection: close\r\n\r\n"
    )


def test_absolute_get_keeps_its_form_towards_an_outer_proxy() -> None:
    request = parse_request(b"HEAD http://h:8080 HTTP/1.0\r\n\r\n")
    assert request is not None
    assert request.onward("S", absolute=True, authorization="Basic eDp5") == (
        b"HEAD http://h:8080/ HTTP/1.0\r\nHost: h:8080\r\nVia: 1.0 S\r\nConnection: close\r\n"
        b"Proxy-Authorization: Basic eDp5\r\n\r\n"
    )


def test_a_request_that_passed_us_before_is_a_loop() -> None:
    request = parse_request(b"GET http://h/ HTTP/1.1\r\nVia: 1.1 other, 1.1 StationA\r\n\r\n")
    assert request is not None
    with pytest.raises(BadRequest) as caught:
        request.onward("StationA")
    assert caught.value.status == 508


@pytest.mark.parametrize("name", ["Host", "authorization", "X-Forwarded-For"])
def test_connection_may_not_name_end_to_end_headers(name: str) -> None:
    request = parse_request(
        f"GET http://h/ HTTP/1.1\r\nHost: h\r\nConnection: close, {name}\r\n\r\n".encode()
    )
    assert request is not None
    with pytest.raises(BadRequest):
        request.onward("S")


def test_health_is_asked_in_origin_form() -> None:
    request = parse_request(b"GET /health/ready HTTP/1.1\r\nHost: x\r\n\r\n")
    assert request is not None
    assert (request.target, request.path) == (None, b"/health/ready")


@pytest.mark.parametrize(
    "data",
    [
        b"\x16\x03\x01\x02\x00",
        b"\x05\x01\x00",
        b"PRI * HTTP/2.0\r\n",
        b"GET /\r\n",
        b"GET http://h/\r\n\r\n",
        b"CONNECT h:443 HTTP/1.2\r\n",
        b"CONNECT h:443 HTTP/1.1\n",
        b"CONNECT  h:443 HTTP/1.1\r\n",
        b" CONNECT h:443 HTTP/1.1\r\n",
        b"\r\nCONNECT h:443 HTTP/1.1\r\n\r\n",
    ],
)
def test_hopeless_beginnings_are_refused_before_the_head_is_complete(data: bytes) -> None:
    assert status_of(data) == 400


@pytest.mark.parametrize(
    "fields",
    [
        b"Content-Length: 5",
        b"Content-Length: 0",
        b"Content-Length:",
        b"Transfer-Encoding: chunked",
        b"Host: other:443",
        b"Host: h:443\r\nHost: h:443",
        b"Host : h:443",
        b"X: a\r\n b",
        b"X: a\x00b",
        b"X: a\rb",
        b": x",
        b"X",
        b"X\xe9: 1",
    ],
)
def test_connect_with_doubtful_fields_is_refused(fields: bytes) -> None:
    assert status_of(b"CONNECT h:443 HTTP/1.1\r\n" + fields + b"\r\n\r\n") == 400


@pytest.mark.parametrize(
    "fields",
    [
        b"Content-Length: 5\r\nTransfer-Encoding: chunked",
        b"Content-Length: 0\r\nContent-Length: 0",
        b"Content-Length: 5,5",
        b"Content-Length:",
        b"Content-Length: +0",
        b"Transfer-Encoding: xchunked",
        b"Transfer-Encoding: chunked, identity",
    ],
)
def test_get_with_a_body_is_refused(fields: bytes) -> None:
    assert status_of(b"GET http://h/ HTTP/1.1\r\n" + fields + b"\r\n\r\n") == 400


@pytest.mark.parametrize(
    "url",
    [
        b"/",
        b"*",
        b"https://h/",
        b"ftp://h/",
        b"http://u:p@h/",
        b"http:///",
        b"http://h?x",
        b"http://h/#x",
    ],
)
def test_other_forms_of_get_are_refused(url: bytes) -> None:
    assert status_of(b"GET " + url + b" HTTP/1.1\r\nHost: h\r\n\r\n") == 400


@pytest.mark.parametrize("method", [b"POST", b"OPTIONS", b"TRACE", b"connect"])
def test_other_methods_are_not_allowed(method: bytes) -> None:
    assert status_of(method + b" http://h/ HTTP/1.1\r\n\r\n") == 405


def test_large_heads_are_refused() -> None:
    start = b"CONNECT h:443 HTTP/1.1\r\n"
    assert status_of(start + b"X: " + b"a" * (17 * 1024)) == 431
    assert status_of(start + b"X: 1\r\n" * 101 + b"\r\n") == 431
    assert status_of(b"A" * HEAD_BYTES_MAX) == 431
    assert parse_request(start + b"X: 1\r\n" * 100 + b"\r\n") is not None


@given(
    st.binary(max_size=400), st.sampled_from([b"", b"CONNECT h:443 HTTP/1.1\r\n", b"GET http://h/"])
)
def test_any_bytes_are_a_request_or_refused_or_unfinished(data: bytes, start: bytes) -> None:
    try:
        request = parse_request(start + data)
        if request is not None and request.target and not request.is_connect:
            onward = request.onward("S")
            assert onward.count(b"\r\n\r\n") == 1
    except BadRequest as error:
        assert 400 <= error.status < 600
