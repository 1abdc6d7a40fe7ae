"""The ledger: the registry's entries on the local disk, durable before anything they say leaves this station.

One SQLite file in the state directory, one connection, one user: a plain synchronous class, to be called from one
thread at a time. A ledger that cannot be trusted is never repaired in place: it is set aside under another name,
loudly, and begun anew under a new epoch; the peers have everything, and the addresses of the peers are saved over.
"""

import os
import secrets
import sqlite3
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from hashlib import blake2b
from pathlib import Path
from typing import TypeVar

from station.gossip.codec import Malformed
from station.gossip.entry import Entry, Gone, HighWater, Row, told
from station.gossip.rows import decode_entry, decode_high_water, encode_entry, encode_high_water
from station.model.records import Kind
from station.runtime.lines import line

FILE_NAME = "registry.sqlite"
SCHEMA = 1
# The file has one user; a lock is another process that should not be there, or a backup that is about to end.
LOCK_WAIT_S = 5.0
EPOCH_BYTES = 8

_T = TypeVar("_T")
_TABLES = """
CREATE TABLE IF NOT EXISTS entries (
    kind TEXT NOT NULL, key TEXT NOT NULL, place INTEGER NOT NULL, body BLOB NOT NULL, checksum BLOB NOT NULL,
    PRIMARY KEY (kind, key, place)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS marks (
    name TEXT NOT NULL PRIMARY KEY, body BLOB NOT NULL, checksum BLOB NOT NULL
) WITHOUT ROWID;
"""


class LedgerInUse(OSError):
    """Another process holds the ledger. Nothing was changed: two stations on one state directory would be a clone."""


class _Damaged(Exception):
    """What was read is not what was written. `members` are the station records that still are."""

    def __init__(self, reason: str, members: tuple[Entry, ...] = ()) -> None:
        super().__init__(reason)
        self.members = members


class Ledger:
    """The registry on disk. Opens or creates `directory`/registry.sqlite; raises LedgerInUse, OSError.

    `set_aside`: where a damaged ledger was moved at load, None when there was none.
    """

    def __init__(self, directory: Path) -> None:
        self._path = directory / FILE_NAME
        self._connection: sqlite3.Connection | None = None
        self.set_aside: Path | None = None
        self._rescued: tuple[Entry, ...] = ()

    def load(self) -> tuple[str, list[Entry], HighWater | None]:
        """The epoch, the entries and the high water; a new random epoch and None when there is no state to trust."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        try:
            self._connection = self._open()
            return self._read()
        except (_Damaged, sqlite3.DatabaseError) as error:
            if isinstance(error, sqlite3.OperationalError) and "locked" in str(error):
                self.close()
                raise LedgerInUse(f"{self._path}: {error}") from error
            members = error.members if isinstance(error, _Damaged) else ()
            self._begin_anew(str(error), members)
        return secrets.token_hex(EPOCH_BYTES), list(self._rescued), None

    def persist(self, entries: Iterable[Row], high_water: HighWater | None = None) -> None:
        """Make rows and high water durable, all or none, before returning. Raises sqlite3.Error; nothing is then kept.

        Each record named among the rows is replaced by the rows of that record.
        """
        rows = list(entries)
        connection = self._connection
        assert connection is not None, "load comes first"
        with connection:
            connection.execute("BEGIN IMMEDIATE")
            connection.executemany(
                "DELETE FROM entries WHERE kind = ? AND key = ?",
                {(row.kind, row.key) for row in rows},
            )
            connection.executemany("INSERT INTO entries VALUES (?, ?, ?, ?, ?)", _sealed(rows))
            if high_water is not None:
                body = encode_high_water(high_water)
                connection.execute(
                    "INSERT OR REPLACE INTO marks VALUES ('high_water', ?, ?)", (body, _sum(body))
                )

    def close(self) -> None:
        """Close the file. A ledger that was closed can be loaded again."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _open(self) -> sqlite3.Connection:
        connection = sqlite3.connect(
            self._path, timeout=LOCK_WAIT_S, isolation_level=None, check_same_thread=False
        )
        try:
            # One process, and no reader beside it: exclusive keeps a second station out.
            connection.execute("PRAGMA locking_mode = EXCLUSIVE")
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")
            (schema,) = connection.execute("PRAGMA user_version").fetchone()
            if schema not in (0, SCHEMA):
                raise _Damaged(f"written by another release: schema {schema}, we know {SCHEMA}")
            connection.executescript(_TABLES)
            connection.execute(f"PRAGMA user_version = {SCHEMA}")
        except BaseException:
            connection.close()
            raise
        os.chmod(self._path, 0o600)
        directory = os.open(self._path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(directory)  # the file's name must survive what its content survives
        finally:
            os.close(directory)
        return connection

    def _read(self) -> tuple[str, list[Entry], HighWater | None]:
        assert self._connection is not None, "opened by load"
        entries: list[Entry] = []
        reason, high_water = "", None
        with closing(self._connection.execute("SELECT body, checksum FROM entries")) as rows:
            for body, checksum in rows:
                try:
                    entries.append(_unsealed(decode_entry, body, checksum))
                except _Damaged as error:
                    reason = reason or str(error)
        for body, checksum in self._connection.execute("SELECT body, checksum FROM marks"):
            try:
                high_water = _unsealed(decode_high_water, body, checksum)
            except _Damaged as error:
                reason = reason or str(error)
        if reason:
            members = (entry for entry in entries if entry.kind == Kind.STATION and entry.value)
            raise _Damaged(reason, tuple(told(e.kind, e.key, e.value or {}) for e in members))
        return (
            high_water.epoch if high_water else secrets.token_hex(EPOCH_BYTES),
            entries,
            high_water,
        )

    def _begin_anew(self, reason: str, members: tuple[Entry, ...]) -> None:
        self.close()
        aside = self._path.with_name(f"{FILE_NAME}.damaged-{secrets.token_hex(4)}")
        for suffix in ("", "-wal", "-shm"):
            held = Path(f"{self._path}{suffix}")
            if held.exists():
                held.rename(f"{aside}{suffix}")
        line("error", "ledger.set_aside", reason=reason, path=str(aside), members=len(members))
        self.set_aside, self._rescued = aside, members
        self._connection = self._open()
        self.persist(members)


def _sum(body: bytes) -> bytes:
    return blake2b(body, digest_size=8).digest()


def _sealed(rows: Iterable[Row]) -> Iterator[tuple[str, str, int, bytes, bytes]]:
    for place, row in enumerate(rows):  # the place only keeps apart the rows of one record
        if isinstance(row, Gone):
            continue
        body = encode_entry(row)
        yield row.kind, row.key, place, body, _sum(body)


def _unsealed(decode: Callable[[bytes], _T], body: object, checksum: object) -> _T:
    if not isinstance(body, bytes) or _sum(body) != checksum:
        raise _Damaged("a row is not what was written")
    try:
        return decode(body)
    except Malformed as error:
        raise _Damaged(str(error)) from error
