"""`station group create`: the first station of a group makes its keys and its name."""

import secrets
from pathlib import Path

from station.config.schema import Config
from station.model.identity import StationName
from station.model.records import Kind, StationRecord
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
    candidate = Candidate.of(config, new_serial())
    record = candidate.group_record(group)
    seeds = (
        Change.put(Kind.GROUP, GROUP_KEY, record),
        Change.put(Kind.STATION, config.name, candidate.station),
    )
    write_keys(config, create_authority(config.hostname, now), candidate.station.serial, now)
    identity = GroupIdentity(StationName.parse(config.name), record, seeds)
    identity.save(state)
    return identity


def write_keys(config: Config, authority: Authority, serial: str, now: float) -> None:
    """This station's leaves, and all keys on its disk. `serial`: of the peer's leaf. Raises KeysInvalid, OSError."""
    peer = issue_peer_leaf(authority, config.name, now, serial=serial)
    public = issue_public_leaf(authority, public_names(config.hostname, own_address(config)), now)
    Pki(Path(config.state_directory)).create(authority, peer, public)


def renew_keys(config: Config, now: float) -> list[str]:
    """Renew what is due, or issued for another name or address: `peer`, `public`. Raises KeysInvalid, OSError."""
    names = public_names(config.hostname, own_address(config))
    return Pki(Path(config.state_directory)).renew(config.name, names, now)


def station_record(config: Config) -> StationRecord:
    """What this station's record should say now, with the certificate on its disk. Raises KeysInvalid."""
    serial = Pki(Path(config.state_directory)).peer_leaf().serial
    return Candidate.of(config, serial).station
