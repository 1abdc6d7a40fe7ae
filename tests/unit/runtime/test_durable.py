"""Durable writes: in this order, whole or not at all, nothing replaced, a failed fsync believed."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from station.runtime.durable import (
    Differs,
    make_directory,
    move_away,
    place,
    replace_local,
    write_new,
)

WRITE = """
import sys
from pathlib import Path
from station.runtime.durable import FsyncFailed, write_new, replace_local
directory = Path(sys.argv[1])
call = replace_local if sys.argv[2:] else lambda path, content: write_new(
    path, content, temp=directory / "temp")
try:
    call(directory / "final", b"new content")
except FsyncFailed:
    sys.exit(7)
except OSError:
    sys.exit(8)
"""
FAILPOINTS = (
    "durable.before_write durable.write durable.after_write durable.fsync durable.before_link durable.after_link "
    "durable.fsync_directory durable.before_unlink durable.done"
).split()


def write_with(failpoint: str, directory: Path, *extra: str) -> int:
    return subprocess.run(
        [sys.executable, "-c", WRITE, str(directory), *extra],
        env=os.environ | {"STATION_FAILPOINT": failpoint},
        timeout=30,
        check=False,
    ).returncode


def test_a_new_file_is_made_and_the_temporary_name_is_gone(tmp_path: Path) -> None:
    assert write_new(tmp_path / "final", b"content", temp=tmp_path / "temp") is True
    assert os.listdir(tmp_path) == ["final"]
    assert (tmp_path / "final").read_bytes() == b"content"


def test_equal_content_is_adopted_and_other_content_left_alone(tmp_path: Path) -> None:
    final = tmp_path / "final"
    write_new(final, b"content", temp=tmp_path / "temp")
    inode = final.stat().st_ino
    assert write_new(final, b"content", temp=tmp_path / "temp") is False
    for other in (b"CONTENT", b"more content", b""):
        with pytest.raises(Differs):
            write_new(final, other, temp=tmp_path / "temp")
    assert (final.stat().st_ino, final.read_bytes()) == (inode, b"content")
    assert os.listdir(tmp_path) == ["final"]


def test_a_link_whose_answer_was_lost_is_our_own(tmp_path: Path) -> None:
    temp, final = tmp_path / "temp", tmp_path / "final"
    temp.write_bytes(b"content")
    os.link(temp, final)
    assert place(temp, final) is False
    assert os.listdir(tmp_path) == ["final"]


def test_a_leftover_of_a_killed_writer_is_in_nobodys_way(tmp_path: Path) -> None:
    (tmp_path / "temp").write_bytes(b"half of some")
    write_new(tmp_path / "final", b"content", temp=tmp_path / "temp")
    assert (tmp_path / "final").read_bytes() == b"content"


@pytest.mark.parametrize("failpoint", FAILPOINTS)
def test_killed_at_any_step_the_file_is_whole_or_absent_and_can_be_made(
    tmp_path: Path, failpoint: str
) -> None:
    assert write_with(failpoint, tmp_path) == -9
    final = tmp_path / "final"
    assert not final.exists() or final.read_bytes() == b"new content"
    assert write_with("", tmp_path) == 0
    assert os.listdir(tmp_path) == ["final"]


@pytest.mark.parametrize("failpoint", FAILPOINTS)
def test_an_io_error_at_any_step_is_told_and_never_leaves_half(
    tmp_path: Path, failpoint: str
) -> None:
    expected = 7 if failpoint in ("durable.fsync", "durable.fsync_directory") else 8
    assert write_with(f"{failpoint}:eio", tmp_path) == expected
    final = tmp_path / "final"
    assert not final.exists() or final.read_bytes() == b"new content"
    assert not (tmp_path / "temp").exists() or failpoint == "durable.before_write"


def test_after_a_failed_fsync_the_bytes_are_not_believed(tmp_path: Path) -> None:
    assert write_with("durable.fsync:eio", tmp_path) == 7
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("failpoint", ["durable.write", "durable.fsync", "durable.fsync_directory"])
def test_a_state_file_is_old_or_new_after_a_kill(tmp_path: Path, failpoint: str) -> None:
    final = tmp_path / "final"
    replace_local(final, b"old content")
    assert write_with(failpoint, tmp_path, "replace") == -9
    expected = b"new content" if failpoint.endswith("directory") else b"old content"
    assert final.read_bytes() == expected


def test_a_state_file_is_for_its_owner_only(tmp_path: Path) -> None:
    replace_local(tmp_path / "final", b"secret")
    assert (tmp_path / "final").stat().st_mode & 0o777 == 0o600
    assert os.listdir(tmp_path) == ["final"]


def test_directories_are_made_below_the_root_but_never_the_root(tmp_path: Path) -> None:
    make_directory(tmp_path / "a" / "b" / "c", tmp_path)
    make_directory(tmp_path / "a" / "b" / "c", tmp_path)
    assert (tmp_path / "a" / "b" / "c").is_dir()
    with pytest.raises(FileNotFoundError):
        make_directory(tmp_path / "unmounted" / "a", tmp_path / "unmounted")
    assert not (tmp_path / "unmounted").exists()


def test_what_is_taken_away_never_lands_on_something(tmp_path: Path) -> None:
    (tmp_path / "one").write_bytes(b"1")
    (tmp_path / "other").write_bytes(b"2")
    with pytest.raises(FileExistsError):
        move_away(tmp_path / "one", tmp_path / "other")
    move_away(tmp_path / "one", tmp_path / "free")
    assert (tmp_path / "free").read_bytes() == b"1"
    assert (tmp_path / "other").read_bytes() == b"2"


def test_a_failpoint_is_armed_for_the_nth_time(tmp_path: Path) -> None:
    assert write_with("durable.write:eio@2", tmp_path) == 0
    assert write_with("durable.write:explode", tmp_path) == 1
