"""`station group create`: the first station of a group makes its keys and its name."""

import secrets
from pathlib import Path

from station.config.schema import Config
from station.model.identity import StationName
from station.model.records import GroupRecord, Kind, StationRecord
from station.peering.candidate import GROUP_KEY, Candidate, own_address
from station.peering.changes import Change
from station.peering.identity import GroupIdentity, refuse_second_identity
from station.peering.keys import (
    Authority,
    create_authority,
    issue_peer_leaf,
    issue_public_leaf,
    new_serial,
)
from station.peering.pki import Pki, public_names
from station.runtime.clock import Clock, system_clock

GROUP_ID_BYTES = 16  # compartment and hostname may be used again; this never


def create_group(config: Config, clock: Clock | None = None) -> GroupIdentity:
    """Make keys and identity in the state directory; the records follow at the first start.

    Raises IdentityError when the directory already belongs to a group, KeysInvalid for a name that fits into no
    certificate, ValueError for a fact that no record may hold, OSError.
    """
    state = Path(config.state_directory)
    refuse_second_identity(state)
    now = (clock or system_clock()).wall()
    group = secrets.token_hex(GROUP_ID_BYTES)
    candidate = Candidate.of(config, new_serial(), own_address(config))
    record = candidate.group_record(group)
    seeds = (
        Change.put(Kind.GROUP, GROUP_KEY, record),
        Change.put(Kind.STATION, config.name, candidate.station),
    )
    write_keys(config, create_authority(config.hostname, now), candidate.station, now)
    identity = GroupIdentity(StationName.parse(config.name), record, seeds)
    identity.save(state)
    return identity


def write_keys(config: Config, authority: Authority, station: StationRecord, now: float) -> None:
    """This station's leaves, and all keys on its disk. Raises KeysInvalid, OSError."""
    peer = issue_peer_leaf(authority, station.name, now, serial=station.serial)
    names = public_names(config.hostname, station.address)
    public = issue_public_leaf(authority, names, now)
    Pki(Path(config.state_directory)).create(authority, peer, public)


def renew_keys(config: Config, now: float, group: GroupRecord | None = None) -> list[str]:
    """Renew what is due, or issued for other names or another address: `peer`, `public`. Raises KeysInvalid, OSError.

    The public leaf is good for the hostname in the file, that of the group, and those that the group had before.
    """
    pki = Pki(Path(config.state_directory))
    told = (group.hostname, *reversed(group.former_hostnames)) if group else ()
    names = public_names(config.hostname, *told, _kept_address(config, pki))
    return pki.renew(config.name, names, now)


def station_record(config: Config) -> StationRecord:
    """What this station's record should say now, with the certificate on its disk. Raises KeysInvalid."""
    pki = Pki(Path(config.state_directory))
    return Candidate.of(config, pki.peer_leaf().serial, _kept_address(config, pki)).station


def _kept_address(config: Config, pki: Pki) -> str:
    """The configured address; without one, what was this host's name when its certificate was made.

    Asked again, a resolver that is down would give another name, and the whole group would dial that.
    """
    return config.address or pki.public_leaf().names[-1]
