from typing import Any

import pytest

from station.control.changes import BadChange
from station.control.freezing import (
    freeze_profile,
    freeze_source,
    unfreeze_profile,
    unfreeze_source,
)
from station.model.identity import Revision
from tests.unit.control.builders import R1, R2, records

NOW = 1000.0


def frozen_source(body: dict[str, Any], live: Revision | None = R1) -> dict[str, Any]:
    (change,) = freeze_source(records(), "base", body, live=live, held={R1, R2}, wall=NOW)
    assert change.value is not None
    return {name: change.value[name] for name in ("is_frozen", "frozen_revision", "frozen_until")}


def frozen_profile(body: dict[str, Any], live: dict[str, Revision]) -> Any:
    (change,) = freeze_profile(records(), "web", body, live=live, held={"base": {R1, R2}})
    assert change.value is not None
    return change.value["frozen"]


def test_a_source_is_frozen_as_it_is_or_at_a_revision_or_for_a_while() -> None:
    as_it_is = {"is_frozen": True, "frozen_revision": None, "frozen_until": None}
    assert frozen_source({}) == as_it_is
    assert frozen_source({"revision": R2}) == {**as_it_is, "frozen_revision": R2}
    assert frozen_source({"until": 2000.0}) == {**as_it_is, "frozen_until": 2000.0}


@pytest.mark.parametrize(
    ("body", "live", "status", "says"),
    [
        ({}, None, 409, "no revision to hold yet"),
        ({"revision": "3" * 64}, R1, 409, "there is: 111111111111, 222222222222"),
        ({"revision": "../x"}, R1, 400, "64 hexadecimal digits"),
        ({"until": 999.0}, R1, 400, "a time to come"),
        ({"until": "soon"}, R1, 400, "a time to come"),
        ({"colour": 1}, R1, 400, "colour"),
    ],
)
def test_a_freeze_that_cannot_be_is_refused(
    body: dict[str, Any], live: Revision | None, status: int, says: str
) -> None:
    with pytest.raises(BadChange) as refused:
        frozen_source(body, live)
    assert refused.value.status == status
    assert says in str(refused.value)


def test_an_unfrozen_source_has_no_trace_of_its_freeze() -> None:
    (change,) = unfreeze_source(records(is_frozen=True, frozen_revision=R1), "base")
    assert change.value is not None
    assert change.value["is_frozen"] is False
    assert change.value["frozen_revision"] is change.value["frozen_until"] is None


def test_a_profile_is_frozen_at_what_is_live_or_at_a_revision() -> None:
    assert frozen_profile({}, {"base": R1}) == {"base": R1}
    assert frozen_profile({"source": "base", "revision": R2}, {}) == {"base": R2}


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ({"source": "other"}, "does not refer"),
        ({"revision": R1}, "name it"),
        ({}, "no revision to hold yet"),
        ({"source": "base", "revision": "3" * 64}, "no station has"),
    ],
)
def test_a_profiles_freeze_that_cannot_be_is_refused(body: dict[str, Any], says: str) -> None:
    with pytest.raises(BadChange, match=says):
        frozen_profile(body, {})


def test_a_profile_is_unfrozen_whole_or_by_source() -> None:
    group = records(frozen={"base": R1, "apps": R2})
    for body, left in (({}, {}), ({"source": "base"}, {"apps": R2})):
        (change,) = unfreeze_profile(group, "web", body)
        assert change.value is not None and change.value["frozen"] == left


def test_what_is_not_there_is_named() -> None:
    with pytest.raises(BadChange, match="nope"):
        unfreeze_source(records(), "nope")
    with pytest.raises(BadChange, match="nope"):
        unfreeze_profile(records(), "nope", {})
