"""One change of state, one line, and a log that nobody reads stops nothing."""

import io
import json
import sys

import pytest

from station.runtime import lines


@pytest.fixture(autouse=True)
def _named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lines, "_process", "files-0")


def test_a_line_names_process_event_and_fields(capsys: pytest.CaptureFixture[str]) -> None:
    lines.line("info", "worker.started", listeners=2)
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "level='info' process='files-0' event='worker.started' listeners='2'" in said


def test_an_event_stays_one_line_whatever_a_field_says(capsys: pytest.CaptureFixture[str]) -> None:
    lines.line("warning", "request.refused", path="/a\nlevel='info' event='forged'\x1b[2J")
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "\x1b" not in said


def test_collectors_get_json(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lines, "_AS_JSON", True)
    lines.line("error", "sync.failed", source="base", error=ValueError("no"))
    wire = json.loads(capsys.readouterr().err)
    assert wire["process"] == "files-0"
    assert (wire["event"], wire["source"], wire["error"]) == ("sync.failed", "base", "no")
    assert wire["timestamp"].endswith("Z")


def test_debug_lines_are_said_on_demand(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lines, "_DEBUG", False)
    lines.line("debug", "detail")
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(lines, "_DEBUG", True)
    lines.line("debug", "detail")
    assert "event='detail'" in capsys.readouterr().err


def test_a_log_that_nobody_reads_stops_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    closed = io.StringIO()
    closed.close()
    monkeypatch.setattr(sys, "stderr", closed)
    lines.line("info", "worker.started")
