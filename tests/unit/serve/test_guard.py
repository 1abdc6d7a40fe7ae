"""The guard in virtual time: caps, waiting, deadlines."""

import dataclasses

import pytest

from station.serve.guard import TICK_S, Guard
from station.serve.limits import Counters, Limits

LIMITS = dataclasses.replace(Limits(), connections=2, waiting=1, per_address=1)


class Client:
    """Something with a deadline that may have to wait."""

    def __init__(self, address: str | None = None) -> None:
        self.address = address
        self.deadline, self.limit, self.slot = 0.0, "", 0
        self.expired: list[str] = []
        self.was_let_in = False

    def expire(self, limit: str) -> None:
        self.expired.append(limit)

    def let_in(self) -> None:
        self.was_let_in = True


@pytest.fixture
def guard() -> Guard:
    guard = Guard(LIMITS, Counters())
    guard.tick(1000.0)
    return guard


def run(guard: Guard, until: float) -> None:
    while guard.now < until:
        guard.tick(guard.now + TICK_S)


def test_a_deadline_expires_within_two_ticks(guard: Guard) -> None:
    client = Client()
    guard.watch(client, 10, "head")
    run(guard, 1009.9)
    assert not client.expired
    run(guard, 1010 + 2 * TICK_S)
    assert client.expired == ["head"]


def test_a_deadline_that_moved_expires_later_and_once(guard: Guard) -> None:
    client = Client()
    guard.watch(client, 10, "head")
    run(guard, 1005)
    client.deadline, client.limit = guard.now + 60, "idle"
    run(guard, 1060)
    assert not client.expired
    run(guard, 1100)
    assert client.expired == ["idle"]


def test_a_nearer_deadline_replaces_a_farther_one(guard: Guard) -> None:
    client = Client()
    guard.watch(client, 60, "idle")
    guard.watch(client, 2, "linger")
    run(guard, 1003)
    assert client.expired == ["linger"]
    run(guard, 1100)
    assert client.expired == ["linger"]


def test_what_needs_no_deadline_any_more_never_expires_and_may_be_watched_again(
    guard: Guard,
) -> None:
    client = Client()
    guard.watch(client, 2, "head")
    client.deadline = 0.0
    run(guard, 1010)
    assert not client.expired
    guard.watch(client, 2, "idle")
    run(guard, 1013)
    assert client.expired == ["idle"]


def test_a_jump_of_the_clock_expires_everything_due(guard: Guard) -> None:
    clients = [Client() for _ in range(100)]
    for seconds, client in enumerate(clients):
        guard.watch(client, seconds, "head")
    guard.tick(5000.0)
    assert all(client.expired == ["head"] for client in clients)


def test_beyond_the_cap_connections_wait_and_are_let_in_in_order(guard: Guard) -> None:
    for _ in range(2):
        guard.enter()
        assert guard.admit(None)
    waiting = Client()
    guard.enter()
    assert not guard.admit(None)
    guard.wait(waiting)
    assert guard.is_full
    assert guard.is_crowded
    guard.leave(None, was_admitted=True)
    assert waiting.was_let_in
    assert not guard.is_crowded
    assert guard.active == 2


def test_who_was_refused_before_somebody_left_does_not_wait(guard: Guard) -> None:
    """It was over the cap when it was accepted; its request comes when there is room, and nobody else will leave."""
    assert guard.admit(None) and guard.admit(None)
    late = Client()
    assert not guard.admit(None)
    guard.leave(None, was_admitted=True)
    guard.wait(late)
    assert late.was_let_in
    assert not guard.is_crowded
    assert guard.active == 2


def test_listeners_are_told_when_there_is_room_again(guard: Guard) -> None:
    called = []
    guard.on_room = lambda: called.append(True)
    for _ in range(3):
        guard.enter()
        guard.admit(None)
    assert guard.is_full
    guard.leave(None, was_admitted=True)
    assert called == [True]


def test_an_address_over_its_cap_waits_for_its_own_connections_only(guard: Guard) -> None:
    assert guard.admit("10.0.0.1")
    assert not guard.admit("10.0.0.1")
    assert guard.admit("10.0.0.2")
    waiting = Client("10.0.0.1")
    guard.wait(waiting)
    guard.leave("10.0.0.2", was_admitted=True)
    assert not waiting.was_let_in
    guard.leave("10.0.0.1", was_admitted=True)
    assert waiting.was_let_in
    assert guard.counters.value("limit_per_address") == 1


def test_balancers_have_no_cap_of_their_own(guard: Guard) -> None:
    assert guard.admit(None)
    assert guard.admit(None)


def test_who_leaves_while_waiting_is_not_let_in(guard: Guard) -> None:
    guard.admit(None), guard.admit(None)
    gone = Client()
    guard.wait(gone)
    guard.stop_waiting(gone)
    guard.leave(None, was_admitted=True)
    assert not gone.was_let_in


def test_a_limit_that_does_not_exist_or_is_no_number_is_named() -> None:
    with pytest.raises(ValueError, match=r"limits\.nonsense"):
        Limits.from_settings({"nonsense": 1})
    with pytest.raises(ValueError, match=r"limits\.idle_s"):
        Limits.from_settings({"idle_s": 0})
    assert Limits.from_settings({"waiting": 3.0, "idle_s": 2}).waiting == 3
