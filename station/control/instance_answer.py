"""What an instance is told: where to go, its .repo file, what has changed, a new credential."""

import hashlib
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Protocol

from station.control.changes import BadChange, Records
from station.control.deregistration import deleting_of
from station.control.holdings import Holdings
from station.control.instance_facts import Facts
from station.control.instance_place import Place, place_of, shown_group
from station.model.credential import LIFE_S, Credential
from station.model.mirror_list import may_be_mirrored
from station.model.records import GroupRecord, ProfileRecord, SourceRecord
from station.peering.trust import Trust
from station.setup.repo_file import CA_PATH, RepoOptions, render_repo_file

CHECK_IN_S = 120
KEY_DIRECTORY = CA_PATH.rpartition("/")[0] + "/keys"


class AnswersRegistry(Protocol):
    """What answers are made from."""

    def records(self) -> Records: ...
    def settings(self) -> Mapping[str, Mapping[str, Any]]: ...
    def certified(self) -> Iterable[str] | None: ...


class InstanceAnswers:
    """`key` signs credentials; `wall` is the wall clock, seconds; `sslverify` goes into the .repo files."""

    def __init__(
        self,
        registry: AnswersRegistry,
        key: bytes,
        wall: Callable[[], float],
        *,
        sslverify: bool,
    ) -> None:
        self._registry = registry
        self._key = key
        self._wall = wall
        self._sslverify = sslverify
        self._holdings = Holdings()

    def answer(
        self, instance: str, profile: ProfileRecord, facts: Facts, *, renew: bool
    ) -> dict[str, Any]:
        """The answer to a registration or check-in; `renew`: with a new credential. Raises BadChange: starting."""
        records = self._registry.records()
        group = _group(records)
        text, place = self._repo_file(records, instance, profile, facts.way)
        repos = hashlib.sha256(text.encode()).hexdigest()
        settings = self._registry.settings()
        trust = Trust.of(settings).number
        changed = {
            "repos": repos != facts.repos,
            "trust": trust > facts.trust,
            "deleted": deleting_of(settings, instance) is not None,  # by a person: it is to leave
        }
        answer: dict[str, Any] = {
            "id": instance,
            "profile": profile.name,
            "hostname": place.host,
            "others": list(place.others),
            "https": group.ports.https,
            "proxy": group.ports.proxy,
            "check_in_s": CHECK_IN_S,
            "repos": repos,
            "trust": trust,
            "changed": [name for name, is_changed in changed.items() if is_changed],
            "keys": [s.id for s in self._sources(records, instance, profile) if s.gpgkey],
        }
        if renew:
            credential = Credential(instance, profile.name, self._wall() + LIFE_S)
            answer["token"] = credential.sign(self._key)
        return answer

    def repo_file(self, instance: str, profile: ProfileRecord, way: str) -> str:
        """Its .repo file, for a machine that comes by this way. Raises BadChange: starting."""
        return self._repo_file(self._registry.records(), instance, profile, way)[0]

    def _repo_file(
        self, records: Records, instance: str, profile: ProfileRecord, way: str
    ) -> tuple[str, Place]:
        """Its .repo file, and the place that it names."""
        record = records.instances.get(instance)
        group = shown_group(_group(records), self._registry.certified(), self._wall())
        place = place_of(records, group, record.station if record else profile.station)
        sources = self._sources(records, instance, profile)
        if not sources:
            return "# no sources yet: neither the profile nor the instance refers to any\n", place
        options = RepoOptions(
            profile=profile.name,
            sslverify=self._sslverify,
            key_directory=KEY_DIRECTORY,
            by_proxy=way == "proxy",
        )
        there = group.model_copy(update={"hostname": place.host})
        return render_repo_file(there, sources, options), place

    def _sources(
        self, records: Records, instance: str, profile: ProfileRecord
    ) -> list[SourceRecord]:
        names = {
            *self._holdings.sources_of(records.references, "profile", profile.name),
            *self._holdings.sources_of(records.references, "instance", instance),
        }
        known = [records.sources[name] for name in sorted(names) if name in records.sources]
        return [source for source in known if may_be_mirrored(source)]


def _group(records: Records) -> GroupRecord:
    if records.group is None:
        raise BadChange(503, "starting", "no word from the group yet; try again")
    return records.group
