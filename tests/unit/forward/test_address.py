from ipaddress import IPv4Address, IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from station.forward.address import Class, classify, embedded, judge, unmapped


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("127.0.0.1", Class.LOOPBACK),
        ("127.255.255.254", Class.LOOPBACK),
        ("::1", Class.LOOPBACK),
        ("0.0.0.0", Class.UNSPECIFIED),
        ("::", Class.UNSPECIFIED),
        ("0.1.2.3", Class.RESERVED),
        ("10.0.0.1", Class.PRIVATE),
        ("172.16.0.1", Class.PRIVATE),
        ("172.31.255.255", Class.PRIVATE),
        ("192.168.1.1", Class.PRIVATE),
        ("100.64.0.1", Class.SHARED),
        ("169.254.1.1", Class.LINK_LOCAL),
        ("fe80::1%eth0", Class.LINK_LOCAL),
        ("169.254.169.254", Class.METADATA),
        ("100.100.100.200", Class.METADATA),
        ("fd00:ec2::254", Class.METADATA),
        ("fd12::1", Class.PRIVATE),
        ("fec0::1", Class.PRIVATE),
        ("192.0.0.8", Class.RESERVED),
        ("198.18.0.1", Class.RESERVED),
        ("224.0.0.1", Class.MULTICAST),
        ("ff02::1", Class.MULTICAST),
        ("240.0.0.1", Class.RESERVED),
        ("255.255.255.255", Class.BROADCAST),
        ("2001:db8::1", Class.RESERVED),
        ("64:ff9b:1::1", Class.RESERVED),
        ("4000::1", Class.RESERVED),
        # wrappers of the above
        ("::ffff:127.0.0.1", Class.LOOPBACK),
        ("::127.0.0.1", Class.LOOPBACK),
        ("64:ff9b::7f00:1", Class.LOOPBACK),
        ("2002:7f00:1::", Class.LOOPBACK),
        ("2002:a9fe:a9fe::1", Class.METADATA),
        ("2001:0:1:2:3:4:80ff:fffe", Class.LOOPBACK),
        ("::ffff:0:127.0.0.1", Class.LOOPBACK),
        ("2001:4860::5efe:7f00:1", Class.LOOPBACK),
        ("fe80::5efe:a9fe:a9fe", Class.METADATA),
        ("64:ff9b::808:808", Class.EMBEDDED),
        ("::ffff:8.8.8.8", Class.EMBEDDED),
        ("8.8.8.8", Class.PUBLIC),
        ("172.32.0.1", Class.PUBLIC),
        ("2606:4700::1", Class.PUBLIC),
        ("2a00:1450:4001::1", Class.PUBLIC),
    ],
)
def test_addresses_are_what_they_lead_to(text: str, kind: Class) -> None:
    assert classify(text) is kind


def test_only_public_addresses_have_no_objection() -> None:
    assert judge("8.8.8.8") is None
    assert judge("10.1.2.3") == "private address"


def test_text_that_is_no_address_is_refused() -> None:
    for text in ("127.1", "0x7f.1", "2130706433", "127.000.000.001", "localhost", ""):
        with pytest.raises(ValueError):
            classify(text)


@given(st.integers(0, 2**32 - 1).map(IPv4Address))
def test_no_wrapper_makes_an_address_more_welcome(address: IPv4Address) -> None:
    value = int(address)
    for base in (0xFFFF << 32, 0x64FF9B << 96, 0x2002 << 112):
        shift = 80 if base == 0x2002 << 112 else 0
        wrapped = IPv6Address(base | value << shift)
        assert embedded(wrapped) == address
        assert judge(wrapped) is not None
        assert classify(wrapped) in (classify(address), Class.EMBEDDED)


def test_a_mapped_address_is_the_same_client() -> None:
    assert unmapped(IPv6Address("::ffff:10.0.0.1")) == IPv4Address("10.0.0.1")
    assert unmapped(IPv6Address("2001:db8::1")) == IPv6Address("2001:db8::1")
