import pytest
from hypothesis import given
from hypothesis import strategies as st

from station.http.proxy_header import (
    HEADER_BYTES_MAX,
    SIGNATURE,
    TLV_LISTENER,
    TLV_SSL,
    Address,
    Header,
    encode_v2,
    parse,
    ssl_common_name,
)

V4 = ("203.0.113.7", 51000), ("192.0.2.1", 17080)
V6 = ("2001:db8::7", 51000), ("2001:db8::1", 17443)


LOCAL = SIGNATURE + b"\x20\0\0\0"
V1 = b"PROXY TCP4 203.0.113.7 192.0.2.1 51000 17080\r\n"


@pytest.mark.parametrize("ends", [V4, V6])
def test_what_is_encoded_is_parsed(ends: tuple[Address, Address]) -> None:
    head = encode_v2(*ends)
    assert parse(head + b"GET / HTTP/1.1\r\n") == Header(ends[0], ends[1], len(head))


@pytest.mark.parametrize("ends", [V4, V6])
def test_a_line_of_version_1_is_parsed(ends: tuple[Address, Address]) -> None:
    kind = "TCP6" if ":" in ends[0][0] else "TCP4"
    head = f"PROXY {kind} {ends[0][0]} {ends[1][0]} {ends[0][1]} {ends[1][1]}\r\n".encode()
    assert parse(head + b"GET / HTTP/1.1\r\n") == Header(ends[0], ends[1], len(head))


def test_mixed_families_travel_as_ipv6_and_arrive_as_what_they_were() -> None:
    header = parse(encode_v2(V4[0], V6[1]))
    assert header is not None
    assert header.source == V4[0]


def test_local_and_unknown_name_nobody() -> None:
    local = parse(LOCAL)
    assert local is not None and local.is_local and local.source is None
    unspecified = parse(SIGNATURE + b"\x21\0\0\0")
    assert unspecified is not None and not unspecified.is_local and unspecified.source is None
    unknown = parse(b"PROXY UNKNOWN ffff::1 what ever\r\nrest")
    assert unknown is not None and unknown.source is None and unknown.size == 33


def test_listener_and_common_name_travel_as_tlvs() -> None:
    tlvs = {TLV_LISTENER: b"peers", TLV_SSL: ssl_common_name("StationB")}
    header = parse(encode_v2(*V4, tlvs))
    assert header is not None
    assert (header.listener(), header.common_name()) == ("peers", "StationB")


def test_unverified_certificate_has_no_common_name() -> None:
    value = bytearray(ssl_common_name("StationB"))
    value[4] = 1
    header = parse(encode_v2(*V4, {TLV_SSL: bytes(value)}))
    assert header is not None and header.common_name() is None


@pytest.mark.parametrize("head", [V1, encode_v2(*V4, {TLV_LISTENER: b"http"})])
def test_one_byte_at_a_time_asks_for_more_until_the_last(head: bytes) -> None:
    assert all(parse(head[:n]) is None for n in range(len(head)))
    assert parse(head) is not None


@pytest.mark.parametrize(
    "head",
    [
        b"GET / HTTP/1.1\r\n",
        b"PROXX",
        b"\r\n\r\r",
        b"PROXY TCP4 1.2.3.4 5.6.7.8 1 2\n",
        b"PROXY TCP4 1.2.3.4 5.6.7.8 1\r\n",
        b"PROXY TCP4 1.2.3.4 5.6.7.8 01 2\r\n",
        b"PROXY TCP4 1.2.3.4 5.6.7.8 +1 2\r\n",
        b"PROXY TCP4 1.2.3.4 5.6.7.8 1 65536\r\n",
        b"PROXY TCP4 1.2.3 5.6.7.8 1 2\r\n",
        b"PROXY TCP4 ::1 ::1 1 2\r\n",
        b"PROXY TCP4  1.2.3.4 5.6.7.8 1 2\r\n",
        b"PROXY UDP4 1.2.3.4 5.6.7.8 1 2\r\n",
        b"PROXY " + b"x" * 101,
        SIGNATURE + b"\x11\x11\0\x0c" + bytes(12),
        SIGNATURE + b"\x22\x11\0\x0c" + bytes(12),
        SIGNATURE + b"\x21\x41\0\x0c" + bytes(12),
        SIGNATURE + b"\x21\x11\0\x0b" + bytes(11),
        SIGNATURE + b"\x21\x11\0\x0e" + bytes(14),
        SIGNATURE + b"\x21\x11\0\x10" + bytes(12) + b"\xe0\0\x02x",
        SIGNATURE + b"\x21\x11\0\x12" + bytes(12) + b"\xe0\0\0\xe0\0\0",
        SIGNATURE + b"\x21\x11\xff\xff",
    ],
)
def test_malformed_headers_are_refused(head: bytes) -> None:
    with pytest.raises(ValueError):
        parse(head)


def test_header_longer_than_the_bound_is_not_encoded() -> None:
    with pytest.raises(ValueError):
        encode_v2(*V4, {TLV_LISTENER: bytes(HEADER_BYTES_MAX)})


def test_text_that_is_no_address_is_not_encoded() -> None:
    with pytest.raises(ValueError):
        encode_v2(("localhost", 1), ("127.1", 2))


@given(
    st.binary(max_size=300), st.sampled_from([b"", b"PROXY ", SIGNATURE, SIGNATURE + b"\x21\x11"])
)
def test_any_bytes_are_a_header_or_refused_or_unfinished(data: bytes, start: bytes) -> None:
    try:
        header = parse(start + data)
    except ValueError:
        return
    assert header is None or header.size <= len(start + data)
