import pytest

from lbproxy.proxy_header import LOCAL, proxy_header
from station.http.proxy_header import Header, parse

V4 = ("203.0.113.7", 51000), ("192.0.2.1", 17080)
V6 = ("2001:db8::7", 51000), ("2001:db8::1", 17443)


@pytest.mark.parametrize("ends", [V4, V6])
def test_a_station_reads_what_the_balancer_says(
    ends: tuple[tuple[str, int], tuple[str, int]],
) -> None:
    head = proxy_header(*ends)
    assert parse(head) == Header(*ends, len(head))


def test_a_check_speaks_for_itself() -> None:
    header = parse(LOCAL)
    assert header is not None and header.is_local and header.source is None
