"""Labels: only what is missing, and by the verb that semanage accepts for it."""

import re

from hypothesis import given
from hypothesis import strategies as st

from station.setup.selinux import SelinuxFacts, path_commands, path_rule, port_commands

LISTING = """\
http_cache_port_t              tcp      8080, 8118, 3128, 10001-10010
http_cache_port_t              udp      3130
http_port_t                    tcp      80, 443, 8443
unreserved_port_t              tcp      61001-65535, 1024-32767
vnc_port_t                     tcp      17080, 5900-5983
"""


def verbs(wanted: dict[int, str]) -> list[tuple[str, str]]:
    facts = SelinuxFacts(True, LISTING)
    return [(command[2], command[-1]) for command in port_commands(facts, wanted)]


def test_a_port_that_has_the_type_is_left_alone() -> None:
    assert verbs({80: "http_port_t", 10005: "http_cache_port_t"}) == []


def test_a_port_that_only_a_range_contains_is_added() -> None:
    assert verbs({17443: "http_port_t"}) == [("-a", "17443")]


def test_a_port_with_another_type_of_its_own_is_modified() -> None:
    assert verbs({17080: "http_port_t"}) == [("-m", "17080")]


def test_nothing_is_said_to_a_host_without_selinux() -> None:
    assert port_commands(SelinuxFacts(), {80: "http_port_t"}) == []
    assert path_commands(SelinuxFacts(), "/mnt/mirror") == []


def test_a_storage_path_with_another_label_is_relabelled() -> None:
    listing = "/mnt/mirror(/.*)?   all files   system_u:object_r:httpd_sys_content_t:s0\n"
    commands = path_commands(SelinuxFacts(True, "", listing), "/mnt/mirror")
    assert [command[:3] for command in commands] == [
        ("semanage", "fcontext", "-m"),
        ("restorecon", "-R", "/mnt/mirror"),
    ]


@given(st.text(st.characters(min_codepoint=32, max_codepoint=126), min_size=1, max_size=30))
def test_the_rule_finds_the_directory_and_what_is_below_it_only(name: str) -> None:
    directory = "/" + name.strip("/ ")
    if directory == "/":
        return
    rule = re.compile(path_rule(directory))
    assert rule.fullmatch(directory)
    assert rule.fullmatch(directory + "/pool/ab")
    assert not rule.fullmatch(directory + "x")
