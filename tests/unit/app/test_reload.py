"""A reload replaces every process, and is over when every successor works."""

import selectors

import pytest

from station.app.child import ChildSpec
from station.app.children import Children
from station.app.reload import Reload
from station.runtime.clock import system_clock


class Replacing(Children):
    """Starts no process; `replaced`: whom it was told to replace."""

    def __init__(self) -> None:
        super().__init__(selectors.DefaultSelector(), system_clock(), lambda _: None)
        self.replaced: list[ChildSpec] = []

    def replace(self, spec: ChildSpec) -> None:
        self.replaced.append(spec)


def specs() -> list[ChildSpec]:
    return [ChildSpec(name, f"module.of.{name}", {}) for name in ("control", "files-0", "peers")]


def test_workers_are_replaced_and_the_last_one_that_is_ready_ends_the_reload(
    capsys: pytest.CaptureFixture[str],
) -> None:
    children, (control, *workers) = Replacing(), specs()
    reload = Reload(children)
    reload.is_requested = True
    assert reload.is_due
    reload.begin([control, *workers])
    assert not reload.is_due, "one after the other"
    reload.replace_workers()
    assert children.replaced == workers
    for spec in (control, *workers):
        assert "station.reloaded" not in capsys.readouterr().err
        reload.became_ready(spec)
    assert "station.reloaded" in capsys.readouterr().err


def test_a_worker_of_the_old_settings_that_becomes_ready_meanwhile_is_replaced() -> None:
    children, old, new = Replacing(), specs(), specs()
    reload = Reload(children)
    reload.begin(new)
    reload.became_ready(old[1])
    reload.replace_workers()
    assert children.replaced == new[1:]
