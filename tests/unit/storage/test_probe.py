"""The probe: it names what the storage is not able to do."""

import errno
import os
import tempfile
from pathlib import Path

import pytest

from station.model.states import StorageState
from station.storage.errors import from_os_error
from station.storage.layout import Layout
from station.storage.probe import probe_storage
from station.storage.space import FLOOR_BYTES_MAX, FLOOR_BYTES_MIN, Space, measure_space
from tests.unit.storage.shelf import GROUP, STATION, a_layout

GIB = 1024**3


def test_a_storage_that_is_ours_is_ready_and_measured(tmp_path: Path) -> None:
    layout = a_layout(tmp_path)
    found = probe_storage(layout, STATION, group_id=GROUP)
    assert (found.state, found.detail) == (StorageState.READY, "")
    assert found.storage_id
    assert 0 < found.free <= found.capacity == measure_space(layout.root).capacity


def test_a_probe_leaves_nothing_behind(tmp_path: Path) -> None:
    layout = a_layout(tmp_path)
    probe_storage(layout, STATION)
    files = [path for path in layout.root.rglob("*") if path.is_file()]
    assert files == [layout.marker]


def test_an_unmounted_path_is_missing_and_stays_empty(tmp_path: Path) -> None:
    assert probe_storage(Layout(tmp_path), STATION).state is StorageState.MISSING
    assert list(tmp_path.iterdir()) == []
    assert probe_storage(Layout(tmp_path / "gone"), STATION).state is StorageState.MISSING


def test_another_groups_storage_is_foreign_and_is_not_written_to(tmp_path: Path) -> None:
    layout = a_layout(tmp_path)
    before = sorted(layout.root.rglob("*"))
    assert probe_storage(layout, STATION, group_id="h").state is StorageState.FOREIGN
    assert probe_storage(layout, STATION, storage_id="other").state is StorageState.FOREIGN
    layout.marker.write_bytes(b"?")
    assert probe_storage(layout, STATION).state is StorageState.FOREIGN
    assert sorted(layout.root.rglob("*")) == before


def test_a_path_we_may_not_use_is_denied(tmp_path: Path) -> None:
    layout = a_layout(tmp_path)
    layout.root.chmod(0)
    me = os.geteuid()
    if me == 0:
        os.seteuid(65534)  # root is refused nothing
    try:
        found = probe_storage(layout, STATION)
    finally:
        os.seteuid(me)
        layout.root.chmod(0o700)
    assert found.state is StorageState.DENIED


@pytest.mark.skipif(os.geteuid() != 0, reason="only root becomes somebody else")
def test_a_station_of_another_user_on_a_shared_storage_is_told_both_users() -> None:
    with tempfile.TemporaryDirectory() as name:  # pytest's own are for nobody else
        Path(name).chmod(0o755)
        layout = a_layout(Path(name))
        assert probe_storage(layout, STATION).state is StorageState.READY
        os.seteuid(65534)
        try:
            found = probe_storage(layout, "OtherStation")
        finally:
            os.seteuid(0)
    assert found.state is StorageState.DENIED
    assert found.detail.endswith(
        f"{layout.staging_directory} belongs to uid 0, this station runs as uid 65534"
    )


@pytest.mark.parametrize(
    ("number", "code"),
    [
        (errno.ENOSPC, "full"),
        (errno.EDQUOT, "full"),
        (errno.EROFS, "read-only"),
        (errno.EACCES, "denied"),
        (errno.ESTALE, "missing"),
        (errno.EIO, "io"),
    ],
)
def test_what_the_kernel_says_is_told_as_a_code(number: int, code: str) -> None:
    assert from_os_error(OSError(number, "x")).code == code


def test_the_floor_is_a_hundredth_within_bounds() -> None:
    assert Space(GIB, GIB, None).floor == FLOOR_BYTES_MIN
    assert Space(50 * GIB, GIB, None).floor == GIB // 2
    assert Space(10_000 * GIB, GIB, None).floor == FLOOR_BYTES_MAX
    assert Space(GIB, FLOOR_BYTES_MIN - 1, None).is_full
    assert not Space(GIB, FLOOR_BYTES_MIN, 5000).is_full
    assert Space(GIB, GIB, 3).is_full  # out of names before bytes


def test_a_probe_that_does_not_write_still_reads_the_marker(tmp_path: Path) -> None:
    layout = a_layout(tmp_path)
    assert probe_storage(layout, STATION, is_writing=False).state is StorageState.READY
    assert list(layout.staging_directory.iterdir()) == []
    layout.marker.unlink()
    assert probe_storage(layout, STATION, is_writing=False).state is StorageState.MISSING
