"""The install key as text and as a record."""

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from station.model.install_key import (
    InstallKey,
    InstallKeyInvalid,
    KeyRecord,
    digest_of,
    keys_of,
    use_of,
    uses_of,
)

KEY = InstallKey(bytes(range(32)), 17443, bytes(range(32, 64)))
RECORD = KeyRecord("web", digest_of(KEY.secret), expires=2000.0, created=1000.0, uses_max=2)


def test_key_survives_as_text_with_blanks_around_it() -> None:
    assert InstallKey.parse(f" {KEY.text()}\n") == KEY


def test_text_can_be_taken_apart_by_a_shell_and_checked_with_sha256() -> None:
    word, form, port, fingerprint, _, check = KEY.text().split("-")
    assert (word, form, port, fingerprint) == ("install", "1", "17443", bytes(range(32)).hex())
    body = KEY.text().rpartition("-")[0]
    assert hashlib.sha256(body.encode()).hexdigest().startswith(check)


def test_secret_is_in_no_representation_and_in_no_record() -> None:
    assert KEY.secret.hex() not in f"{KEY!r} {RECORD.to_wire()} {RECORD.key}"
    assert repr(KEY.secret)[2:20] not in repr(KEY)


@given(at=st.integers(0, 200), digit=st.sampled_from("0123456789abcdef-x"))
def test_mistyped_key_is_refused_and_not_repeated(at: int, digit: str) -> None:
    text = KEY.text()
    at %= len(text)
    typed = text[:at] + digit + text[at + 1 :]
    if typed != text:
        with pytest.raises(InstallKeyInvalid) as raised:
            InstallKey.parse(typed)
        assert KEY.secret.hex()[:20] not in str(raised.value)


@given(st.text(max_size=400))
def test_other_texts_are_no_key(text: str) -> None:
    with pytest.raises(InstallKeyInvalid):
        InstallKey.parse(text)


def test_record_comes_back_from_the_settings() -> None:
    assert KeyRecord.parse(RECORD.to_wire()) == RECORD
    wrong: list[object] = [None, {}, [], {**RECORD.to_wire(), "expires": "soon"}]
    for value in wrong:
        assert KeyRecord.parse(value) is None


@pytest.mark.parametrize(
    ("record", "uses", "now", "why"),
    [
        (RECORD, 1, 1500.0, ""),
        (RECORD, 2, 1500.0, "was used by 2"),
        (RECORD, 0, 2000.5, "expired"),
        (RECORD.revoked(), 0, 1500.0, "revoked"),
        (KeyRecord("web", "d", 2000.0), 10_000, 1500.0, ""),
    ],
)
def test_key_is_good_until_it_expires_is_used_up_or_revoked(
    record: KeyRecord, uses: int, now: float, why: str
) -> None:
    refusal = record.refusal(uses, now)
    assert why in refusal and bool(why) == bool(refusal)


def test_uses_are_the_instances_that_registered_with_this_key() -> None:
    settings = {
        RECORD.key: RECORD.to_wire(),
        use_of(RECORD.id, "db1"): {"at": 1.0},
        use_of(RECORD.id, "db2"): {"at": 2.0},
        use_of("f" * 16, "db3"): {"at": 3.0},
        "token:x": {},
    }
    assert uses_of(RECORD.id, settings) == {"db1", "db2"}
    assert keys_of("web", settings) == [RECORD]
    assert keys_of("we", settings) == []
