"""Targets: which route a path is, and that none leads elsewhere."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from station.http.head import Refusal
from station.http.target import (
    CaPem,
    Health,
    Keys,
    Listing,
    MirrorList,
    Other,
    Pinned,
    PoolObject,
    Repo,
    Route,
    parse_target,
)

REVISION = "0" * 63 + "a"


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ("/", Listing(None)),
        ("/repo/", Listing(None)),
        ("/repo/ol9", Listing("ol9")),
        ("/repo/ol9/", Listing("ol9")),
        ("/repo/ol9/repodata/repomd.xml", Repo("ol9", b"repodata/repomd.xml")),
        ("/repo/ol9/P/gcc-c%2B%2B.rpm?x=1", Repo("ol9", b"P/gcc-c++.rpm")),
        ("http://h:17080/repo/ol9/a", Repo("ol9", b"a")),
        ("HTTP://h", Listing(None)),
        ("http://h?q", Listing(None)),
        (f"/repo/ol9/@{REVISION}/a/b", Pinned("ol9", REVISION, b"a/b")),
        (f"/repo/ol9/@{REVISION}/", Listing("ol9", REVISION)),
        ("/mirrorlist/ol9", MirrorList("ol9", None)),
        ("/mirrorlist/ol9/web", MirrorList("ol9", "web")),
        ("/metalink/ol9/web", MirrorList("ol9", "web", is_metalink=True)),
        ("/keys/ol9", Keys("ol9")),
        ("/ca.pem", CaPem()),
        ("/health/live", Health("live")),
        ("/health/ready", Health("ready")),
        (f"/pool/{REVISION}", PoolObject(REVISION)),
        ("/instances/abc", Other()),
        ("*", Other()),
    ],
)
def test_a_target_is_one_route(target: str, expected: Route) -> None:
    assert parse_target(target.encode()) == expected


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ("/repo/x/../y", 400),
        ("/repo/x/%2e%2E/y", 400),
        ("/repo/x/..%2fy", 400),
        ("/repo/./x", 400),
        ("/repo/../admin", 400),
        ("/repo/x//y", 404),
        ("//etc/passwd", 404),
        ("/repo/%2fetc/x", 404),
        ("/repo/x/%00", 400),
        ("/repo/x/a%0d%0ab", 400),
        ("/repo/x/a%zz", 400),
        ("/repo/x/a%", 400),
        ("/repo/x/a#b", 400),
        ("/repo/.hidden/a", 404),
        ("/repo/x/@short/a", 404),
        ("/repo/x/dir/", 404),
        ("/pool/ABC", 404),
        ("/health/", 404),
        ("/mirrorlist/a/b/c", 404),
        ("ftp://h/x", 400),
        ("repo/x", 400),
        ("http://u@h/x", 400),
    ],
)
def test_targets_that_are_refused(target: str, expected: int) -> None:
    found = parse_target(target.encode())
    assert isinstance(found, Refusal)
    assert found.status == expected


@given(st.binary(min_size=1, max_size=200))
def test_no_route_holds_a_dot_segment_or_a_control_character(target: bytes) -> None:
    route = parse_target(b"/repo/x/" + target)
    if isinstance(route, Repo | Pinned):
        assert not {b".", b"..", b""} & set(route.path.split(b"/"))
        assert not any(byte < 32 or byte == 127 for byte in route.path)
