"""The pool of pipes: big ones first, never more than the bound, all given back in the end."""

import os

import pytest

from lbproxy.relay import PIPES_MAX, Pipes


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
