"""What the supervisor decides by itself; the rest is shown with real processes."""

import signal
import socket
import subprocess
from pathlib import Path
from typing import cast

import pytest

from station.app import supervisor
from station.app.child import Child, ChildSpec
from station.app.supervisor import Supervisor, have_ended, lock
from station.runtime.clock import SystemClock


def test_a_state_directory_has_one_station(tmp_path: Path) -> None:
    lock(tmp_path)
    with pytest.raises(BlockingIOError):
        lock(tmp_path)


def test_a_station_without_a_group_ends_with_2_before_it_opens_anything(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = {"state_directory": str(tmp_path)}
    assert Supervisor(tmp_path / "station.toml", config).run() == 2
    assert "station group create" in capsys.readouterr().err


def test_no_children_have_ended() -> None:
    assert have_ended([])


class Process:
    """What the supervisor asks of a process that runs."""

    pid = 4711

    def __init__(self) -> None:
        self.is_killed = False

    def poll(self) -> None:
        return None

    def send_signal(self, number: int) -> None:
        self.is_killed = number == signal.SIGKILL


class TurningClock(SystemClock):
    """The turn that begins at `began` takes `turn_s`."""

    def __init__(self, began: float, turn_s: float) -> None:
        super().__init__()
        self._next = iter([began])
        self._ends = began + turn_s

    def boot(self) -> float:
        return next(self._next, self._ends)


@pytest.mark.parametrize(("turn_s", "is_killed"), [(0.3, True), (20.0, False)])
def test_a_worker_that_was_silent_is_killed_unless_the_supervisor_itself_stood_still(
    turn_s: float, is_killed: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A thawed station keeps its workers: all of them were silent as long as it was frozen."""
    process = Process()
    ours, theirs = socket.socketpair()
    with ours, theirs:
        spec = ChildSpec("files-0", "station.serve.files_worker", {})
        child = Child(spec, cast("subprocess.Popen[bytes]", process), ours, 100.0, 100.0, True)
        config = {"state_directory": str(tmp_path)}
        one = Supervisor(tmp_path / "station.toml", config, TurningClock(120.0, turn_s))
        one._children.at_work["files-0"] = child
        monkeypatch.setattr(supervisor, "TURN_S", 0.0)
        one._turn()
    assert process.is_killed is is_killed
