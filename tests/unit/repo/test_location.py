"""Locations: what is accepted is harmless; what is refused is named."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from station.repo.errors import RepoError
from station.repo.location import parse_location, parse_package_location, to_url_path


@pytest.mark.parametrize(
    ("href", "path"),
    [
        ("Packages/g/gcc-c++-11.3-4.x86_64.rpm", "Packages/g/gcc-c++-11.3-4.x86_64.rpm"),
        ("gcc-c%2B%2B-11.rpm", "gcc-c++-11.rpm"),
        ("a~rc1^git.rpm", "a~rc1^git.rpm"),
        ("perl-4:5.32.1.rpm", "perl-4:5.32.1.rpm"),
        ("getPackage/bash-5.1.rpm", "getPackage/bash-5.1.rpm"),
        ("repodata/abc-primary.xml.gz", "repodata/abc-primary.xml.gz"),
        ("Pakete/größe.rpm", "Pakete/größe.rpm"),
        ("a..b.rpm", "a..b.rpm"),
    ],
)
def test_what_real_repositories_contain_is_accepted(href: str, path: str) -> None:
    assert parse_package_location(href) == path


@pytest.mark.parametrize(
    "href",
    [
        "",
        ".",
        "..",
        "../x.rpm",
        "a/../x.rpm",
        "a/./x.rpm",
        "a//x.rpm",
        "a/",
        "/etc/passwd",
        "//host/x.rpm",
        "http://host/x.rpm",
        "file:/etc/passwd",
        "FILE:x",
        "%2e%2e/x.rpm",
        "a/%2E%2e/x.rpm",
        "%252e%252e/x",
        "a%2fb.rpm",
        "a%5cb.rpm",
        "a%00b.rpm",
        "a%zzb.rpm",
        "a%",
        "a%25b.rpm",
        "%ff.rpm",
        "a\\b.rpm",
        "a\0b.rpm",
        "a\nb.rpm",
        "a\tb.rpm",
        "a\x7fb.rpm",
        "a\x85b.rpm",
        "a?b.rpm",
        "a#b.rpm",
        "-rf.rpm",
        "a/-rf.rpm",
        ".station/x",
        "a/.hidden",
        "@" + "0" * 64 + "/x.rpm",
        " a.rpm",
        "a .rpm/b /c",
        "x" * 1025,
        "x" * 256,
        "e\u0301.rpm",  # decomposed
        "a\udcffb.rpm",
    ],
)
def test_what_could_do_harm_is_refused_with_the_field_named(href: str) -> None:
    with pytest.raises(RepoError, match=r"^primary location: "):
        parse_package_location(href)


@pytest.mark.parametrize(
    "href",
    [
        "repodata/repomd.xml",
        "repodata/repomd.xml.asc",
        "repodata/repomd.xml.key",
        "repodata/repomd%2Exml",
        "station.storage",
        "pool/ab/cd",
        "staging/x",
        "sources/x",
    ],
)
def test_a_package_cannot_take_the_place_of_something_else(href: str) -> None:
    with pytest.raises(RepoError):
        parse_package_location(href)


@given(st.text(max_size=60))
def test_whatever_is_accepted_is_a_plain_relative_path(href: str) -> None:
    try:
        path = parse_location(href)
    except RepoError as error:
        assert len(str(error)) < 400
        return
    assert path and not path.startswith("/")
    assert all(part not in ("", ".", "..") for part in path.split("/"))
    assert not set(path) & set("\0\n\r\t\\?#%")
    assert parse_location(to_url_path(path)) == path


def test_a_location_survives_the_way_through_a_url() -> None:
    assert to_url_path("a b+c~d^e:é.rpm") == "a%20b+c~d^e:%C3%A9.rpm"
