"""How values look to people."""

import pytest

from station.cli.output import plain, print_record, print_table, print_written, size_text, time_text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "-"),
        ("", "-"),
        (True, "yes"),
        (["a", "b"], "a, b"),
        ([], "-"),
        ({"a": 1, "b": False}, "a=1, b=no"),
        (1.5, "1.5"),
    ],
)
def test_values_are_written_for_people(value: object, text: str) -> None:
    assert plain(value) == text


@pytest.mark.parametrize(
    ("size", "text"),
    [(0, "0 B"), (1023, "1023 B"), (1536, "1.5 KiB"), (5 * 2**40, "5.0 TiB"), (None, "-")],
)
def test_sizes_have_a_unit(size: object, text: str) -> None:
    assert size_text(size) == text


def test_times_are_utc_to_the_second() -> None:
    assert time_text(1_700_000_000.9) == "2023-11-14 22:13:20Z"
    assert time_text(None) == "-"


def test_a_table_has_a_column_for_each_title(capsys: pytest.CaptureFixture[str]) -> None:
    print_table([{"a": "[x]"}], [("A", lambda row: row["a"])], "nothing")
    assert capsys.readouterr().out.split() == ["A", "[x]"]


def test_an_empty_table_says_so_in_a_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    print_table([], [("A", lambda row: row["a"])], "nothing yet")
    assert capsys.readouterr().out == "nothing yet\n"


def test_a_record_is_a_line_for_each_field(capsys: pytest.CaptureFixture[str]) -> None:
    print_record({"id": "x", "gpgkey": "one\ntwo\nthree", "url": ""})
    assert capsys.readouterr().out == "id      x\ngpgkey  one … (3 lines)\nurl     -\n"


@pytest.mark.parametrize(("held", "text"), [(0, "0 peers"), (1, "1 peer"), (2, "2 peers")])
def test_a_write_says_how_many_peers_hold_it(
    held: int, text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    print_written({"result": {}, "held_by": held}, "source x created", as_json=False)
    assert capsys.readouterr().out == f"source x created; held by {text}\n"
