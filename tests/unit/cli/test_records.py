"""What the options of the record commands mean."""

from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
import typer

from station.cli.freezes import moment
from station.cli.records import KEY_BYTES_MAX, key_text

KEY = "-----BEGIN PGP PUBLIC KEY BLOCK-----\n\nxsBN\n-----END PGP PUBLIC KEY BLOCK-----\n"
NOW = datetime(2026, 3, 1, 12, 0, tzinfo=timezone(timedelta(hours=2)))


def test_an_armoured_key_is_read_from_a_file(tmp_path: Path) -> None:
    (tmp_path / "key").write_text(KEY, encoding="utf-8")
    assert key_text(str(tmp_path / "key")) == KEY
    assert key_text(f"file://{tmp_path}/key") == KEY


def test_no_key_is_the_empty_text() -> None:
    assert key_text("") == ""


@pytest.mark.parametrize("content", [b"\x99\x01\x0d", KEY.encode() + b"x" * KEY_BYTES_MAX])
def test_what_is_no_armoured_key_is_misuse(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "key").write_bytes(content)
    with pytest.raises(typer.Exit) as raised:
        key_text(str(tmp_path / "key"))
    assert raised.value.exit_code == 2


def test_a_key_that_is_not_there_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(typer.Exit):
        key_text(str(tmp_path / "gone"))
    assert f"{tmp_path}/gone: No such file" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("+30m", 1800), ("+12h", 43_200), ("+3d", 259_200), ("+1w", 604_800)],
)
def test_a_time_can_be_said_from_now_on(text: str, seconds: int) -> None:
    assert moment(text, NOW) == NOW.timestamp() + seconds


def test_a_time_without_a_zone_is_in_the_zone_of_this_host() -> None:
    expected = datetime(2026, 12, 31, 16, 0, tzinfo=UTC).timestamp()
    assert moment("2026-12-31T18:00", NOW) == expected
    assert moment("2026-12-31T16:00Z", NOW) == expected


@pytest.mark.parametrize("text", ["soon", "+3", "+3y", "+xd", "2026-13-01", "+99999999999d"])
def test_other_texts_are_no_time(text: str) -> None:
    with pytest.raises(typer.Exit) as raised:
        moment(text, NOW)
    assert raised.value.exit_code == 2
