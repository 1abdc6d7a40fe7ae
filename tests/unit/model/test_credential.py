"""The credential of an instance."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from station.model.credential import LEEWAY_S, Credential, CredentialInvalid, signing_key

KEY = signing_key("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n")
CREDENTIAL = Credential("db1", "web", 5000.0)


def test_any_station_with_the_key_of_the_group_verifies_it() -> None:
    again = signing_key("-----BEGIN PRIVATE KEY-----\r\nAAAA\r\n-----END PRIVATE KEY-----")
    assert Credential.verify(CREDENTIAL.sign(KEY), again, 4000.0) == CREDENTIAL


def test_another_group_does_not() -> None:
    with pytest.raises(CredentialInvalid, match="no credential"):
        Credential.verify(CREDENTIAL.sign(KEY), signing_key("another"), 4000.0)


def test_it_ends_with_its_hour_and_the_difference_that_clocks_may_have() -> None:
    text = CREDENTIAL.sign(KEY)
    assert Credential.verify(text, KEY, 5000.0 + LEEWAY_S) == CREDENTIAL
    with pytest.raises(CredentialInvalid, match="expired"):
        Credential.verify(text, KEY, 5001.0 + LEEWAY_S)


@given(at=st.integers(0, 200), letter=st.sampled_from("ABab01-_.=+ \n"))
def test_one_other_letter_and_it_is_none(at: int, letter: str) -> None:
    text = CREDENTIAL.sign(KEY)
    at %= len(text)
    changed = text[:at] + letter + text[at + 1 :]
    if changed != text:
        with pytest.raises(CredentialInvalid):
            Credential.verify(changed, KEY, 4000.0)


@given(st.text(max_size=2000))
def test_other_texts_are_none_and_are_not_repeated(text: str) -> None:
    with pytest.raises(CredentialInvalid) as raised:
        Credential.verify(text, KEY, 0.0)
    assert len(text) < 20 or text not in str(raised.value)


@given(st.text(min_size=1, max_size=128), st.text(min_size=1, max_size=128))
def test_names_come_back_as_they_were(instance: str, profile: str) -> None:
    credential = Credential(instance, profile, 9.0)
    text = credential.sign(KEY)
    assert text.isascii() and not set(text) & set(" \"'\r\n")
    if len(text) <= 1024:
        assert Credential.verify(text, KEY, 8.0) == credential
