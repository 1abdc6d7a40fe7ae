"""A child's beat is a promise; how long it lived decides how soon it comes back."""

import socket
import subprocess
from typing import cast

from station.app.child import (
    RESTART_PAUSE_MAX_S,
    RESTART_PAUSE_S,
    START_DEADLINE_S,
    STEADY_AFTER_S,
    Child,
    ChildSpec,
    failures_before,
    restart_pause_s,
)
from station.runtime.leash import SILENT_AFTER_S, STOP

SPEC = ChildSpec("files-0", "station.serve.files_worker", {})


def child(leash: socket.socket, *, has_beaten: bool) -> Child:
    process = cast("subprocess.Popen[bytes]", None)  # none of this asks the process
    made = Child(SPEC, process, leash, started_at=100.0, last_beat=100.0)
    made.has_beaten = has_beaten
    return made


def test_a_child_that_beats_is_silent_after_the_agreed_time() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        beating = child(ours, has_beaten=True)
        assert not beating.is_silent(100.0 + SILENT_AFTER_S)
        assert beating.is_silent(100.0 + SILENT_AFTER_S + 0.1)


def test_a_child_that_still_imports_gets_longer() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        starting = child(ours, has_beaten=False)
        assert not starting.is_silent(100.0 + SILENT_AFTER_S + 0.1)
        assert starting.is_silent(100.0 + START_DEADLINE_S + 0.1)


def test_an_order_arrives_and_one_to_a_dead_child_is_no_error() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ordered = child(ours, has_beaten=True)
        ordered.order(STOP)
        assert theirs.recv(64) == STOP
        theirs.close()
        ordered.order(STOP)


def test_a_child_that_lived_long_comes_back_at_once() -> None:
    assert restart_pause_s(STEADY_AFTER_S, failures=7) == 0.0
    assert failures_before(STEADY_AFTER_S, failures=7) == 0


def test_a_child_that_dies_young_waits_longer_each_time_up_to_a_bound() -> None:
    assert failures_before(1.0, failures=7) == 7
    pauses = [restart_pause_s(1.0, failures) for failures in range(40)]
    assert pauses[:3] == [RESTART_PAUSE_S, RESTART_PAUSE_S * 2, RESTART_PAUSE_S * 4]
    assert pauses == sorted(pauses)
    assert pauses[-1] == RESTART_PAUSE_MAX_S
