"""A station's disk: keeps what was made durable, row by row, as the ledger does."""

from dataclasses import dataclass, field

from station.gossip.entry import Entry, Gone, HighWater, Row


@dataclass
class Disk:
    """`epoch` is that of a new ledger until a high water was written."""

    epoch: str
    rows: dict[tuple[str, str], list[Entry]] = field(default_factory=dict)
    high_water: HighWater | None = None

    def persist(self, rows: tuple[Row, ...], high_water: HighWater) -> None:
        for row in rows:
            self.rows.pop((row.kind, row.key), None)
        for row in rows:
            if not isinstance(row, Gone):
                self.rows.setdefault((row.kind, row.key), []).append(row)
        self.high_water = high_water

    def load(self) -> tuple[str, list[Entry], HighWater | None]:
        epoch = self.high_water.epoch if self.high_water else self.epoch
        return epoch, [entry for rows in self.rows.values() for entry in rows], self.high_water

    def copy(self) -> "Disk":
        rows = {record: list(entries) for record, entries in self.rows.items()}
        return Disk(self.epoch, rows, self.high_water)
