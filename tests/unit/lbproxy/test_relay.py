"""The pool of pipes: big ones first, never more than the bound, all given back in the end. Steps of a tunnel."""

import asyncio
import os
import socket

import pytest

from lbproxy.poller import Poller
from lbproxy.relay import PIPES_MAX, Pipes, Relay


def test_big_pipes_are_taken_before_small_ones_and_there_is_a_bound() -> None:
    pipes = Pipes()
    taken = [pipe for _ in range(PIPES_MAX + 1) if (pipe := pipes.take()) is not None]
    try:
        assert len(taken) == pipes.open_count <= PIPES_MAX
        sizes = [pipe.size for pipe in taken]
        assert sizes == sorted(sizes, reverse=True)
    finally:
        for pipe in reversed(taken):
            pipes.give(pipe)
    again = pipes.take()
    assert again is not None and again.size == max(sizes)
    pipes.give(again)
    while pipes.open_count:
        pipes.trim()
    assert pipes.open_count == 0


def test_a_quiet_pool_gives_its_pipes_back_one_by_one() -> None:
    pipes = Pipes()
    taken = [pipes.take(), pipes.take()]
    for pipe in taken:
        assert pipe is not None
        pipes.give(pipe)
    pipes.trim()
    assert pipes.open_count == 1
    pipes.trim()
    pipes.trim()
    assert pipes.open_count == 0


def test_a_dropped_pipe_is_closed() -> None:
    pipes = Pipes()
    pipe = pipes.take()
    assert pipe is not None
    os.write(pipe.write, b"bytes of a tunnel that is gone")
    pipes.drop(pipe)
    assert pipes.open_count == 0
    with pytest.raises(OSError, match="descriptor"):
        os.fstat(pipe.read)


async def test_through_small_steps_every_byte_and_the_end_arrive_and_no_step_is_longer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    loop = asyncio.get_running_loop()
    steps: list[int] = []
    splice = os.splice

    def noted(source: int, target: int, size: int, **flags: int) -> int:
        moved = splice(source, target, size, **flags)
        if target == to_client.fileno():
            steps.append(moved)
        return moved

    monkeypatch.setattr("lbproxy.relay.os.splice", noted)
    origin, from_origin = socket.socketpair()
    to_client, client = socket.socketpair()
    for sock in (origin, from_origin, to_client, client):
        sock.setblocking(False)
    relay = Relay(Poller(loop))
    relay.step_bytes = 10_000
    relay.start(from_origin, to_client, on_close=lambda _: None)
    data, got = os.urandom(2_000_000), bytearray()

    async def send() -> None:
        await loop.sock_sendall(origin, data)
        origin.shutdown(socket.SHUT_WR)

    async with asyncio.timeout(20):
        sending = asyncio.create_task(send())
        while piece := await loop.sock_recv(client, 65536):
            got += piece
        await sending
    relay.close()
    origin.close()
    client.close()
    assert got == data
    assert len(steps) > 100
    assert max(steps) <= relay.step_bytes
