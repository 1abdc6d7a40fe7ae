"""Heads, pages, lists: their text."""

import pytest

from station.http.answer import error_answer, file_head, http_date, media_type, page
from station.http.mirrorlist import pinned_urls, render_metalink, render_mirrorlist


def test_dates_are_those_of_rfc_9110() -> None:
    assert http_date(784111777) == "Sun, 06 Nov 1994 08:49:37 GMT"


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        (b"Packages/a.rpm", "application/x-rpm"),
        (b"repodata/repomd.xml", "text/xml"),
        (b"repodata/primary.xml.GZ", "application/gzip"),
        (b"README", "application/octet-stream"),
    ],
)
def test_media_types_follow_the_name(path: bytes, expected: str) -> None:
    assert media_type(path) == expected


def test_a_304_has_no_length() -> None:
    head = file_head(304, length=None, etag=b'"a"', mtime=0, media="", date=0, keep_alive=True)
    assert b"Content-Length" not in head
    assert b'ETag: "a"' in head
    assert head.endswith(b"\r\n\r\n")


def test_an_error_ends_the_connection_and_a_head_request_gets_no_body() -> None:
    whole = error_answer(404, "not found", date=0)
    assert b"Connection: close" in whole
    assert (
        error_answer(404, "not found", date=0, is_head=True)
        == whole[: whole.index(b"\r\n\r\n") + 4]
    )


def test_pages_are_escaped() -> None:
    text = page("<b>", [('"javascript:', "<script>", "&")])
    assert b"<script>" not in text
    assert b"&lt;script&gt;" in text
    assert b'href="&quot;javascript:"' in text


def test_the_balancer_comes_first_and_no_host_twice() -> None:
    urls = pinned_urls("https", 17443, "lb", ["10.0.0.1", "lb", "fd00::1", ""], "ol9", "r")
    assert urls == [
        "https://lb:17443/repo/ol9/@r/",
        "https://10.0.0.1:17443/repo/ol9/@r/",
        "https://[fd00::1]:17443/repo/ol9/@r/",
    ]
    assert render_mirrorlist(urls).count(b"\n") == 3


def test_a_metalink_names_repomd_its_digest_and_size() -> None:
    text = render_metalink(["http://lb:1/r/"], sha256="d" * 64, size=7, timestamp=9).decode()
    for part in (
        "<size>7</size>",
        "d" * 64,
        "<mm0:timestamp>9<",
        "http://lb:1/r/repodata/repomd.xml<",
    ):
        assert part in text
