"""Where a redirect may lead, and which addresses are dialled."""

import pytest

from station.sync.egress import REDIRECTS_MAX, Egress, host_and_port, redirect_target
from station.sync.failure import SyncFailed


def test_host_and_port_are_read_strictly() -> None:
    assert host_and_port("https://Mirror.Example/a") == ("mirror.example", 443)
    assert host_and_port("http://[::1]:8080/") == ("::1", 8080)


@pytest.mark.parametrize("url", ["ftp://a/", "file:///etc/passwd", "http://", "/x", "http://a:b/"])
def test_what_is_no_http_url_is_refused(url: str) -> None:
    with pytest.raises(ValueError):
        host_and_port(url)


def test_a_redirect_may_be_relative() -> None:
    assert redirect_target("http://a/x/y", "../z?q=1", 0) == "http://a/z?q=1"


def test_a_redirect_may_lead_from_http_to_https() -> None:
    assert redirect_target("http://a/x", "https://b/x", 0) == "https://b/x"


@pytest.mark.parametrize(
    ("location", "why"),
    [
        ("http://a/x", "from https to"),
        ("file:///etc/passwd", "redirect to"),
        ("https://user:secret@b/", "credentials"),
        ("https://b/ x", "malformed"),
        ("https://b/" + "x" * 5000, "malformed"),
        ("https://b:99999/", "redirect to"),
    ],
)
def test_a_bad_redirect_is_refused_with_its_reason(location: str, why: str) -> None:
    with pytest.raises(SyncFailed) as refused:
        redirect_target("https://a/x", location, 0)
    assert (refused.value.code, why in refused.value.detail) == ("redirect", True)


def test_the_sixth_redirect_is_refused() -> None:
    redirect_target("http://a/", "/b", REDIRECTS_MAX - 1)
    with pytest.raises(SyncFailed):
        redirect_target("http://a/", "/b", REDIRECTS_MAX)


def no(address: str) -> str:
    return "not public"


async def test_the_configured_upstream_is_allowed_at_any_address() -> None:
    egress = Egress(["http://127.0.0.1:8080/repo/"], no)
    assert await egress.addresses("127.0.0.1", 8080) == ["127.0.0.1"]


async def test_another_port_of_the_configured_host_is_judged() -> None:
    egress = Egress(["http://127.0.0.1:8080/repo/"], no)
    with pytest.raises(SyncFailed) as refused:
        await egress.addresses("127.0.0.1", 22)
    assert (refused.value.code, refused.value.retriable) == ("redirect", False)


async def test_what_the_judge_lets_pass_is_dialled() -> None:
    egress = Egress([], lambda address: None)
    assert await egress.addresses("192.0.2.1", 443) == ["192.0.2.1"]
