"""Who may register, and who an instance is: the same at any station of the group.

A credential is believed by its signature alone, so that a station that has not heard of a registration yet answers at
once, from the profile that the credential names. It brings a new one only where the record is known: an instance that
was deregistered elsewhere is let in for the rest of its hour at most, and nothing that it says writes its record.
"""

import hmac
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn, Protocol

from station.control.changes import BadChange, Records
from station.control.deregistration import delete_now, stays
from station.control.instance_answer import InstanceAnswers
from station.control.instance_facts import Facts
from station.control.instance_match import mismatch
from station.model.credential import Credential, CredentialInvalid
from station.model.identity import InstanceId, InvalidName
from station.model.install_key import (
    InstallKey,
    InstallKeyInvalid,
    KeyRecord,
    digest_of,
    key_of,
    use_of,
    uses_of,
)
from station.model.instance_status import REGISTRATION
from station.model.last_seen import Sightings
from station.model.records import InstanceRecord, Kind, ProfileRecord
from station.peering.changes import Change
from station.runtime.lines import line

# Beyond these, one client address gets 429 and no line in the log. The right key is never turned away: behind a
# balancer without PROXY everybody has one address, and 256 bits are not guessed at any rate.
FAILURES_MAX = 20
FAILURES_WINDOW_S = 60.0
CLIENTS_MAX = 1024
# Failed registrations of a profile that are recorded; they use up no use of a key, so that something has to end them.
FAILED_MAX = 100


class DeskRegistry(Protocol):
    """What the desk needs of the station."""

    def records(self) -> Records: ...
    def settings(self) -> Mapping[str, Mapping[str, Any]]: ...
    def is_deleted(self, instance: str) -> bool: ...
    def certified(self) -> Iterable[str] | None: ...
    async def write(self, changes: Sequence[Change]) -> int: ...


@dataclass(frozen=True, slots=True)
class Caller:
    """A request's bearer text, and the address that it came from."""

    bearer: str
    address: str = ""

    def __repr__(self) -> str:
        return f"Caller({self.address})"


class InstanceDesk:
    """`key` signs credentials; `wall` is the wall clock, seconds; `sslverify` goes into the .repo files."""

    def __init__(
        self,
        registry: DeskRegistry,
        key: bytes,
        sightings: Sightings,
        wall: Callable[[], float],
        *,
        sslverify: bool = True,
    ) -> None:
        self._registry = registry
        self._key = key
        self._sightings = sightings
        self._wall = wall
        self._answers = InstanceAnswers(registry, key, wall, sslverify=sslverify)
        self._failures: dict[str, tuple[int, float]] = {}
        self._under_way: dict[
            str, str
        ] = {}  # instances whose use of a key is being written → its id

    # The four requests. Each raises BadChange for what is refused.

    async def register(self, name: str, facts: Facts, caller: Caller) -> tuple[int, dict[str, Any]]:
        """A new record (201), or the one there is (200): again, from anywhere, it is the same one."""
        instance = _instance(name)
        if not facts.secret:
            raise BadChange(400, "secret", "an instance brings a secret of its own", "secret")
        records, now = self._registry.records(), self._wall()
        old = records.instances.get(instance)
        digest = digest_of(bytes.fromhex(facts.secret))
        is_own = old is not None and hmac.compare_digest(old.secret_digest, digest)
        if old is not None and old.secret_digest and not is_own:
            self._refuse(403, "taken", "another machine has this id", caller, now)
        used, status, reason = self._judge_key(instance, facts, caller, now)
        if used is None and not is_own:
            self._refuse(status, "install_key", reason, caller, now)
        wanted = used.profile if used else (old and old.profile) or ""
        profile = self._profile(records, wanted)
        if reason := mismatch(profile, facts.facts):
            if not is_own:
                await self._note_failed(
                    old, _record(old, instance, profile, facts, "", 0.0), reason
                )
            raise BadChange(409, "profile_mismatch", reason, "profile")
        record = _record(old, instance, profile, facts, digest, now)
        await self._write_registration(old, record, used, now)
        if used is not None:
            line(
                "info", "instance.registered", instance=instance, profile=profile.name, key=used.id
            )
        self._sightings.note(instance, now)
        return (200 if old is not None else 201), self._answers.answer(
            instance, profile, facts, renew=True
        )

    async def check_in(self, name: str, facts: Facts, caller: Caller) -> dict[str, Any]:
        """What it should know and do now; its record is written only when its facts changed."""
        credential = self._credential(name, caller)
        records, now = self._registry.records(), self._wall()
        record = records.instances.get(credential.instance)
        profile = self._profile(records, (record and record.profile) or credential.profile)
        self._sightings.note(credential.instance, now)
        if record is not None and record.facts != facts.facts:
            fresh = record.model_copy(
                update={"facts": facts.facts, "display_name": facts.facts.get("hostname", "")}
            )
            try:
                await self._registry.write([Change.put(Kind.INSTANCE, record.id, fresh)])
            except BadChange as error:  # told again in two minutes
                line("warning", "instance.facts_not_kept", instance=record.id, reason=str(error))
        return self._answers.answer(credential.instance, profile, facts, renew=record is not None)

    def repos(self, name: str, way: str, caller: Caller) -> str:
        """Its .repo file."""
        credential = self._credential(name, caller)
        records = self._registry.records()
        record = records.instances.get(credential.instance)
        profile = self._profile(records, (record and record.profile) or credential.profile)
        return self._answers.repo_file(credential.instance, profile, way)

    async def deregister(self, name: str, caller: Caller) -> dict[str, Any]:
        """Its record and references are gone."""
        credential = self._credential(name, caller)
        records = self._registry.records()
        if credential.instance not in records.instances:
            raise BadChange(503, "unheard", "this station has not heard of it yet: ask again")
        settings = self._registry.settings()
        held_by = await self._registry.write(delete_now(records, settings, credential.instance))
        line("info", "instance.deregistered", instance=credential.instance)
        return {"id": credential.instance, "held_by": held_by}

    # Who is it?

    def _credential(self, name: str, caller: Caller) -> Credential:
        instance = _instance(name)
        try:
            credential = Credential.verify(caller.bearer, self._key, self._wall())
        except CredentialInvalid as error:
            self._refuse(401, "credential", str(error), caller, self._wall())
        if credential.instance != instance:
            line("warning", "instance.as_another", instance=credential.instance, asked=instance)
            raise BadChange(403, "another", "this is the credential of another instance")
        if self._registry.is_deleted(instance):
            raise BadChange(410, "deregistered", "this instance was deregistered")
        return credential

    def _judge_key(
        self, instance: str, facts: Facts, caller: Caller, now: float
    ) -> tuple[KeyRecord | None, int, str]:
        """The install key that was brought, when it is good for this instance; else status and reason."""
        settings = self._registry.settings()
        try:
            digest = digest_of(InstallKey.parse(caller.bearer).secret)
        except InstallKeyInvalid:
            digest = ""
        record = self._key_record(digest, settings)
        if record is None:
            return None, 401, "the install key is unknown here"
        if facts.profile and facts.profile != record.profile:
            return None, 403, "the install key is for another profile"
        uses: set[str] = set()
        if record.uses_max:
            pending = {other for other, key in self._under_way.items() if key == record.id}
            uses = {*uses_of(record.id, settings), *pending} - {instance}
        reason = record.refusal(len(uses), now)
        return (None, 403, reason) if reason else (record, 200, "")

    def _key_record(
        self, digest: str, settings: Mapping[str, Mapping[str, Any]]
    ) -> KeyRecord | None:
        if not digest:
            return None
        for profile in self._registry.records().profiles:
            record = KeyRecord.parse(settings.get(key_of(profile, digest)))
            if record is not None and hmac.compare_digest(record.digest, digest):
                return record
        return None

    def _profile(self, records: Records, name: str) -> ProfileRecord:
        profile = records.profiles.get(name)
        if profile is None:
            raise BadChange(409, "profile_gone", "its profile does not exist (any more)", "profile")
        return profile

    # What is written and counted.

    async def _write_registration(
        self, old: InstanceRecord | None, record: InstanceRecord, used: KeyRecord | None, now: float
    ) -> None:
        changes = [Change.put(Kind.INSTANCE, record.id, record)] if record != old else []
        settings = self._registry.settings()
        if used is not None:  # its own secret only brings a new credential
            changes += stays(settings, record.id)
        if used is not None and used.uses_max:
            use = use_of(used.id, record.id)
            if use not in settings:
                changes.append(Change(Kind.SETTINGS, use, {"at": now}))
        if not changes:
            return
        if used is not None:
            self._under_way[record.id] = used.id
        try:
            await self._registry.write(changes)
        finally:
            self._under_way.pop(record.id, None)

    async def _note_failed(
        self, old: InstanceRecord | None, record: InstanceRecord, reason: str
    ) -> None:
        """People see which machine could not register, and why. Without its secret it is admitted to nothing."""
        instances = self._registry.records().instances.values()
        failed = [r for r in instances if REGISTRATION in r.facts and r.profile == record.profile]
        if old is None and len(failed) >= FAILED_MAX:
            return
        noted = record.model_copy(update={"facts": {**record.facts, REGISTRATION: reason}})
        if noted != old:
            try:
                await self._registry.write([Change.put(Kind.INSTANCE, noted.id, noted)])
            except BadChange as error:  # the machine is told all the same
                line("warning", "instance.failure_not_kept", instance=noted.id, reason=str(error))

    def _refuse(self, status: int, code: str, reason: str, caller: Caller, now: float) -> NoReturn:
        count, since = self._failures.pop(caller.address, (0, now))
        if now - since >= FAILURES_WINDOW_S:
            count, since = 0, now
        self._failures[caller.address] = (count + 1, since)
        if len(self._failures) > CLIENTS_MAX:
            del self._failures[next(iter(self._failures))]
        if count >= FAILURES_MAX:
            raise BadChange(429, "too_many_failures", "too many failures: wait a minute")
        line("warning", "instance.refused", client=caller.address, code=code, reason=reason)
        raise BadChange(status, code, reason)


def _instance(name: str) -> str:
    try:
        return InstanceId.parse(name)
    except InvalidName as error:
        raise BadChange(400, "id", str(error), "id") from None


def _record(
    old: InstanceRecord | None,
    instance: str,
    profile: ProfileRecord,
    facts: Facts,
    digest: str,
    now: float,
) -> InstanceRecord:
    fields: dict[str, Any] = {
        "profile": profile.name,
        "station": profile.station,
        "os_family": profile.os_family,
        "arch": profile.arch,
        "display_name": facts.facts.get("hostname", ""),
        "facts": facts.facts,
        "secret_digest": digest,
    }
    if old is not None:
        kept = {"station": old.station, "registered_at": old.registered_at or now}
        return old.model_copy(update=fields | kept)
    return InstanceRecord(id=instance, registered_at=now, **fields)
