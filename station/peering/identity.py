"""`state_directory/identity.json`: which station of which group this is, and whom to call when nothing else is known.

Written once, by `station group create` or `station join`. A station without it does not start.
"""

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

from station.model.identity import StationName
from station.model.records import GroupRecord, Kind, StationRecord
from station.peering.changes import Change
from station.peering.pki import write_secret

FILE = "identity.json"


class IdentityError(ValueError):
    """No identity where one is needed, one where none may be, or one that cannot be read."""


@dataclass(frozen=True, slots=True)
class GroupIdentity:
    """This station's place in a group, whose record as it was then is `record`.

    `created` is what the record said when the group was created; None: the same. Peers compare that: it is equal on
    all of them for ever, whatever hostname or ports the group has got since. `seeds` are written to the registry at
    the first start of the station that created the group. `members` are the stations known when this one joined:
    dialled until the registry has arrived.
    """

    station: StationName
    record: GroupRecord
    seeds: tuple[Change, ...] = ()
    members: tuple[StationRecord, ...] = ()
    created: GroupRecord | None = None

    @property
    def facts(self) -> GroupRecord:
        """The group's record at its creation."""
        return self.created or self.record

    @property
    def group(self) -> str:
        """The group's id."""
        return self.record.id

    @classmethod
    def load(cls, state_directory: Path) -> Self:
        """Raises IdentityError: none there (the cure is named), or unreadable."""
        path = state_directory / FILE
        try:
            wire = json.loads(path.read_text(encoding="utf-8"))
            return cls(
                StationName.parse(wire["station"]),
                GroupRecord.model_validate(wire["group_record"]),
                tuple(
                    Change(Kind(seed["kind"]), seed["key"], seed["value"])
                    for seed in wire.get("seed_records", [])
                ),
                tuple(StationRecord.model_validate(record) for record in wire.get("members", [])),
                GroupRecord.model_validate(wire["created"]) if "created" in wire else None,
            )
        except FileNotFoundError:
            raise IdentityError(
                f"{state_directory} belongs to no group: run `station group create` or `station join`"
            ) from None
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise IdentityError(f"{path} cannot be read: {error}") from error

    def save(self, state_directory: Path) -> None:
        """Durable when this returns. Raises OSError."""
        wire: dict[str, Any] = {"station": self.station, "group": self.group}
        wire["group_record"] = self.record.model_dump(mode="json")
        if self.created is not None:
            wire["created"] = self.created.model_dump(mode="json")
        wire["seed_records"] = [
            {"kind": seed.kind, "key": seed.key, "value": seed.value} for seed in self.seeds
        ]
        wire["members"] = [record.model_dump(mode="json") for record in self.members]
        write_secret(state_directory / FILE, json.dumps(wire, indent=1))

    def without_seeds(self) -> Self:
        """The same, once the registry holds the seeds."""
        return replace(self, seeds=())


def refuse_second_identity(state_directory: Path) -> None:
    """Raises IdentityError when the directory already belongs to a group: two identities in one are a clone."""
    if not (state_directory / FILE).exists():
        return
    found = GroupIdentity.load(state_directory)
    raise IdentityError(
        f"{state_directory} already belongs to station {found.station} of group {found.group}"
    )
