"""Intents: what a running sync is about to rely on, written before it first looks whether something is there.

The writer declares, then looks; the collector takes away, then looks at the declarations. One always sees the other.
"""

import json
import os
import secrets
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from station.model.identity import Revision, SourceId
from station.runtime.durable import make_directory, write_new
from station.storage.errors import StorageError
from station.storage.layout import Layout


@dataclass(frozen=True, slots=True)
class Intent:
    """One declaration. `revision` may be empty: single objects, for a fill."""

    path: Path
    source: str
    revision: str
    boot_id: str
    pid: int

    @property
    def is_abandoned(self) -> bool:
        """Whether the process that wrote it, on this machine, has ended. Meaningless for another station's."""
        return self.boot_id != boot_id() or not Path(f"/proc/{self.pid}").exists()

    def objects(self) -> Iterator[str]:
        """The declared checksums, in hex. Raises OSError."""
        with self.path.open("r", encoding="ascii") as file:
            next(file, None)
            for line in file:
                yield line.rstrip("\n")


def declare_intent(
    layout: Layout, station: str, source: str, revision: str, objects: Iterable[str]
) -> Intent:
    """Declare durably that this process relies on `revision` (or "") and on these objects. Raises OSError.

    `withdraw_intent` when the revision is complete, or given up.
    """
    intent = Intent(
        layout.intents(station) / f"{SourceId.parse(source)[:64]}-{secrets.token_hex(8)}",
        source,
        Revision.parse(revision) if revision else "",
        boot_id(),
        os.getpid(),
    )
    head = {"source": source, "revision": revision, "boot_id": intent.boot_id, "pid": intent.pid}
    lines = [json.dumps(head), *objects]
    make_directory(layout.partial(station), layout.staging_directory)
    make_directory(intent.path.parent, layout.staging_directory)
    write_new(
        intent.path,
        ("\n".join(lines) + "\n").encode("ascii"),
        temp=layout.partial(station) / f"intent-{intent.path.name}",
    )
    return intent


def withdraw_intent(intent: Intent) -> None:
    """The process no longer relies on it. Raises OSError."""
    intent.path.unlink(missing_ok=True)


def read_intents(layout: Layout) -> Iterator[Intent]:
    """The intents of all stations. One that vanishes meanwhile is passed over.

    Raises StorageError (damaged) for one that cannot be read: whoever collects must not guess. Raises OSError.
    """
    for station in _names(layout.staging_directory):
        yield from _of_station(layout.staging_directory / station / "intents")


def reclaim_intents(layout: Layout, station: str) -> int:
    """Remove those of this station's processes that have ended. Returns how many. Raises StorageError, OSError."""
    abandoned = [i for i in _of_station(layout.intents(station)) if i.is_abandoned]
    for intent in abandoned:
        withdraw_intent(intent)
    return len(abandoned)


def boot_id() -> str:
    """Identity of this run of this machine."""
    return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()


def _of_station(directory: Path) -> Iterator[Intent]:
    for name in _names(directory):
        path = directory / name
        try:
            with path.open("rb") as file:
                head = file.readline(4096)
        except FileNotFoundError:
            continue
        try:
            wire = json.loads(head)
            yield Intent(
                path,
                str(wire["source"]),
                str(wire["revision"]),
                str(wire["boot_id"]),
                int(wire["pid"]),
            )
        except (ValueError, KeyError, TypeError) as error:
            raise StorageError("damaged", f"{path} is no intent: {error}") from error


def _names(directory: Path) -> list[str]:
    """Sorted; empty when there is no such directory. What begins with a dot is the file system's own (.nfs…)."""
    try:
        return sorted(name for name in os.listdir(directory) if not name.startswith("."))
    except (FileNotFoundError, NotADirectoryError):
        return []
