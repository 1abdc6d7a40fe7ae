"""Who may join the group: the accepting side of `station join`.

The public https listener relays `POST /group/join` here. Nothing is said about the group before the token's secret
was found right. A refusal names both values of every field that differs, in the answer and in our own log, and
does not use the token up.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from station.model.records import GroupRecord, Kind, StationRecord
from station.peering.candidate import Candidate
from station.peering.changes import Change
from station.peering.keys import COMMON_NAME_MAX, Authority
from station.peering.token import JoinToken, TokenRecord, digest_of, key_of, new_token
from station.runtime.lines import line

BODY_BYTES_MAX = 64 * 1024  # a candidate with 200 proxy ranges has 8 KiB
# A person mistypes a token a few times; a machine that guesses 256 bits is stopped for the sake of the log.
FAILURES_MAX = 10
FAILURES_WINDOW_S = 60.0
# Beyond this the group would accept no change of the newcomer, and perhaps not its certificate.
CLOCK_DIFFERENCE_S_MAX = 60.0
WALL_MAX = 10**12  # some ten thousand years; a larger integer may not fit into a float
CLIENTS_MAX = 1024  # addresses whose failures are remembered; beyond that the oldest is forgotten


class DeskRegistry(Protocol):
    """What the desk needs of the registry. `created`: the group's record at its creation, which members compare."""

    created: GroupRecord

    def group(self) -> GroupRecord | None: ...
    def stations(self) -> Mapping[str, StationRecord]: ...
    def settings(self) -> Mapping[str, Mapping[str, Any]]: ...
    def is_present(self, station: str) -> bool: ...
    async def write(self, changes: Sequence[Change]) -> object: ...


@dataclass(frozen=True, slots=True)
class Verdict:
    """The answer to a candidate, and the changes that must be durable before it is given."""

    status: int
    answer: dict[str, Any]
    changes: tuple[Change, ...] = ()


class JoinDesk:
    """Makes tokens and judges candidates. `authority` reads the group's keys, only when somebody is accepted."""

    def __init__(
        self, station: str, registry: DeskRegistry, authority: Callable[[], Authority]
    ) -> None:
        self._station = station
        self._registry = registry
        self._authority = authority
        self._spent: dict[str, float] = {}  # digest → expiry; also between judging and writing
        self._failures: dict[str, tuple[int, float]] = {}

    async def issue(self, fingerprint: bytes, https_port: int, now: float) -> JoinToken:
        """A token good once, for an hour, at any station of the group that has heard of it.

        Records of expired tokens are removed on the way. `now`: wall clock, seconds. Raises what the registry's
        write raises.
        """
        token = new_token(fingerprint, https_port)
        stale = [
            Change.delete(Kind.SETTINGS, key)
            for key, value in self._registry.settings().items()
            if (record := TokenRecord.parse(value)) and record.expires < now
        ]
        await self._registry.write([TokenRecord.of(token, self._station, now).change(), *stale])
        return token

    async def handle(
        self, body: object, now: float, client: str = ""
    ) -> tuple[int, dict[str, Any]]:
        """The answer (status, JSON) to a join request from the address `client`, which is then a member or is not.

        A token is used once: here at once, elsewhere as soon as the registry has told it. Two stations that do not
        hear each other may therefore both accept it, within its hour. Raises what the registry's write raises; the
        token is then good again.
        """
        verdict = self.judge(body, now, client)
        if verdict.changes:
            digest = self._digest(body)
            try:
                await self._registry.write(verdict.changes)
            except Exception:
                self._spent.pop(digest, None)
                raise
        return verdict.status, verdict.answer

    def judge(self, body: object, now: float, client: str = "") -> Verdict:
        """As handle, without writing. An accepted token is marked as used in this process."""
        if self._is_guessing(client, now):
            return self._refuse(
                client, 429, "too_many_failures", "too many failures: wait a minute"
            )
        digest = self._digest(body)
        token = TokenRecord.parse(self._registry.settings().get(key_of(digest)))
        # The key is half of the digest, found by hash; the other half needs no constant time: both are public.
        if token is None or token.digest != digest:
            self._count_failure(client, now)
            return self._refuse(
                client, 401, "token_unknown", "the token is unknown to this station"
            )
        if token.expires < now:
            return self._refuse(client, 403, "token_expired", "the token has expired: make another")
        if token.used_by or digest in self._spent:
            return self._refuse(client, 403, "token_used", "the token was used: make another")
        if asked := _text(body, "facts_of"):
            return self._facts(asked, client)
        try:
            candidate = Candidate.parse(body)
        except ValueError as error:
            return self._refuse(client, 400, "candidate_invalid", str(error)[:1000])
        ahead = _clock_of(body, now) - now
        if not abs(ahead) <= CLOCK_DIFFERENCE_S_MAX:  # what is not a number is not near either
            text = f"{candidate.station.name} may not join: its clock is {ahead:+.0f} s off this station's"
            return self._refuse(client, 409, "clock_differs", text)
        return self._judge_candidate(
            candidate, token, now, client, replaces=_text(body, "replaces")
        )

    def _facts(self, name: str, client: str) -> Verdict:
        """What a new host that shall replace station `name` has to know before it can be a candidate.

        Whoever holds the token could join and read all of it; the token stays good.
        """
        group, known = self._registry.group(), self._registry.stations().get(name)
        if group is None:
            return self._refuse(client, 503, "not_ready", "this station has not read its group yet")
        if known is None:
            return self._refuse(client, 404, "station_unknown", self._unknown(name))
        if name == self._station or self._registry.is_present(name):
            return self._refuse(client, 409, "name_taken", self._present(known))
        answer = {"group": group.model_dump(mode="json"), "station": known.model_dump(mode="json")}
        return Verdict(200, answer)

    def _judge_candidate(
        self, candidate: Candidate, token: TokenRecord, now: float, client: str, *, replaces: str
    ) -> Verdict:
        group, name = self._registry.group(), candidate.station.name
        if group is None:
            return self._refuse(client, 503, "not_ready", "this station has not read its group yet")
        if differences := candidate.differences(group):
            text = f"{name} may not join: " + "; ".join(map(str, differences))
            wire = [difference.to_wire() for difference in differences]
            return self._refuse(client, 409, "group_differs", text, fields=wire)
        if replaces and (replaces != name or name not in self._registry.stations()):
            return self._refuse(client, 404, "station_unknown", self._unknown(replaces))
        if reason := self._name_is_taken(candidate.station, is_replacement=bool(replaces)):
            return self._refuse(client, 409, "name_taken", reason)
        authority = self._authority()
        self._spent = {known: end for known, end in self._spent.items() if end > now}
        self._spent[token.digest] = token.expires
        used = TokenRecord(token.digest, token.expires, token.issued_by, used_by=name)
        line("info", "join.accepted", candidate=name, client=client, token_of=token.issued_by)
        answer = {
            "group": group.model_dump(mode="json"),
            "created": self._registry.created.model_dump(mode="json"),
            "authority": authority.to_wire(),
            "stations": [
                record.model_dump(mode="json")
                for key, record in sorted(self._registry.stations().items())
                if key != name
            ],
        }
        changes = (Change.put(Kind.STATION, name, candidate.station), used.change())
        return Verdict(200, answer, changes)

    def _name_is_taken(self, candidate: StationRecord, *, is_replacement: bool) -> str:
        """A station that lost its disk comes back under its name and address, a replacement under its name alone.

        Anybody else takes another name: two stations that were both configured as A must not push each other out.
        """
        name, known = candidate.name, self._registry.stations().get(candidate.name)
        if len(name) > COMMON_NAME_MAX:
            return f"a station's name has at most {COMMON_NAME_MAX} characters"
        if name == self._station:
            return f"the name {name} is this station's own"
        if known is None:
            return ""
        if self._registry.is_present(name):
            return self._present(known)
        if is_replacement:
            return ""
        ours = (candidate.address, candidate.peer_port)
        if ours != (known.address, known.peer_port):
            return (
                f"the name {name} belongs to the station at {known.address} port {known.peer_port}, not "
                f"{candidate.address} port {candidate.peer_port}; a new host takes it over with "
                f"`station replace {name}`, and `station station forget {name}` frees it"
            )
        return ""

    def _unknown(self, name: str) -> str:
        known = ", ".join(sorted(self._registry.stations())) or "none"
        return f"no station {name!r} in this group; there is: {known}"

    def _present(self, known: StationRecord) -> str:
        return (
            f"the name {known.name} is in use by the station at {known.address}, which is present"
        )

    def _digest(self, body: object) -> str:
        secret = body.get("secret") if isinstance(body, dict) else None
        try:
            return digest_of(bytes.fromhex(secret if isinstance(secret, str) else ""))
        except ValueError:
            return digest_of(b"")

    def _is_guessing(self, client: str, now: float) -> bool:
        count, since = self._failures.get(client, (0, now))
        return count >= FAILURES_MAX and now - since < FAILURES_WINDOW_S

    def _count_failure(self, client: str, now: float) -> None:
        count, since = self._failures.pop(client, (0, now))
        if now - since >= FAILURES_WINDOW_S:
            count, since = 0, now
        self._failures[client] = (count + 1, since)
        if len(self._failures) > CLIENTS_MAX:
            del self._failures[next(iter(self._failures))]

    def _refuse(self, client: str, status: int, code: str, message: str, **more: object) -> Verdict:
        if code != "too_many_failures":  # said ten times already
            line("warning", "join.refused", client=client, code=code, reason=message)
        return Verdict(status, {"error": {"code": code, "message": message, **more}})


def _text(body: object, key: str) -> str:
    """A text of the request; empty when there is none."""
    value = body.get(key) if isinstance(body, dict) else None
    return value if isinstance(value, str) else ""


def _clock_of(body: object, now: float) -> float:
    """The candidate's wall clock as it said; `now` when it said nothing."""
    wall = body.get("wall") if isinstance(body, dict) else None
    if isinstance(wall, int) and abs(wall) > WALL_MAX:
        return float("inf")
    return float(wall) if isinstance(wall, int | float) else now
