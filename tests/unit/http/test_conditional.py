"""Conditions: exact, strong, dates by equality."""

import pytest

from station.http.conditional import is_not_modified, is_range_allowed

TAG = b'"abc"'
DATE = b"Tue, 14 Nov 2023 22:13:20 GMT"


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({}, False),
        ({b"if-none-match": TAG}, True),
        ({b"if-none-match": b"W/" + TAG}, True),
        ({b"if-none-match": b'"x", ' + TAG}, True),
        ({b"if-none-match": b"*"}, True),
        ({b"if-none-match": b'"x"'}, False),
        ({b"if-modified-since": DATE}, True),
        ({b"if-modified-since": b"Tue, 14 Nov 2033 22:13:20 GMT"}, False),
        ({b"if-none-match": b'"x"', b"if-modified-since": DATE}, False),
    ],
)
def test_not_modified(headers: dict[bytes, bytes], expected: bool) -> None:
    assert is_not_modified(headers, TAG, DATE) is expected


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({}, True),
        ({b"if-range": TAG}, True),
        ({b"if-range": b"W/" + TAG}, False),
        ({b"if-range": b'"x"'}, False),
        ({b"if-range": DATE}, False),
    ],
)
def test_only_the_exact_strong_tag_lets_a_range_count(
    headers: dict[bytes, bytes], expected: bool
) -> None:
    assert is_range_allowed(headers, TAG) is expected
