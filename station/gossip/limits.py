"""The numbers of gossip that a test of years or of floods wants otherwise."""

from dataclasses import dataclass

DAY_S = 86_400.0


@dataclass(frozen=True, slots=True)
class Limits:
    """`delta_bytes`: of entries per message; raising it makes one message hold the loop longer (1 MiB: 20 ms).

    `tombstone_life_s`: how long a deletion is remembered after all members have it; a message may be late for less
    than that. `collect_every_s`: between two looks for collectable tombstones; each reads every record.
    """

    delta_bytes: int = 1024 * 1024
    tombstone_life_s: float = 7 * DAY_S
    collect_every_s: float = 60.0
