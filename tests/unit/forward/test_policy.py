import pytest
from hypothesis import given
from hypothesis import strategies as st

from station.forward.policy import Allowed, Decision, Policy, Refused, ToFiles, parse_rules
from station.forward.target import parse_target


def policy(*destinations: str, hosts: tuple[str, ...] = ("10.0.0.0/8",)) -> Policy:
    return Policy.build(
        hosts=hosts,
        destinations=destinations,
        own_hosts=("lb.example", "192.0.2.11", "2001:db8::11"),
    )


def decide(rules: Policy, target: str) -> Decision:
    return rules.decide(parse_target(target.encode()))


def is_refused(rules: Policy, target: str) -> bool:
    return isinstance(decide(rules, target), Refused)


def test_clients_are_those_in_the_ranges() -> None:
    rules = policy(hosts=("10.0.0.0/8", "2001:db8::/32"))
    assert rules.may_ask("10.1.2.3") and rules.may_ask("::ffff:10.1.2.3")
    assert rules.may_ask("2001:db8::5")
    assert not rules.may_ask("11.0.0.1") and not rules.may_ask("::ffff:11.0.0.1")
    assert not rules.may_ask("") and not policy(hosts=()).may_ask("10.1.2.3")


def test_a_suffix_matches_on_a_label_boundary_with_web_ports_only() -> None:
    rules = policy("example.com")
    for target in ("example.com:443", "a.b.example.com:80", "EXAMPLE.com.:443"):
        assert decide(rules, target) == Allowed()
    for target in ("badexample.com:443", "example.com.evil.net:443", "example.com:22", "com:443"):
        assert is_refused(rules, target)


def test_an_exact_rule_allows_any_address_on_its_port_only() -> None:
    rules = policy("repo.corp:8080", "10.0.0.5:80")
    assert decide(rules, "repo.corp:8080") == Allowed(any_address=True)
    assert decide(rules, "10.0.0.5:80") == Allowed(any_address=True)
    assert is_refused(rules, "repo.corp:443") and is_refused(rules, "a.repo.corp:8080")


def test_everything_means_everything_public() -> None:
    rules = policy("*")
    assert decide(rules, "example.net:8443") == Allowed()
    assert decide(rules, "8.8.8.8:443") == Allowed()
    for target in ("127.0.0.1:443", "[::ffff:127.0.0.1]:443", "169.254.169.254:80", "10.0.0.1:443"):
        assert is_refused(rules, target)


@pytest.mark.parametrize("host", ["127.1", "0x7f.1", "2130706433", "017700000001", "0"])
def test_unusual_spellings_of_addresses_are_refused(host: str) -> None:
    assert is_refused(policy("*"), f"{host}:443")


def test_the_group_itself_is_served_by_our_own_files_workers() -> None:
    rules = policy()
    assert decide(rules, "lb.example:17080") == ToFiles("http")
    assert decide(rules, "LB.example.:17443") == ToFiles("https")
    assert decide(rules, "[2001:db8::11]:17443") == ToFiles("https")


def test_other_ports_of_the_group_are_refused_even_when_everything_is_allowed() -> None:
    rules = policy("*", "example")
    for target in ("lb.example:16080", "lb.example:443", "192.0.2.11:17946"):
        assert is_refused(rules, target)
    assert rules.judge_address("192.0.2.11") == "address of a station"


def test_a_denied_address_is_denied_under_every_name() -> None:
    assert policy("*", "!8.8.8.8").judge_address("8.8.8.8") == "denied address"


@given(st.permutations(["example.com", "!bad.example.com", "*", "!evil.net", "evil.net:443"]))
def test_denial_beats_permission_in_any_order(rules: list[str]) -> None:
    made = policy(*rules)
    assert is_refused(made, "x.bad.example.com:443")
    assert is_refused(made, "evil.net:443")
    assert decide(made, "good.example.com:443") == Allowed()


def test_rules_that_are_no_rules_are_refused() -> None:
    for rule in ("", "http://x", "a b", "x:0", "x:y", "ü.de"):
        with pytest.raises(ValueError, match="destination"):
            parse_rules([rule])


def test_all_ports_and_names_of_the_group_go_to_its_own_files_workers() -> None:
    policy = Policy.build(
        hosts=["10.0.0.0/8"],
        destinations=[],
        own_hosts=["new.example.com", "old.example.com"],
        ports_http=(17080,),
        ports_https=(18443, 17443),
    )
    for host in (b"new.example.com", b"old.example.com"):
        assert policy.decide(parse_target(host + b":17443", 443)) == ToFiles("https")
        assert policy.decide(parse_target(host + b":18443", 443)) == ToFiles("https")
        assert policy.decide(parse_target(host + b":17080", 443)) == ToFiles("http")
        assert isinstance(policy.decide(parse_target(host + b":17946", 443)), Refused)
