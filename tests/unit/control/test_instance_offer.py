"""One .repo file for all instances that get the same, and a new one as soon as anything in it has changed."""

from dataclasses import replace
from typing import Any

import pytest

from station.control import instance_offer
from station.control.changes import Records
from station.control.instance_offer import Offer, Offers
from station.model.records import InstanceRecord, ReferenceRecord, SourceRecord
from tests.unit.control.builders import records

RENAMED_AT = 1000.0


def offer(offers: Offers, known: Records, instance: str = "i1", **options: Any) -> Offer:
    assert known.group is not None
    asked: dict[str, Any] = {"way": "direct", "names": None, "now": RENAMED_AT, **options}
    return offers.of(known, known.group, known.profiles["web"], instance, **asked)


def with_own_source(known: Records) -> Records:
    """Instance i2 also refers to `apps`."""
    apps = SourceRecord(id="apps", url="https://upstream.example/apps/")
    own = ReferenceRecord(holder_kind="instance", holder="i2", source="apps")
    return replace(
        known,
        sources={**known.sources, "apps": apps},
        references={**known.references, own.key: own},
    )


def test_all_instances_of_a_profile_get_one_and_the_same() -> None:
    offers, known = Offers(sslverify=True), records()
    first = offer(offers, known, "i1")
    assert offer(offers, known, "i2") is first
    assert (first.keys, first.place.host) == (("base",), "lb.example.com")
    assert "[base]" in first.text


def test_who_differs_in_way_station_or_sources_gets_another() -> None:
    offers, known = Offers(sslverify=True), with_own_source(records())
    plain, own = offer(offers, known, "i1"), offer(offers, known, "i2")
    assert ("[apps]" in plain.text, "[apps]" in own.text) == (False, True)
    assert "proxy=" in offer(offers, known, "i1", way="proxy").text
    moved = replace(known, instances={"i3": InstanceRecord(id="i3", profile="web", station="B")})
    assert offer(offers, moved, "i3").place.others[0] == "B.example.com"
    assert offer(offers, moved, "i1").place.others[0] == "A.example.com"


@pytest.mark.parametrize("kind", ["group", "stations", "profiles", "sources", "references"])
def test_a_change_of_any_record_in_it_is_seen_at_once(kind: str) -> None:
    offers, known = Offers(sslverify=True), records()
    group, station = known.group, known.stations["A"]
    assert group is not None
    before = offer(offers, known)
    changed: dict[str, Any] = {
        "group": group.model_copy(update={"hostname": "new.example.com"}),
        "stations": {"A": station.model_copy(update={"address": "new.example.com"})},
        "profiles": {"web": known.profiles["web"].model_copy(update={"station": "B"})},
        "sources": {"base": known.sources["base"].model_copy(update={"gpgkey": ""})},
        "references": {},
    }
    after = offer(offers, replace(known, **{kind: changed[kind]}))
    assert (after.text, after.place) != (before.text, before.place)


def test_a_new_hostname_is_told_once_certificates_are_good_for_it() -> None:
    known = records()
    assert known.group is not None
    renamed = known.group.model_copy(
        update={
            "hostname": "new.example.com",
            "former_hostnames": ("lb.example.com",),
            "renamed_at": RENAMED_AT,
        }
    )
    offers, known = Offers(sslverify=True), replace(known, group=renamed)
    names = ["new.example.com"]
    assert offer(offers, known, names=names).place.host == "lb.example.com"
    assert offer(offers, known, names=names, now=RENAMED_AT + 60).place.host == "new.example.com"


def test_different_offers_are_kept_to_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(instance_offer, "KEPT_MAX", 1)
    offers, known = Offers(sslverify=True), with_own_source(records())
    first = offer(offers, known, "i1")
    offer(offers, known, "i2")
    again = offer(offers, known, "i1")
    assert again == first
    assert again is not first
