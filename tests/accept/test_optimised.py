"""Nothing that matters hangs on an assert statement: the unit tests pass where the program has none."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

pytestmark = [pytest.mark.accept, pytest.mark.timeout(600)]


def test_the_unit_tests_pass_without_the_programs_assert_statements(tmp_path: Path) -> None:
    """pytest rewrites the asserts of tests into code that -O leaves alone; those of the program are gone."""
    done = subprocess.run(
        [sys.executable, "-O", "-m", "pytest", "-q", "-o", f"cache_dir={tmp_path}",
         "-W", "ignore::pytest.PytestConfigWarning", "tests/unit"],
        cwd=ROOT, capture_output=True, text=True, timeout=500, check=False,
    )  # fmt: skip
    passed = re.search(r"(\d+) passed", done.stdout)
    assert not done.returncode, done.stdout[-5000:] + done.stderr[-1000:]
    assert passed
    assert int(passed[1]) > 1000


def test_asserts_of_tests_are_checked_there_and_those_of_the_program_are_not(
    tmp_path: Path,
) -> None:
    (tmp_path / "program.py").write_text("assert False\n")
    (tmp_path / "test_it.py").write_text("import program\ndef test_it(): assert program is None\n")
    done = subprocess.run(
        [sys.executable, "-O", "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_it.py"],
        cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert "1 failed" in done.stdout, done.stdout
