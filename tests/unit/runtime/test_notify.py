"""What the service manager is told; without one nothing happens."""

import os
from pathlib import Path

import pytest

from station.runtime import notify as module
from station.runtime.notify import Watchdog, notify


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    told: list[str] = []
    monkeypatch.setattr(module, "notify", told.append)
    return told


def test_without_a_manager_nothing_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    notify("READY=1")


def test_a_manager_that_is_gone_is_no_error(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "gone"))
    notify("READY=1")


def test_the_watchdog_is_fed_twice_in_a_period_however_often_we_turn(said: list[str]) -> None:
    watchdog = Watchdog(20.0)
    for turn in range(100):
        watchdog.feed(1000.0 + turn * 0.5)
    assert len(said) == 5
    assert set(said) == {"WATCHDOG=1"}


def test_no_watchdog_no_word(said: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WATCHDOG_USEC", raising=False)
    Watchdog.from_environment().feed(1.0)
    assert said == []


def test_the_period_is_the_managers_and_for_the_process_it_names(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", "20000000")
    monkeypatch.delenv("WATCHDOG_PID", raising=False)
    assert Watchdog.from_environment().period_s == 20.0
    monkeypatch.setenv("WATCHDOG_PID", str(os.getpid()))
    assert Watchdog.from_environment().period_s == 20.0
    monkeypatch.setenv("WATCHDOG_PID", "1")
    assert Watchdog.from_environment().period_s is None
