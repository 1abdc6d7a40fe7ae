"""What a host tells of itself, and how it says what cannot be had."""

import os
from pathlib import Path

import pytest

from station.cli import host_facts


def test_storage_is_known_by_the_mount_that_it_lies_below(tmp_path: Path) -> None:
    facts = host_facts.storage(str(tmp_path))
    assert os.path.commonpath([facts["mount_point"], tmp_path]) == facts["mount_point"]
    assert facts["file_system"]
    assert 0 <= facts["bytes_free"] <= facts["bytes"]


def test_storage_that_is_not_there_is_an_error_among_the_facts(tmp_path: Path) -> None:
    facts = host_facts.storage(str(tmp_path / "absent"))
    assert "No such file" in facts["error"]
    assert facts["mount_point"]


def test_files_of_the_state_are_named_and_not_read(tmp_path: Path) -> None:
    (tmp_path / "pki").mkdir()
    (tmp_path / "pki/ca.key").write_text("secret")
    rows = {row["name"]: row for row in host_facts.state_files(tmp_path)}
    assert (rows["pki/ca.key"]["bytes"], "secret" in str(rows)) == (6, False)
    with pytest.raises(FileNotFoundError):
        host_facts.state_files(tmp_path / "absent")


def test_process_of_ours_is_seen_with_its_memory() -> None:
    (row, *_) = host_facts.processes(os.getpid())
    assert (row["pid"], row["parent"]) == (os.getpid(), os.getppid())
    assert row["pss_kib"] > 1000
    assert row["descriptors"] > 0


def test_host_without_a_journal_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(FileNotFoundError, match="journalctl is not installed"):
        host_facts.journal()


@pytest.mark.parametrize("said", ["", "-- No entries --\n"])
def test_journal_without_a_word_of_the_station_is_none(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, said: str
) -> None:
    (tmp_path / "journalctl").write_text(f"#!/bin/sh\nprintf '%s' '{said}'\n")
    (tmp_path / "journalctl").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(FileNotFoundError, match="nothing of the unit"):
        host_facts.journal()


def test_versions_name_every_library_that_is_needed() -> None:
    versions = host_facts.versions()
    assert {"aiohttp", "cryptography", "pydantic"} <= set(versions["libraries"])
    assert "not installed" not in versions["libraries"].values()
