"""What is kept about clients and heads is what the rules would say, and no more than its bound."""

import pytest

from station.forward.policy import Allowed, Policy, Refused
from station.forward.request import BadRequest
from station.forward.target import Target
from station.model.snapshot import Snapshot
from station.serve.rulings import Rulings, policy_of

POLICY = Policy.build(hosts=["10.0.0.0/8"], destinations=["example.com"])
HEAD = b"CONNECT %s:443 HTTP/1.1\r\nHost: %s:443\r\n\r\n"


def head(host: str) -> bytes:
    return HEAD % (host.encode(), host.encode())


def test_the_same_head_gets_the_same_ruling_as_the_rules_give() -> None:
    rulings = Rulings(POLICY, "tag")
    for _ in range(2):
        request, decision = rulings.read(head("www.example.com")) or (None, None)
        assert request is not None and request.is_connect
        assert decision == Allowed()
        assert isinstance((rulings.read(head("example.org")) or (None, None))[1], Refused)
    assert rulings.read(head("example.com")) is rulings.read(head("example.com"))


def test_a_head_with_more_behind_it_is_read_anew() -> None:
    rulings = Rulings(POLICY, "tag")
    early = head("example.com") + b"early"
    first = rulings.read(early)
    assert first is not None and first[0].size == len(early) - 5
    assert rulings.read(early) is not first


def test_an_unfinished_head_is_no_ruling_and_a_loop_is_refused_each_time() -> None:
    rulings = Rulings(POLICY, "tag")
    assert rulings.read(head("example.com")[:-2]) is None
    looped = head("example.com")[:-2] + b"Via: 1.1 tag\r\n\r\n"
    for _ in range(2):
        with pytest.raises(BadRequest, match="loop"):
            rulings.read(looped)


def test_a_question_about_health_has_no_decision() -> None:
    request, decision = Rulings(POLICY, "tag").read(
        b"GET /health/ready HTTP/1.1\r\nHost: h\r\n\r\n"
    ) or (None, None)
    assert request is not None and request.path == b"/health/ready"
    assert decision is None


def test_clients_are_judged_by_the_rules_however_many_there_are() -> None:
    rulings = Rulings(POLICY, "tag")
    for number in range(5000):
        assert rulings.may_ask(f"10.0.{number // 256}.{number % 256}")
        assert not rulings.may_ask(f"192.0.2.{number % 256}")


def test_the_rules_of_a_snapshot_leave_out_what_is_none_and_fall_back_to_the_settings() -> None:
    settings = {"hosts": ["10.0.0.0/8"], "destinations": ["example.com"]}
    assert policy_of(Snapshot(), settings).decide(Target("example.com", 443)) == Allowed()
    told = Snapshot(proxy_destinations=("not a host", "example.org"))
    policy = policy_of(told, settings)
    assert policy.decide(Target("example.org", 443)) == Allowed()
    assert isinstance(policy.decide(Target("example.com", 443)), Refused)
