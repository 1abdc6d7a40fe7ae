"""What persist returned from is there again, whole; what is damaged is set aside, never believed."""

import sqlite3
import stat
from pathlib import Path

import pytest

from station.gossip.entry import Entry, Gone, HighWater, Mark, Origin, Stamp, told
from station.peering.ledger import FILE_NAME, Ledger, LedgerInUse

ORIGIN = Origin("A", "e1")


def an_entry(key: str, sequence: int, n: int = 1, kind: str = "settings") -> Entry:
    return Entry(kind, key, ORIGIN, sequence, Stamp(1_700_000_000_000 + sequence, 0), {"n": n})


def a_high_water(sequence: int) -> HighWater:
    return HighWater(Stamp(1_700_000_000_000, 3), "e1", (Mark(ORIGIN, sequence),), ())


def opened(directory: Path) -> Ledger:
    ledger = Ledger(directory)
    ledger.load()
    return ledger


def test_new_ledger_has_a_new_epoch_and_nothing_else(tmp_path: Path) -> None:
    epochs = set()
    for name in "ab":
        ledger = Ledger(tmp_path / name / "state")
        epoch, entries, high_water = ledger.load()
        assert (entries, high_water, ledger.set_aside) == ([], None, None)
        epochs.add(epoch)
        ledger.close()
    assert len(epochs) == 2 and all(len(epoch) == 16 for epoch in epochs)
    assert stat.S_IMODE((tmp_path / "a" / "state" / FILE_NAME).stat().st_mode) == 0o600


def test_what_was_persisted_is_loaded(tmp_path: Path) -> None:
    ledger = opened(tmp_path)
    conflict = Entry(
        "settings", "k", Origin("B", "e2"), 7, Stamp(5, 0), None, an_entry("k", 1).version
    )
    rows = [an_entry("k", 1), conflict, an_entry("l", 2)]
    ledger.persist(rows, a_high_water(2))
    ledger.close()
    epoch, entries, high_water = ledger.load()
    ledger.close()
    assert epoch == "e1" and high_water == a_high_water(2)
    assert sorted(entries, key=lambda e: (e.key, e.sequence)) == rows


def test_rows_of_a_record_replace_its_rows_and_gone_removes_them(tmp_path: Path) -> None:
    ledger = opened(tmp_path)
    ledger.persist([an_entry("k", 1), an_entry("l", 2)], a_high_water(2))
    ledger.persist([an_entry("k", 3), Gone("settings", "l")], a_high_water(3))
    ledger.persist([], a_high_water(9))
    ledger.close()
    _, entries, high_water = ledger.load()
    ledger.close()
    assert entries == [an_entry("k", 3)] and high_water == a_high_water(9)


def test_persist_is_all_or_nothing(tmp_path: Path) -> None:
    ledger = opened(tmp_path)
    ledger.persist([an_entry("k", 1)], a_high_water(1))
    bad = Entry("settings", "l", ORIGIN, 3, Stamp(1, 0), {"n": object()})
    with pytest.raises(Exception, match="serializ"):
        ledger.persist([an_entry("k", 2), bad], a_high_water(3))
    ledger.close()
    _, entries, high_water = ledger.load()
    ledger.close()
    assert entries == [an_entry("k", 1)] and high_water == a_high_water(1)


def test_what_was_persisted_survives_a_copy_of_the_files_without_close(tmp_path: Path) -> None:
    ledger = opened(tmp_path / "a")
    ledger.persist([an_entry("k", 1)], a_high_water(1))
    (tmp_path / "b").mkdir()
    for path in (tmp_path / "a").iterdir():  # what a disk holds after the power went
        (tmp_path / "b" / path.name).write_bytes(path.read_bytes())
    ledger.close()
    copy = Ledger(tmp_path / "b")
    assert copy.load()[1] == [an_entry("k", 1)]
    copy.close()


def test_second_process_is_kept_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("station.peering.ledger.LOCK_WAIT_S", 0.05)
    first = opened(tmp_path)
    with pytest.raises(LedgerInUse):
        Ledger(tmp_path).load()
    assert [path.name for path in tmp_path.iterdir() if "damaged" in path.name] == []
    first.close()


def test_file_that_is_no_database_is_set_aside_loudly(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / FILE_NAME).write_bytes(b"not a database " * 1000)
    ledger = Ledger(tmp_path)
    epoch, entries, high_water = ledger.load()
    assert entries == [] and high_water is None and epoch
    assert ledger.set_aside is not None
    assert ledger.set_aside.read_bytes().startswith(b"not a database")
    assert "ledger.set_aside" in capsys.readouterr().err
    ledger.persist([an_entry("k", 1)], a_high_water(1))
    ledger.close()


@pytest.mark.parametrize("cast", ["BLOB", "TEXT"])
@pytest.mark.parametrize("table", ["entries", "marks"])
def test_damaged_row_costs_the_ledger_but_not_the_addresses_of_the_peers(
    tmp_path: Path, table: str, cast: str, capsys: pytest.CaptureFixture[str]
) -> None:
    ledger = opened(tmp_path)
    record = {"name": "B", "address": "b.example.com"}
    member = Entry("station", "B", ORIGIN, 1, Stamp(1, 0), record)
    ledger.persist([member, an_entry("k", 2)], a_high_water(2))
    ledger.close()
    connection = sqlite3.connect(tmp_path / FILE_NAME)
    where = "WHERE key = 'k'" if table == "entries" else ""
    connection.execute(f"UPDATE {table} SET body = CAST(replace(body, '1', '2') AS {cast}) {where}")
    connection.commit()
    connection.close()
    epoch, entries, high_water = ledger.load()
    assert epoch != "e1" and high_water is None
    assert entries == [told("station", "B", record)]
    assert ledger.set_aside is not None and ledger.set_aside.exists()
    ledger.close()
    assert ledger.load()[1] == [told("station", "B", record)]
    ledger.close()


def test_ledger_of_a_newer_release_is_set_aside_not_overwritten(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    connection = sqlite3.connect(tmp_path / FILE_NAME)
    connection.execute("PRAGMA user_version = 99")
    connection.commit()
    connection.close()
    ledger = Ledger(tmp_path)
    ledger.load()
    ledger.close()
    assert ledger.set_aside is not None and "schema 99" in capsys.readouterr().err


def test_ten_thousand_rows_are_one_step(tmp_path: Path) -> None:
    ledger = opened(tmp_path)
    ledger.persist([an_entry(f"k{n}", n + 1) for n in range(10_000)], a_high_water(10_000))
    ledger.close()
    assert len(ledger.load()[1]) == 10_000
    ledger.close()
