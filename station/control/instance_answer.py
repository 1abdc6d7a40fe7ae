"""What an instance is told: where to go, its .repo file, what has changed, a new credential."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Protocol

from station.control.changes import BadChange, Records
from station.control.deregistration import deleting_of
from station.control.instance_facts import Facts
from station.control.instance_offer import Offer, Offers
from station.model.credential import LIFE_S, Credential
from station.model.records import GroupRecord, ProfileRecord
from station.peering.trust import Trust

CHECK_IN_S = 120


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
        self._offers = Offers(sslverify=sslverify)

    def answer(
        self, instance: str, profile: ProfileRecord, facts: Facts, *, renew: bool
    ) -> dict[str, Any]:
        """The answer to a registration or check-in; `renew`: with a new credential. Raises BadChange: starting."""
        records = self._registry.records()
        group = _group(records)
        offer = self._offer(records, instance, profile, facts.way)
        settings = self._registry.settings()
        trust = Trust.of(settings).number
        changed = {
            "repos": offer.digest != facts.repos,
            "trust": trust > facts.trust,
            "deleted": deleting_of(settings, instance) is not None,  # by a person: it is to leave
        }
        answer: dict[str, Any] = {
            "id": instance,
            "profile": profile.name,
            "hostname": offer.place.host,
            "others": list(offer.place.others),
            "https": group.ports.https,
            "proxy": group.ports.proxy,
            "check_in_s": CHECK_IN_S,
            "repos": offer.digest,
            "trust": trust,
            "changed": [name for name, is_changed in changed.items() if is_changed],
            "keys": list(offer.keys),
        }
        if renew:
            credential = Credential(instance, profile.name, self._wall() + LIFE_S)
            answer["token"] = credential.sign(self._key)
        return answer

    def repo_file(self, instance: str, profile: ProfileRecord, way: str) -> str:
        """Its .repo file, for a machine that comes by this way. Raises BadChange: starting."""
        return self._offer(self._registry.records(), instance, profile, way).text

    def _offer(self, records: Records, instance: str, profile: ProfileRecord, way: str) -> Offer:
        return self._offers.of(
            records,
            _group(records),
            profile,
            instance,
            way=way,
            names=self._registry.certified(),
            now=self._wall(),
        )


def _group(records: Records) -> GroupRecord:
    if records.group is None:
        raise BadChange(503, "starting", "no word from the group yet; try again")
    return records.group
