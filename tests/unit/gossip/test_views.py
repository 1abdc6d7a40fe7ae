"""Readers see what validates; writers write what every station can read; nothing unknown is lost."""

from typing import Any

import pytest

from station.gossip.views import publication_rank, readable, writable
from tests.unit.gossip.builders import station


def test_valid_record_is_shown_without_the_fields_of_newer_releases() -> None:
    value = {**station("A"), "colour": "blue"}
    assert readable("station", "A", value) == station("A")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("A", {"name": "A"}),
        ("A", {"name": "B", "address": "a"}),
        ("A", {"name": "A", "address": "a", "peer_port": "x"}),
        ("../A", {"name": "../A", "address": "a"}),
    ],
)
def test_invalid_record_is_not_shown(key: str, value: dict[str, Any]) -> None:
    assert readable("station", key, value) is None


def test_kind_without_a_model_is_shown_as_it_is() -> None:
    assert readable("settings", "x", {"any": ["thing"]}) == {"any": ["thing"]}


def test_own_change_keeps_the_fields_a_newer_release_wrote() -> None:
    held = {**station("A"), "colour": "blue"}
    written = writable("station", "A", {**station("A"), "description": "new"}, held)
    assert written == {**station("A"), "description": "new", "colour": "blue"}


@pytest.mark.parametrize(
    "value",
    [
        {"n": float("nan")},
        {"n": float("inf")},
        {"n": 2**63},
        {"n": "\ud800"},
        {"n": {1, 2}},
        {"n": "x" * 600_000},
        {"deep": [[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]},
    ],
    ids=["nan", "infinity", "65 bits", "surrogate", "set", "large", "deep"],
)
def test_value_that_not_every_parser_reads_alike_is_not_written(value: dict[str, Any]) -> None:
    with pytest.raises(ValueError):
        writable("settings", "x", value, None)


def test_record_under_another_key_is_not_written() -> None:
    with pytest.raises(ValueError, match="names itself 'A'"):
        writable("station", "B", station("A"), None)


def test_rank_of_a_publication_ignores_what_it_does_not_know() -> None:
    value = {"number": 3, "order": 5, "revision": "a", "new": True, "by": 7}
    assert publication_rank(value) == (3, 5, "a")
    assert publication_rank({"number": "3"}) == publication_rank(None) == (0, 0, "")
