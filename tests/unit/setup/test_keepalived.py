"""One address for two balancers; keepalived itself reads the text in tests/integration."""

from typing import Any

import pytest

from station.model.records import GroupRecord
from station.setup.keepalived import KeepalivedOptions, render_keepalived

GROUP = GroupRecord(id="g", compartment="c", hostname="lb.example.com")
PAIR = ("192.0.2.8", "192.0.2.9")


def text(own: str = PAIR[0], **options: Any) -> str:
    given = {"balancers": PAIR, "own": own, "interface": "eth0", "address": "192.0.2.10/24"}
    return render_keepalived(GROUP, KeepalivedOptions(**{**given, **options}))


def test_the_first_balancer_has_the_higher_priority_and_each_names_the_other() -> None:
    first, second = text(PAIR[0]), text(PAIR[1])
    assert "priority 150\n" in first
    assert "priority 140\n" in second
    assert "unicast_src_ip 192.0.2.8\n    unicast_peer {\n        192.0.2.9\n" in first
    assert "unicast_src_ip 192.0.2.9\n    unicast_peer {\n        192.0.2.8\n" in second


def test_a_balancer_is_asked_for_an_answer_of_a_station_by_its_own_front_end() -> None:
    assert "http://192.0.2.8:17080/health/live" in text()
    pair = ("fd00::8", "fd00::9")
    assert "http://[fd00::8]:17080/health/live" in text(
        pair[0], balancers=pair, address="fd00::10/64"
    )


def test_a_group_whose_hostname_is_an_address_needs_no_other() -> None:
    group = GROUP.model_copy(update={"hostname": "192.0.2.10"})
    options = KeepalivedOptions(balancers=PAIR, own=PAIR[0], interface="eth0")
    assert "192.0.2.10/32 dev eth0" in render_keepalived(group, options)


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"address": ""}, "'lb.example.com' is no address"),
        ({"own": "192.0.2.7"}, "192.0.2.7 must be one of the balancers"),
        ({"balancers": (PAIR[0],)}, "needs no keepalived"),
        ({"balancers": (PAIR[0], PAIR[0])}, "must be one of the balancers, once"),
        ({"balancers": (PAIR[0], "fd00::9")}, "of one family"),
        ({"balancers": (PAIR[0], "lb2")}, "'lb2'"),
        ({"router_id": 256}, "expected 1 to 255"),
        ({"interface": "eth0\n}"}, "is no name of an interface"),
    ],
)
def test_what_does_not_fit_is_named(options: dict[str, Any], named: str) -> None:
    with pytest.raises(ValueError, match=named):
        text(**options)
