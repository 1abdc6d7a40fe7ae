"""tests/CASES.md says which test shows what: the tests are there, and nothing that must be shown is missing."""

import ast
import re
from dataclasses import fields
from functools import cache
from pathlib import Path

import pytest

from station.serve.limits import Limits

TESTS = Path(__file__).parents[1]
TEXT = (TESTS / "CASES.md").read_text(encoding="utf-8")
ROWS = [
    [cell.strip() for cell in line.strip("|").split("|")]
    for line in TEXT.splitlines()
    if line.startswith("| ") and not line.startswith(("| limit", "| case"))
]
LIMITS = [row for row in ROWS if "<br>" not in row[2] and re.fullmatch(r"[a-z_]+", row[1])]
CASES = [row for row in ROWS if row not in LIMITS]
STARRED = frozenset(
    [f"PX-{number}" for number in (1, 2, 3, 4, 5, 6, 7, 11, 13, 14, 15, 19)]
    + [f"ST-{number}" for number in (1, 3, 4, 5, 6, 7, 8, 9, 11)]
    + [f"LB-{number}" for number in (1, 2, 5, 7, 8)]
    + [f"SH-{number}" for number in (1, 2, 3, 5, 6, 9)]
    + [f"RG-{number}" for number in (1, 2, 3, 4, 5, 6, 7, 10)]
    + ["PB-7", "TL-1", "OS-1", "OS-2"]
)
NAMED = sorted(set(re.findall(r"(?:[a-z]+/)*test_\w+\.py::test_\w+", TEXT)))


@cache
def functions_in(module: str) -> dict[str, str]:
    """The tests of a module, each with its source."""
    path = TESTS / (module if "/" in module else f"integration/{module}")
    text = path.read_text(encoding="utf-8")
    return {
        node.name: ast.get_source_segment(text, node) or ""
        for node in ast.parse(text).body
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }


@pytest.mark.parametrize("name", NAMED)
def test_each_test_that_is_named_is_there(name: str) -> None:
    module, _, function = name.partition("::")
    assert function in functions_in(module)


def test_every_row_names_a_test() -> None:
    assert not [row for row in ROWS if "::test_" not in row[2]]


def test_every_limit_is_in_the_table() -> None:
    outside = re.search(r"Not in the table[^(]+\(([^)]+)\)", TEXT)
    assert outside
    caches = set(re.split(r",\s+", outside[1]))
    known = {field.name for field in fields(Limits)}
    listed = {row[0] for row in LIMITS if "descriptors" not in row[0]}
    assert listed | caches == known
    assert not listed & caches


@pytest.mark.parametrize("row", LIMITS, ids=lambda row: row[0])
def test_a_limits_test_looks_at_its_count(row: list[str]) -> None:
    module, _, function = row[2].partition("::")
    assert (
        f'"{row[1]}"' in functions_in(module)[function]
        or f"limit_{row[1]}" in functions_in(module)[function]
    )


def test_every_case_that_must_hold_is_there() -> None:
    assert {row[0].removesuffix(" ★") for row in CASES if row[0].endswith("★")} == STARRED
