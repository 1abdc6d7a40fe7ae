"""The join token as text and as a record."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from station.peering.token import JoinToken, TokenInvalid, TokenRecord, key_of, new_token

FINGERPRINT = bytes(range(32))


def test_token_survives_as_text_whatever_case_and_blanks() -> None:
    token = new_token(FINGERPRINT, 17443)
    assert JoinToken.parse(token.text()) == token
    assert JoinToken.parse(f"  {token.text().upper().replace('STATION-', 'station-')}\n") == token


def test_token_is_one_word() -> None:
    text = new_token(FINGERPRINT, 17443).text()
    assert text.startswith("station-")
    assert text.replace("-", "").isalnum()


def test_secret_never_shows_in_a_representation() -> None:
    token = new_token(FINGERPRINT, 17443)
    assert token.secret.hex() not in repr(token)
    assert repr(token.secret)[2:20] not in repr(token)


@given(position=st.integers(0, 400), letter=st.sampled_from("abcdefghijklmnopqrstuvwxyz234567"))
def test_mistyped_token_is_told_from_a_wrong_one(position: int, letter: str) -> None:
    token = JoinToken(FINGERPRINT, 17443, bytes(32))
    text = token.text()
    position = len("station-") + position % (len(text) - len("station-"))
    typed = text[:position] + letter + text[position + 1 :]
    try:
        # The last letter has bits that mean nothing; what still reads is the same token.
        assert JoinToken.parse(typed) == token
    except TokenInvalid as error:
        assert typed != text
        assert typed not in str(error)


@given(st.text(max_size=300))
def test_text_that_is_no_token_is_refused(text: str) -> None:
    with pytest.raises(TokenInvalid):
        JoinToken.parse(text)


def test_token_that_was_cut_is_refused() -> None:
    text = new_token(FINGERPRINT, 17443).text()
    for length in range(len(text)):
        with pytest.raises(TokenInvalid):
            JoinToken.parse(text[:length])


def test_record_holds_the_hash_and_not_the_secret() -> None:
    token = new_token(FINGERPRINT, 17443)
    change = TokenRecord.of(token, "StationA", 1000.0).change()
    assert token.secret.hex() not in f"{change}"
    assert token.text() not in f"{change}"
    assert TokenRecord.parse(change.value) == TokenRecord.of(token, "StationA", 1000.0)
    assert change.key == key_of(TokenRecord.of(token, "StationA", 1000.0).digest)


@pytest.mark.parametrize("value", [None, {}, [], {"digest": 1}, {"digest": "x", "expires": "y"}])
def test_value_that_is_no_token_record_is_none(value: object) -> None:
    assert TokenRecord.parse(value) is None
