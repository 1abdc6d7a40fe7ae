"""`station join TOKEN HOST` and `station replace NAME TOKEN HOST`: this station becomes a member of HOST's group.

Who HOST is, is decided by the fingerprint in the token and nothing else: the root is fetched without trust, its
fingerprint compared, and only then is it trusted for the conversation in which the secret is said. HOST may be any
name or address of any station, so the name in its certificate is not compared.
"""

import asyncio
import hmac
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from station.config.schema import Config
from station.model.identity import StationName
from station.model.records import GroupRecord, StationRecord
from station.peering.candidate import Candidate, own_address
from station.peering.conversation import ConversationFailed, converse
from station.peering.group import write_keys
from station.peering.identity import GroupIdentity, refuse_second_identity
from station.peering.keys import Authority, KeysInvalid, fingerprint, new_serial
from station.peering.token import JoinToken
from station.runtime.clock import Clock, system_clock
from station.runtime.lines import line

CA_PATH = "/ca.pem"
JOIN_PATH = "/group/join"
CA_DEADLINE_S = 10.0
# The accepting station writes durably and tells a peer before it answers.
JOIN_DEADLINE_S = 30.0
CA_BYTES_MAX = 64 * 1024
ANSWER_BYTES_MAX = 1024 * 1024  # keys, and the records of some hundred stations


class JoinError(Exception):
    """This station did not become a member; its state directory is as before. The message is for a person."""


class JoinRefused(JoinError):
    """The group said no. `code` as in the answer; `fields`: what differs, with both values."""

    def __init__(self, code: str, message: str, fields: tuple[Mapping[str, str], ...] = ()) -> None:
        super().__init__(message)
        self.code = code
        self.fields = fields


@dataclass(frozen=True, slots=True)
class _Answer:
    group: GroupRecord
    authority: Authority
    stations: tuple[StationRecord, ...]
    created: GroupRecord


def join_group(
    config: Config, token: str, host: str, clock: Clock | None = None, *, replaces: str = ""
) -> GroupIdentity:
    """As `join`, for callers without an event loop."""
    return asyncio.run(join(config, token, host, clock or system_clock(), replaces=replaces))


def facts_of(name: str, token: str, host: str) -> tuple[GroupRecord, StationRecord]:
    """What the group at `host` knows of its absent station `name`; the token stays good.

    Raises TokenInvalid, JoinRefused (no such station, or it is present), JoinError.
    """
    return asyncio.run(_facts_of(name, JoinToken.parse(token), host))


async def join(
    config: Config, token: str, host: str, clock: Clock, *, replaces: str = ""
) -> GroupIdentity:
    """Join the group of the station at `host` (name, address; with `:PORT` to override the token's port).

    `replaces`: the absent station whose name, and nothing else, this one takes over from another host.
    Raises TokenInvalid, IdentityError (already in a group), JoinRefused, JoinError, OSError.
    """
    state = Path(config.state_directory)
    refuse_second_identity(state)
    parsed = JoinToken.parse(token)
    base = base_url(host, parsed.port)
    try:
        candidate = Candidate.of(config, new_serial(), own_address(config))
        root = await _root_of(base, parsed)
        wire = await _ask(
            base,
            root,
            parsed,
            {"wall": clock.wall(), "replaces": replaces, **candidate.to_wire()},
        )
        answer = _accepted(wire, parsed)
        write_keys(config, answer.authority, candidate.station, clock.wall())
    except (ConversationFailed, KeysInvalid, ValueError) as error:
        raise JoinError(f"{host}: {error}") from error
    except JoinRefused as error:
        line("error", "join.refused", host=host, code=error.code, reason=str(error))
        raise
    identity = GroupIdentity(
        StationName.parse(config.name),
        answer.group,
        members=answer.stations,
        created=answer.created,
    )
    identity.save(state)
    return identity


def base_url(host: str, port: int) -> str:
    """`HOST`, `HOST:PORT`, `IPv6` or `[IPv6]:PORT` as the beginning of a URL. Raises JoinError."""
    name, colon, given = host.rpartition(":")
    if (host.count(":") > 1 and not host.startswith("[")) or not colon or host.endswith("]"):
        name, given = host, str(port)
    name = name.strip("[]")
    if not name or not given.isdecimal() or not all(c.isalnum() or c in ".-_:" for c in name):
        raise JoinError(f"{host!r}: expected a host name or an address, with or without :PORT")
    return f"https://[{name}]:{given}" if ":" in name else f"https://{name}:{given}"


async def _root_of(base: str, token: JoinToken) -> str:
    """The group's root as HOST tells it, once it is the one that the token names."""
    blind = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    blind.check_hostname = False
    # Nothing is said in this conversation, and its answer is compared.
    blind.verify_mode = ssl.CERT_NONE
    async with _client(blind) as client:
        reply = await converse(
            client, "GET", base + CA_PATH, deadline_s=CA_DEADLINE_S, bytes_max=CA_BYTES_MAX
        )
    if reply.status != 200:
        raise JoinError(f"{base}{CA_PATH} answered {reply.status}: is this a station's https port?")
    root = reply.body.decode("ascii", "replace")
    if not hmac.compare_digest(fingerprint(root), token.fingerprint):
        raise JoinError(
            f"{base} is not of the group that made this token, or somebody stands between: its root "
            f"certificate has the fingerprint {fingerprint(root).hex()}, the token names "
            f"{token.fingerprint.hex()}"
        )
    return root


async def _facts_of(name: str, token: JoinToken, host: str) -> tuple[GroupRecord, StationRecord]:
    base = base_url(host, token.port)
    try:
        root = await _root_of(base, token)
        wire = await _ask(base, root, token, {"facts_of": name})
        return (
            GroupRecord.model_validate(wire.get("group")),
            StationRecord.model_validate(wire.get("station")),
        )
    except (ConversationFailed, ValueError) as error:
        raise JoinError(f"{host}: {error}") from error


async def _ask(base: str, root: str, token: JoinToken, body: Mapping[str, Any]) -> dict[str, Any]:
    """The answer to a request that shows the token's secret. Raises JoinError, ConversationFailed, ValueError."""
    trusting = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    trusting.check_hostname = False
    trusting.load_verify_locations(cadata=root)
    async with _client(trusting) as client:
        reply = await converse(
            client,
            "POST",
            base + JOIN_PATH,
            json={"secret": token.secret.hex(), **body},
            deadline_s=JOIN_DEADLINE_S,
            bytes_max=ANSWER_BYTES_MAX,
        )
    wire = reply.json()
    if reply.status != 200:
        raise _refusal(wire.get("error"), reply.status)
    return dict(wire)


def _accepted(wire: Mapping[str, Any], token: JoinToken) -> _Answer:
    stations = wire.get("stations")
    answer = _Answer(
        GroupRecord.model_validate(wire.get("group")),
        Authority.from_wire(wire.get("authority")),
        tuple(
            StationRecord.model_validate(record)
            for record in (stations if isinstance(stations, list) else [])
        ),
        GroupRecord.model_validate(wire.get("created")),
    )
    if fingerprint(answer.authority.ca) != token.fingerprint:
        raise KeysInvalid("the keys in the answer are not of the group that made this token")
    return answer


def _refusal(error: Any, status: int) -> JoinError:
    if not isinstance(error, dict):
        return JoinError(f"the station answered {status} without a reason")
    fields = error.get("fields")
    return JoinRefused(
        str(error.get("code", "")),
        str(error.get("message", ""))[:4000],
        tuple(field for field in fields if isinstance(field, dict))
        if isinstance(fields, list)
        else (),
    )


def _client(context: ssl.SSLContext) -> httpx.AsyncClient:
    # No proxy of the environment: the secret goes to HOST and nowhere else.
    return httpx.AsyncClient(verify=context, trust_env=False, follow_redirects=False, timeout=None)
