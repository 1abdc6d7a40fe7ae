"""The .repo file is read back as dnf reads it."""

import configparser
from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from station.model.records import GroupRecord, Ports, SourceRecord
from station.setup.repo_file import RepoOptions, render_repo_file

GROUP = GroupRecord(id="g", compartment="c", hostname="lb.example.com")


def a_source(source_id: str = "ol9_baseos", **fields: object) -> SourceRecord:
    return SourceRecord.model_validate({"id": source_id, "url": "http://up/x", **fields})


def sections(text: str) -> configparser.RawConfigParser:
    parser = configparser.RawConfigParser(strict=True)
    parser.read_string(text)
    return parser


def test_clients_are_sent_to_the_mirrorlist_of_the_balancer_and_never_to_a_baseurl() -> None:
    read = sections(render_repo_file(GROUP, [a_source()], RepoOptions(profile="web")))
    repo = read["ol9_baseos"]
    assert repo["mirrorlist"] == "https://lb.example.com:17443/mirrorlist/ol9_baseos/web"
    assert "baseurl" not in repo
    assert repo["sslverify"] == "1"
    assert repo["sslcacert"] == "/etc/pki/station/ca.pem"


def test_over_http_nothing_is_said_of_certificates() -> None:
    group = GROUP.model_copy(update={"ports": Ports(http=8080)})
    read = sections(render_repo_file(group, [a_source()], RepoOptions(https=False)))
    assert read["ol9_baseos"]["mirrorlist"] == "http://lb.example.com:8080/mirrorlist/ol9_baseos"
    assert "sslcacert" not in read["ol9_baseos"]


def test_a_source_with_a_key_hands_it_out_and_one_without_does_not_name_one() -> None:
    text = render_repo_file(
        GROUP, [a_source("signed", gpgkey="KEY"), a_source("plain")], RepoOptions()
    )
    read = sections(text)
    assert read["signed"]["gpgkey"] == "https://lb.example.com:17443/keys/signed"
    assert "gpgkey" not in read["plain"]


def test_the_checks_of_a_source_are_those_of_its_record() -> None:
    source = a_source(is_gpg_check_enabled=False, is_repo_gpg_check_enabled=True)
    repo = sections(render_repo_file(GROUP, [source], RepoOptions()))["ol9_baseos"]
    assert (repo["gpgcheck"], repo["repo_gpgcheck"]) == ("0", "1")


def test_a_file_without_a_source_is_not_made() -> None:
    with pytest.raises(ValueError, match="without a source"):
        render_repo_file(GROUP, [], RepoOptions())


@given(
    name=st.text(st.characters(exclude_categories=["C", "Z"]), max_size=60),
    expire=st.integers(1, 10**6),
    ipv6=st.booleans(),
)
def test_no_display_name_breaks_the_file(name: str, expire: int, ipv6: bool) -> None:
    group = GROUP.model_copy(update={"hostname": "fd00::1" if ipv6 else "lb"})
    source = a_source(display_name=name)
    read = sections(render_repo_file(group, [source], RepoOptions(metadata_expire_s=expire)))
    assert read.sections() == ["ol9_baseos"]
    assert read["ol9_baseos"]["metadata_expire"] == str(expire)
    assert "$" not in read["ol9_baseos"]["name"]


def test_keys_lie_on_the_instance_and_the_proxy_is_the_groups_when_it_is_told_so() -> None:
    options = RepoOptions(key_directory="/etc/pki/station/keys", by_proxy=True)
    repo = sections(render_repo_file(GROUP, [a_source(gpgkey="KEY")], options))["ol9_baseos"]
    assert repo["gpgkey"] == "file:///etc/pki/station/keys/ol9_baseos"
    assert repo["proxy"] == "http://lb.example.com:16080"
    assert (repo["gpgcheck"], repo["sslverify"]) == ("1", "1")


@given(
    name=st.text(max_size=60),
    sources=st.lists(
        st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,20}", fullmatch=True),
        min_size=1,
        max_size=4,
        unique=True,
    ),
    by_proxy=st.booleans(),
    https=st.booleans(),
)
def test_file_read_back_is_the_model_whatever_names_there_are(
    name: str, sources: list[str], by_proxy: bool, https: bool
) -> None:
    try:
        records = [a_source(source, display_name=name, gpgkey="K") for source in sources]
    except ValueError:
        return
    options = RepoOptions(https=https, by_proxy=by_proxy, key_directory="/k")
    read = sections(render_repo_file(GROUP, records, options))
    assert read.sections() == sources
    for source in sources:
        repo = dict(read[source])
        assert repo.pop("name") == (name or source).replace("$", "").strip()
        scheme = "https://lb.example.com:17443" if https else "http://lb.example.com:17080"
        tls = {"sslverify": "1", "sslcacert": "/etc/pki/station/ca.pem"} if https else {}
        way = {"proxy": "http://lb.example.com:16080"} if by_proxy else {}
        assert repo == {
            "mirrorlist": f"{scheme}/mirrorlist/{source}",
            "enabled": "1",
            "metadata_expire": "21600",
            "gpgcheck": "1",
            "repo_gpgcheck": "0",
            "gpgkey": f"file:///k/{source}",
            **tls,
            **way,
        }


@given(
    host=st.one_of(
        st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,60}", fullmatch=True),
        st.ip_addresses().map(str),
    ),
    ports=st.tuples(*[st.integers(1, 65535)] * 3),
    by_proxy=st.booleans(),
)
def test_every_url_in_the_file_is_of_the_groups_host_and_ports(
    host: str, ports: tuple[int, int, int], by_proxy: bool
) -> None:
    places = Ports(proxy=ports[0], http=ports[1], https=ports[2])
    group = GROUP.model_copy(update={"hostname": host, "ports": places})
    options = RepoOptions(profile="web", by_proxy=by_proxy)
    repo = sections(render_repo_file(group, [a_source(gpgkey="K")], options))["ol9_baseos"]
    urls = [repo["mirrorlist"], repo["gpgkey"]]
    expected = ["/mirrorlist/ol9_baseos/web", "/keys/ol9_baseos"]
    assert [urlsplit(url).path for url in urls] == expected
    for url in urls:
        parts = urlsplit(url)
        assert (parts.scheme, parts.hostname, parts.port) == ("https", host.lower(), ports[2])
    proxy = urlsplit(repo["proxy"]) if by_proxy else None
    assert ("proxy" in repo) == by_proxy
    assert proxy is None or (proxy.hostname, proxy.port) == (host.lower(), ports[0])
