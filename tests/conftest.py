"""An acceptance test that passed shows the lines that it printed, also where tests run beside each other."""

import pytest


class Lines:
    """Writes what passed tests have printed; `-s` shows it by itself."""

    def __init__(self, terminal: pytest.TerminalReporter) -> None:
        self._terminal = terminal

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when != "call" or not report.passed or "accept" not in report.keywords:
            return
        name = report.nodeid.rpartition("/")[2]
        for line in report.capstdout.splitlines():
            if line.strip() and not line.startswith("so far: "):
                self._terminal.ensure_newline()
                self._terminal.write_line(f"{name}: {line}")


@pytest.hookimpl(trylast=True)  # the terminal first
def pytest_configure(config: pytest.Config) -> None:
    terminal = config.pluginmanager.get_plugin("terminalreporter")
    if terminal is not None:  # the processes that run the tests have none
        config.pluginmanager.register(Lines(terminal))
