"""Both ends of a leash: beats, orders, and what a full or a dead other end means. A socket pair, no network."""

import asyncio
import socket
from collections.abc import Iterator

import pytest

from station.runtime.leash import (
    BEAT,
    DRAIN,
    LEASH_FD_VARIABLE,
    ORPHANED_EXIT_CODE,
    READY,
    STOP,
    Leash,
)


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.setblocking(False)
        yield ours, theirs


async def turn() -> None:
    """Let the loop see what is readable."""
    for _ in range(3):
        await asyncio.sleep(0)


async def test_a_child_beats_as_soon_as_it_is_attached(
    ends: tuple[socket.socket, socket.socket],
) -> None:
    supervisor, child = ends
    leash = Leash(child, lambda: None)
    leash.attach(asyncio.get_running_loop())
    leash.report(READY)
    assert supervisor.recv(64) == BEAT + READY
    asyncio.get_running_loop().remove_reader(child)


async def test_stop_is_obeyed_once_and_drain_before_it(
    ends: tuple[socket.socket, socket.socket],
) -> None:
    supervisor, child = ends
    obeyed: list[str] = []
    leash = Leash(child, lambda: obeyed.append("stop"), lambda: obeyed.append("drain"))
    leash.attach(asyncio.get_running_loop())
    supervisor.send(STOP + DRAIN)
    await turn()
    supervisor.send(STOP)
    await turn()
    assert obeyed == ["drain", "stop"]
    asyncio.get_running_loop().remove_reader(child)


async def test_the_end_of_the_supervisor_is_the_end_of_the_child(
    ends: tuple[socket.socket, socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    supervisor, child = ends
    codes: list[int] = []

    def ended(code: int) -> None:
        codes.append(code)
        asyncio.get_running_loop().remove_reader(child)

    monkeypatch.setattr("os._exit", ended)
    Leash(child, lambda: None).attach(asyncio.get_running_loop())
    supervisor.close()
    await turn()
    assert codes[0] == ORPHANED_EXIT_CODE


def test_a_supervisor_that_is_busy_does_not_block_a_report(
    ends: tuple[socket.socket, socket.socket],
) -> None:
    supervisor, child = ends
    child.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    leash = Leash(child, lambda: None)
    for _ in range(5000):
        leash.report(BEAT)
    assert supervisor.recv(1) == BEAT


def test_the_leash_is_taken_from_the_environment_once(
    ends: tuple[socket.socket, socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    supervisor, child = ends
    monkeypatch.setenv(LEASH_FD_VARIABLE, str(child.fileno()))
    leash = Leash.from_environment(lambda: None)
    assert leash is not None
    child.detach()  # the leash owns the descriptor now
    leash.report(READY)
    assert supervisor.recv(64) == READY
    assert Leash.from_environment(lambda: None) is None, "children of the child have none"
    leash._sock.close()  # in a child it lives as long as the process
