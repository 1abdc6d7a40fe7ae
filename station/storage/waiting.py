"""For how long the collector saw each thing unwanted: in the local state directory, lost without harm.

Counted in time this machine ran, look by look: no jump of a clock, and no time stamp on the storage, removes anything.
"""

import json
from dataclasses import dataclass, field
from pathlib import Path

from station.runtime.durable import replace_local
from station.runtime.lines import line

# Between two looks a thing may have been wanted for a while: one look counts for no more than this.
LOOK_S_MAX = 2 * 3600.0
# 90 bytes each on disk, some 200 in memory. What is beyond waits for the next turn.
OBJECTS_MAX = 100_000


@dataclass(slots=True)
class Waiting:
    """Seconds by object (sha256) and by revision (`source/revision`), as of `at` seconds after boot `boot_id`."""

    storage_id: str
    boot_id: str = ""
    at: float = 0.0
    objects: dict[str, float] = field(default_factory=dict)
    revisions: dict[str, float] = field(default_factory=dict)

    def elapsed(self, boot_id: str, at: float) -> float:
        """Seconds of running since the last look, at most LOOK_S_MAX. After a reboot: since it."""
        since = self.at if boot_id == self.boot_id else 0.0
        return min(max(at - since, 0.0), LOOK_S_MAX)


def load_waiting(path: Path, storage_id: str) -> Waiting:
    """What was saved, if it is about this storage; else nothing has waited yet."""
    fresh = Waiting(storage_id)
    try:
        wire = json.loads(path.read_bytes())
        if wire["storage_id"] != storage_id:
            return fresh
        return Waiting(
            storage_id,
            str(wire["boot_id"]),
            float(wire["at"]),
            {str(name): float(s) for name, s in wire["objects"].items()},
            {str(name): float(s) for name, s in wire["revisions"].items()},
        )
    except FileNotFoundError:
        return fresh
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        line("warning", "storage.waiting_lost", path=path, error=error)
        return fresh


def save_waiting(path: Path, waiting: Waiting) -> None:
    """Raises OSError."""
    wire = {
        "storage_id": waiting.storage_id,
        "boot_id": waiting.boot_id,
        "at": waiting.at,
        "objects": waiting.objects,
        "revisions": waiting.revisions,
    }
    replace_local(path, json.dumps(wire, separators=(",", ":")).encode())
