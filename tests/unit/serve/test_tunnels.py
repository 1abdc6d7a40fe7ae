"""Tunnels are counted for each client and in all; what has ended makes room."""

from station.serve.limits import Counters, Limits
from station.serve.tunnels import Tunnels

LIMITS = Limits.from_settings({"tunnels": 3, "tunnels_per_client": 2})


def status(refusal: tuple[int, str] | None) -> int:
    return refusal[0] if refusal else 200


def test_a_client_has_its_share_and_all_together_have_the_limit() -> None:
    counters = Counters()
    tunnels = Tunnels(LIMITS, counters)
    assert [status(tunnels.admit("a")) for _ in range(3)] == [200, 200, 429]
    assert [status(tunnels.admit("b")) for _ in range(2)] == [200, 503]
    assert counters.all() == {"limit_tunnels_per_client": 1, "limit_tunnels": 1}


def test_one_that_ends_makes_room() -> None:
    tunnels = Tunnels(LIMITS, Counters())
    for client in ("a", "a", "b"):
        assert tunnels.admit(client) is None
    tunnels.leave("a")
    assert tunnels.count == 2
    assert tunnels.admit("a") is None
    assert status(tunnels.admit("c")) == 503
