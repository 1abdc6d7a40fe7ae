"""Ranges: against a plain model, and at a bounded cost."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from station.http.ranges import Part, Unsatisfiable, Whole, select_range


@pytest.mark.parametrize(
    ("header", "size", "expected"),
    [
        (b"bytes=0-0", 10, Part(0, 0)),
        (b"bytes=0-", 10, Part(0, 9)),
        (b"Bytes=2-99", 10, Part(2, 9)),
        (b"bytes=-3", 10, Part(7, 9)),
        (b"bytes=-99", 10, Part(0, 9)),
        (b"bytes=9-9", 10, Part(9, 9)),
    ],
)
def test_one_range_is_exact(header: bytes, size: int, expected: Part) -> None:
    assert select_range(header, size) == expected


@pytest.mark.parametrize(
    "header", [b"bytes=10-", b"bytes=10-20", b"bytes=-0", b"bytes=" + b"9" * 5000 + b"-"]
)
def test_a_range_without_a_byte_of_the_file_is_unsatisfiable(header: bytes) -> None:
    assert isinstance(select_range(header, 10), Unsatisfiable)


@pytest.mark.parametrize("header", [b"bytes=0-", b"bytes=-5"])
def test_nothing_of_an_empty_file_is_satisfiable(header: bytes) -> None:
    assert isinstance(select_range(header, 0), Unsatisfiable)


@pytest.mark.parametrize(
    "header",
    [
        None,
        b"",
        b"bytes=",
        b"bytes=-",
        b"bytes=5-3",
        b"foo=1-2",
        b"bytes=0-1,3-4",
        b"bytes=a-b",
        b"bytes=0-1-2",
        b"0-1",
    ],
)
def test_everything_else_gets_the_whole(header: bytes | None) -> None:
    assert isinstance(select_range(header, 10), Whole)


@given(st.integers(0, 30), st.integers(0, 30), st.integers(0, 20))
def test_a_part_is_what_slicing_gives(first: int, last: int, size: int) -> None:
    data = bytes(range(size))
    found = select_range(b"bytes=%d-%d" % (first, last), size)
    if last < first:
        assert isinstance(found, Whole)
    elif first >= size:
        assert isinstance(found, Unsatisfiable)
    else:
        assert isinstance(found, Part)
        assert data[found.first : found.last + 1] == data[first : last + 1]


@given(st.binary(max_size=40), st.integers(0, 1000))
def test_any_header_selects_bytes_inside_the_file(header: bytes, size: int) -> None:
    found = select_range(b"bytes=" + header, size)
    if isinstance(found, Part):
        assert 0 <= found.first <= found.last < size


@pytest.mark.parametrize(
    "header",
    [b"bytes=" + b"0-1," * 4000, b"bytes=" + b" " * 16000 + b"1", b"bytes=" + b"0" * 16000 + b"-"],
)
def test_a_huge_header_costs_no_time(header: bytes) -> None:
    started = time.process_time()
    select_range(header, 10)
    assert time.process_time() - started < 0.005
