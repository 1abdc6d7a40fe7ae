import pytest
from hypothesis import given
from hypothesis import strategies as st

from station.forward.outer import parse_outer
from station.forward.response import BadResponse, parse_response
from station.forward.target import Target


def test_an_answer_passes_without_hop_by_hop_fields_and_says_that_it_ends() -> None:
    response = parse_response(
        b"HTTP/1.1 200 OK\r\nConnection: keep-alive\r\nKeep-Alive: timeout=5\r\nTransfer-Encoding: chunked\r\n"
        b"Proxy-Authenticate: Basic\r\nX: y\r\n\r\nbody",
        "us",
    )
    assert response is not None and response.status == 200
    assert response.onward == (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nX: y\r\nVia: 1.1 us\r\nConnection: close\r\n\r\n"
    )


def test_an_interim_answer_is_not_the_answer() -> None:
    response = parse_response(b"HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\n\r\n")
    assert response is not None and response.is_interim and response.size == 28


@pytest.mark.parametrize(
    "data",
    [
        b"SSH-2.0",
        b"HTTP/2 200",
        b"HTTP/1.1 999 x\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX\r\n\r\n",
        b"HTTP/1.1" + b"x" * 65536,
    ],
)
def test_what_is_no_answer_is_refused(data: bytes) -> None:
    with pytest.raises(BadResponse):
        parse_response(data)


@given(st.binary(max_size=200), st.sampled_from([b"", b"HTTP/1.1 200 OK\r\n"]))
def test_any_bytes_are_an_answer_or_refused_or_unfinished(data: bytes, start: bytes) -> None:
    try:
        response = parse_response(start + data)
    except BadResponse:
        return
    assert response is None or response.onward.endswith(b"Connection: close\r\n\r\n")


def test_outer_proxy_has_a_place_and_maybe_credentials() -> None:
    assert parse_outer("") is None
    plain = parse_outer("http://outer.example:3128/")
    assert plain is not None and plain.target == Target("outer.example", 3128)
    secret = parse_outer("user:p%40ss@10.0.0.1:3128")
    assert secret is not None
    head = secret.connect_head(Target("h", 443), "us")
    assert b"Proxy-Authorization: Basic dXNlcjpwQHNz\r\n" in head and head.startswith(
        b"CONNECT h:443 "
    )
    with pytest.raises(ValueError, match="outer proxy") as caught:
        parse_outer("user:secret@nowhere")
    assert "secret" not in str(caught.value)
