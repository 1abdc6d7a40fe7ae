import pytest
from hypothesis import given
from hypothesis import strategies as st

from station.forward.target import Target, TargetError, parse_target


@pytest.mark.parametrize(
    ("authority", "target"),
    [
        (b"example.com:443", Target("example.com", 443)),
        (b"EXAMPLE.com.:443", Target("example.com", 443)),
        (b"192.0.2.1:80", Target("192.0.2.1", 80)),
        (b"[2001:DB8:0::1]:443", Target("2001:db8::1", 443)),
        (b"a_b.example:1", Target("a_b.example", 1)),
        (b"x:65535", Target("x", 65535)),
        (b"a" * 63 + b".b:443", Target("a" * 63 + ".b", 443)),
    ],
)
def test_targets_have_one_spelling_after_parsing(authority: bytes, target: Target) -> None:
    assert parse_target(authority) == target


@pytest.mark.parametrize(
    "authority",
    [
        b"",
        b"/",
        b":443",
        b"example.com",
        b"example.com:",
        b"http://h:443",
        b"[[h]]:443",
        b"[h]:443",
        b"[::1:443",
        b"[::1]443",
        b"[fe80::1%eth0]:443",
        b"::1:443",
        b"u:p@h:443",
        b"u@h:443",
        b"h:443:443",
        b"h%00:443",
        b"h\t:443",
        b"h :443",
        b"h:443 ",
        b"h#x:443",
        b"h:443#",
        b"h:443/",
        b"h?:443",
        b"a" * 64 + b":443",
        b".".join([b"a" * 50] * 5) + b":443",
        "straße.de:443".encode(),
        "①②⑦.0.0.1:443".encode(),
        b"h..x:443",
        b".h:443",
        b"h..:443",
        b"-h:443",
        b"h:0",
        b"h:65536",
        b"h:4294967739",
        b"h:+443",
        b"h:0443",
        b"h:" + b"4" * 40,
        b"h:4_3",
        b"h\r\n:443",
        b'h":443',
        b"<script>:443",
    ],
)
def test_what_could_be_read_in_two_ways_is_no_target(authority: bytes) -> None:
    with pytest.raises(TargetError):
        parse_target(authority)


@pytest.mark.parametrize(
    "host", ["127.1", "0x7f.1", "2130706433", "017700000001", "127.000.000.001", "0"]
)
def test_addresses_in_unusual_spelling_are_recognised(host: str) -> None:
    assert parse_target(f"{host}:443".encode()).is_number


@pytest.mark.parametrize("host", ["127.0.0.1", "example.com", "1.example", "4chan.org", "0xg.com"])
def test_ordinary_hosts_are_not_numbers(host: str) -> None:
    assert not parse_target(f"{host}:443".encode()).is_number


def test_the_default_port_stands_in_for_a_missing_one() -> None:
    assert parse_target(b"h", 80) == Target("h", 80)
    assert parse_target(b"[::1]", 80) == Target("::1", 80)


@given(st.binary(max_size=300))
def test_any_bytes_are_a_target_or_refused(data: bytes) -> None:
    try:
        target = parse_target(data)
    except TargetError:
        return
    assert parse_target(str(target).encode()) == target
