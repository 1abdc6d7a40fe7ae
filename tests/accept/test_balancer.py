"""The bundled balancer at the amounts that it must bear: 500 cut at once, five minutes of flapping, 10,000 idle."""

import contextlib
import os
import resource
import select
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

import pytest

from tests.integration.cut import Namespace
from tests.integration.lab import pss_mib, wait_until
from tests.integration.test_lbproxy import Group, cpu_s, read_all, start

CONNECTIONS = 1000  # of two backends: 500 each
NEW_PER_S = 50
FLAPS_S = 300.0
FLAP_PERIODS_S = {"A": 1.0, "B": 2.0}
TRANSITIONS_MAX = 6
MANY = 10_000  # or as many as the descriptors of this host allow
ASK = b"GET /name HTTP/1.1\r\n\r\n"

pytestmark = [pytest.mark.accept, pytest.mark.timeout(600)]


@pytest.fixture
def group(tmp_path: Path) -> Iterator[Group]:
    group = Group(tmp_path)
    try:
        yield group
    finally:
        group.stop()


def connected(group: Group) -> tuple[socket.socket, str]:
    """A connection that has had an answer, and whose."""
    sock = group.client(10)
    sock.sendall(ASK)
    return sock, sock.recv(4096).decode()[-1:]


class NewOnes:
    """New connections at a rate, each with one request; who answered them, and when nobody did."""

    def __init__(self, group: Group) -> None:
        self._group, self._is_over = group, threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.answers: list[tuple[float, str]] = []
        self.failed: list[float] = []

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._is_over.set()
        self._thread.join()

    def by_name(self, since: float = 0.0) -> Counter[str]:
        """How many each backend has answered."""
        return Counter(name for at, name in self.answers if at >= since)

    def _run(self) -> None:
        while not self._is_over.wait(1 / NEW_PER_S):
            name = self._group.name()
            now = time.monotonic()
            if name:
                self.answers.append((now, name))
            else:
                self.failed.append(now)


def test_of_a_killed_backends_500_connections_all_end_and_no_new_one_fails(group: Group) -> None:
    start(group)
    kept = [connected(group) for _ in range(CONNECTIONS)]
    on_a = [sock for sock, name in kept if name == "A"]
    on_b = [sock for sock, name in kept if name == "B"]
    assert len(on_a) == len(on_b) == CONNECTIONS // 2
    with NewOnes(group) as new:
        wait_until("both answer new ones", lambda: len(new.by_name()) == 2, 5.0)
        begun = time.monotonic()
        group.backends["A"].kill()
        for sock in on_a:
            sock.settimeout(max(0.01, begun + 4.0 - time.monotonic()))
            with contextlib.suppress(ConnectionResetError):
                assert sock.recv(1) == b""
        took = time.monotonic() - begun
        group.backends["A"].wait(10)
        wait_until("many have come", lambda: new.by_name(begun)["B"] >= 2 * NEW_PER_S, 20.0)
        assert group.states()["A"] == "dead"
        group.start_backend("A")
        back = wait_until("it is back", lambda: new.by_name(begun + took)["A"] > 0, 10.0)
    for sock in on_b:
        sock.sendall(ASK)
        assert sock.recv(4096).endswith(b"B")
    for sock, _ in kept:
        sock.close()
    print(
        f"{len(on_a)} connections ended {took:.2f} s after the kill; {len(new.answers)} new ones, "
        f"{len(new.failed)} failed; the backend had clients again {back:.1f} s after its start"
    )
    assert took <= 1.0
    assert not new.failed


def test_backends_that_flap_for_five_minutes_change_six_times_at_most(
    group: Group, tmp_path: Path
) -> None:
    start(group)
    before = transitions(group)
    with NewOnes(group) as new:
        begun = time.monotonic()
        while (passed := time.monotonic() - begun) < FLAPS_S:
            for name, period in FLAP_PERIODS_S.items():
                file = tmp_path / f"{name}.unready"
                if passed % period < period / 2:
                    file.unlink(missing_ok=True)
                else:
                    file.touch()
            time.sleep(0.05)
    found = {name: count - before[name] for name, count in transitions(group).items()}
    print(
        f"changes in {FLAPS_S:.0f} s: {found}; {len(new.answers)} new connections, {len(new.failed)} failed"
    )
    assert max(found.values()) <= TRANSITIONS_MAX
    assert not new.failed


def transitions(group: Group) -> dict[str, int]:
    """How often each backend went up or down."""
    page = group.page()
    return {each["name"]: each["transitions"] for each in page["frontends"][0]["backends"]}


def test_without_backends_it_refuses_at_once_costs_little_and_comes_back(group: Group) -> None:
    start(group)
    assert group.balancer is not None
    for process in group.backends.values():
        process.kill()
        process.wait(10)
    wait_until("both are dead", lambda: set(group.states().values()) == {"dead"}, 4.0)
    with NewOnes(group) as new:
        before, begun, waits = cpu_s(group.balancer.pid), time.monotonic(), []
        while time.monotonic() - begun < 10.0:
            asked = time.monotonic()
            assert group.name() == ""
            waits.append(time.monotonic() - asked)
            time.sleep(0.2)
        share = (cpu_s(group.balancer.pid) - before) / (time.monotonic() - begun)
        group.start_backend("A")
        back = wait_until("it is back", lambda: new.answers, 4.0)
    print(f"slowest refusal {max(waits):.3f} s, {share:.1%} of a core, back after {back:.1f} s")
    assert max(waits) < 1.0
    assert share < 0.05


def test_ten_thousand_connections_are_held_and_more_wait_for_their_turn(group: Group) -> None:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (before[1], before[1]))
    kept: list[socket.socket] = []
    try:
        start(group)
        assert group.balancer is not None
        empty, many = pss_mib([group.balancer.pid]), group.page()["connections_max"]
        kept += [connected(group)[0] for _ in range(many)]
        full = pss_mib([group.balancer.pid])
        assert group.page()["connections"] == many
        late = [group.client(30) for _ in range(100)]
        kept += late
        for sock in late:
            sock.sendall(ASK)
        assert not poll(late, 1.0), "beyond the cap"
        for sock in kept[: len(late)]:
            sock.close()
        assert all(sock.recv(4096) for sock in late)
        for sock in kept[len(late) : many : 100]:
            sock.sendall(ASK)
            assert sock.recv(4096)
    finally:
        for sock in kept:
            sock.close()
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
    each = (full - empty) * 1024 / many
    print(
        f"{many} connections: {full:.0f} MiB, {each:.1f} KiB each; {len(late)} more waited for their turn"
    )
    assert many > 0.95 * MANY
    assert full <= 64


def poll(socks: list[socket.socket], seconds: float) -> bool:
    """Whether there is anything to read. (select bears no descriptor above 1023.)"""
    waiting = select.poll()
    for sock in socks:
        waiting.register(sock, select.POLLIN)
    return bool(waiting.poll(seconds * 1000))


def test_clients_that_read_nothing_cost_no_memory(group: Group) -> None:
    start(group)
    assert group.balancer is not None
    empty = pss_mib([group.balancer.pid])
    with contextlib.ExitStack() as stack:
        slow = [stack.enter_context(group.client(30)) for _ in range(20)]
        for sock in slow:
            sock.sendall(b"GET /bulk HTTP/1.1\r\n\r\n")
        wait_until("nothing moves", lambda: is_still(group), 20.0)
        growth = pss_mib([group.balancer.pid]) - empty
        name = group.name()
        first = slow[0]
        first.shutdown(socket.SHUT_WR)
        assert len(read_all(first)) > 64 << 20
    print(f"{len(slow)} clients that read nothing: {growth:.1f} MiB more")
    assert name
    assert growth <= 4


def is_still(group: Group) -> bool:
    """The balancer has not used its processor for half a second, checks aside."""
    assert group.balancer is not None
    before = cpu_s(group.balancer.pid)
    time.sleep(0.5)
    return cpu_s(group.balancer.pid) - before <= 0.02


@pytest.mark.skipif(os.geteuid() != 0, reason="a network namespace")
def test_a_client_that_vanished_is_found_within_two_minutes(tmp_path: Path) -> None:
    with Namespace() as network:
        group = Group(tmp_path)
        try:
            start(group)
            sock, _ = connected(group)
            assert group.page()["connections"] == 1
            network.cut(
                group.port
            )  # what it sends is lost, so also its answers to the kernel's questions
            took = wait_until("it is found", lambda: group.page()["connections"] == 0, 135.0)
            sock.close()
        finally:
            group.stop()
    print(f"found after {took:.0f} s")
    assert took > 50
