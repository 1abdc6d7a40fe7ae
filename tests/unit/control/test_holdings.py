"""Each change of the references is read, once."""

from types import MappingProxyType

from station.control.holdings import Holdings
from station.model.records import ReferenceRecord


def references(*triples: tuple[str, str, str]) -> MappingProxyType[str, ReferenceRecord]:
    made = [
        ReferenceRecord.model_validate({"holder_kind": kind, "holder": holder, "source": source})
        for kind, holder, source in triples
    ]
    return MappingProxyType({record.key: record for record in made})


def test_profiles_and_instances_of_one_name_are_kept_apart() -> None:
    known = references(("profile", "web", "base"), ("instance", "web", "apps"))
    holdings = Holdings()
    assert holdings.sources_of(known, "profile", "web") == ["base"]
    assert holdings.sources_of(known, "instance", "web") == ["apps"]
    assert holdings.sources_of(known, "instance", "db") == []


def test_a_change_is_seen_at_the_next_question() -> None:
    holdings = Holdings()
    assert holdings.sources_of(references(), "profile", "web") == []
    known = references(("profile", "web", "base"), ("profile", "web", "apps"))
    assert sorted(holdings.sources_of(known, "profile", "web")) == ["apps", "base"]
    assert holdings.sources_of(references(), "profile", "web") == []
