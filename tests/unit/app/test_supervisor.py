"""What the supervisor decides by itself; the rest is shown with real processes."""

from pathlib import Path

import pytest

from station.app.supervisor import Supervisor, have_ended, lock


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
