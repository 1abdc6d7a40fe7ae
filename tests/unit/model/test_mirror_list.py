from station.model.mirror_list import Reason, derive_mirror_list
from station.model.records import (
    InstanceRecord,
    ProfileRecord,
    ReferenceRecord,
    SourceRecord,
    SourceType,
)


def a_source(source: str, **fields: object) -> SourceRecord:
    return SourceRecord.model_validate(
        {"id": source, "url": f"http://upstream.example/{source}", **fields}
    )


def a_reference(kind: str, holder: str, source: str) -> ReferenceRecord:
    return ReferenceRecord.model_validate({"holder_kind": kind, "holder": holder, "source": source})


SOURCES = {name: a_source(name) for name in ("base", "apps", "unused")}
PROFILES = {"web": ProfileRecord(name="web", station="StationA")}
INSTANCES = {"db1": InstanceRecord(id="db1", station="StationB")}


def test_list_is_the_union_over_profiles_and_instances_of_all_stations() -> None:
    references = [a_reference("profile", "web", "base"), a_reference("instance", "db1", "apps")]
    derived = derive_mirror_list(SOURCES, PROFILES, INSTANCES, references)
    assert list(derived) == ["apps", "base"]
    assert [str(reason) for reason in derived["base"].reasons] == ["profile web (station StationA)"]


def test_each_entry_knows_every_reason() -> None:
    references = [a_reference("profile", "web", "base"), a_reference("instance", "db1", "base")]
    derived = derive_mirror_list(SOURCES, PROFILES, INSTANCES, references)
    assert derived["base"].reasons == (
        Reason("instance", "db1", "StationB"),
        Reason("profile", "web", "StationA"),
    )


def test_list_is_empty_until_somebody_refers_to_a_source() -> None:
    assert derive_mirror_list(SOURCES, PROFILES, INSTANCES, []) == {}


def test_reference_whose_holder_or_source_is_gone_counts_for_nothing() -> None:
    references = [a_reference("profile", "gone", "base"), a_reference("profile", "web", "gone")]
    assert derive_mirror_list(SOURCES, PROFILES, INSTANCES, references) == {}


def test_pinned_source_is_listed_without_a_reference() -> None:
    sources = {"base": a_source("base", is_pinned=True)}
    assert [str(r) for r in derive_mirror_list(sources, {}, {}, [])["base"].reasons] == ["pinned"]


def test_private_source_is_listed_only_where_mirroring_it_is_allowed() -> None:
    references = [a_reference("profile", "web", "own")]
    for allowed in (True, False):
        sources = {"own": a_source("own", type=SourceType.PRIVATE, is_mirror_sync_allowed=allowed)}
        assert bool(derive_mirror_list(sources, PROFILES, {}, references)) is allowed
