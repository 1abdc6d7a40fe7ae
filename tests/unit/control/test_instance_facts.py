"""What an instance may say of itself."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from station.control.instance_facts import FACTS, BadFacts, Facts, answer_lines

HOSTILE = [
    "'; rm -rf / #",
    "$(reboot)",
    "`id`",
    'a"b',
    "a\rb",
    "\u202eevil",
    "x" * 300,
    "a\x00b",
    "a[other]",
]


def test_lines_and_json_say_the_same() -> None:
    lines = b"hostname=db1\nkernel=5.14.0-1.el9\nway=proxy\nerror=\n"
    fields = {"hostname": "db1", "kernel": "5.14.0-1.el9", "way": "proxy"}
    facts = Facts.parse(lines, "text/plain")
    assert facts == Facts.parse(json.dumps(fields).encode(), "application/json")
    assert facts.facts == {"hostname": "db1", "kernel": "5.14.0-1.el9"}


@pytest.mark.parametrize("value", HOSTILE)
@pytest.mark.parametrize("name", [*FACTS, "way", "repos", "profile", "secret"])
def test_characters_that_mean_something_elsewhere_are_refused(name: str, value: str) -> None:
    with pytest.raises(BadFacts, match=name):
        Facts.parse(json.dumps({name: value}).encode(), "application/json")


@pytest.mark.parametrize(
    "body", [b"hostname", b"a=1\na=2", b"\xff", b"[]", b'{"hostname": 1}', b"[" * 60_000]
)
def test_what_is_no_list_of_facts_is_refused(body: bytes) -> None:
    for media in ("text/plain", "application/json"):
        with pytest.raises(BadFacts):
            Facts.parse(body, media)


def test_unknown_fact_is_named() -> None:
    with pytest.raises(BadFacts, match="colour"):
        Facts.parse(b"colour=red\n", "text/plain")


def test_secret_shows_nowhere() -> None:
    facts = Facts.parse(b"secret=" + b"ab" * 32, "text/plain")
    assert "abab" not in repr(facts)
    with pytest.raises(BadFacts) as raised:
        Facts.parse(b"secret=" + b"AB" * 32, "text/plain")
    assert "AB" not in str(raised.value)


@given(st.binary(max_size=300), st.sampled_from(["text/plain", "application/json", ""]))
def test_any_bytes_are_facts_or_bad_facts(body: bytes, media: str) -> None:
    try:
        facts = Facts.parse(body, media)
    except BadFacts:
        return
    assert all(ord(c) in range(32, 127) for value in facts.facts.values() for c in value)


def test_answer_is_lines_for_a_shell() -> None:
    text = answer_lines({"id": "db1", "keys": ["a", "b"], "changed": [], "https": 17443})
    assert text == "id=db1\nkeys=a b\nchanged=\nhttps=17443\n"
