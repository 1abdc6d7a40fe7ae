from collections import Counter

from lbproxy.balancer import BackendState, Balancer, Verdict

READY, NOT_READY, SILENT = Verdict.READY, Verdict.NOT_READY, Verdict.SILENT


class Group:
    """A balancer whose backends go by their names."""

    def __init__(self, policy: str, names: str) -> None:
        self.by_name = {name: BackendState(name) for name in names}
        self.balancer = Balancer(list(self.by_name.values()), policy)

    def report(self, name: str, verdict: Verdict, now: float) -> str:
        return self.balancer.report(self.by_name[name], verdict, now)

    def pick(self, source: str = "", tried: str = "") -> str | None:
        state = self.balancer.pick(source, [self.by_name[name] for name in tried])
        return state.name if state else None


def balancer(policy: str = "round_robin", names: str = "ABC") -> Group:
    made = Group(policy, names)
    for name in names:
        made.report(name, READY, 0.0)
        assert made.report(name, READY, 0.0) == "up"
    return made


def test_who_has_not_proved_itself_is_picked_only_while_nobody_else_is_there() -> None:
    made = Group("round_robin", "AB")
    made.report("A", READY, 0.0)
    assert made.pick("", "A") == "B"
    made.report("A", READY, 0.0)
    assert [made.pick() for _ in range(3)] == ["A"] * 3


def test_the_dead_are_not_picked_until_they_answer_again() -> None:
    made = balancer(names="A")
    made.report("A", SILENT, 1.0)
    assert made.report("A", SILENT, 1.5) == "dead"
    assert made.pick() is None
    made.report("A", NOT_READY, 2.0)
    assert made.pick() == "A"


def test_round_robin_takes_turns() -> None:
    made = balancer()
    assert Counter(made.pick() for _ in range(9)) == {"A": 3, "B": 3, "C": 3}


def test_least_connections_prefers_who_has_the_fewest() -> None:
    made = balancer("least_connections")
    first = [made.pick() for _ in range(3)]
    assert sorted(filter(None, first)) == ["A", "B", "C"]
    made.by_name["B"].connections -= 1
    assert made.pick() == "B"


def test_source_hash_keeps_a_client_and_moves_only_those_of_a_lost_backend() -> None:
    made = balancer("source_hash")
    sources = [f"10.0.0.{n}" for n in range(200)]
    before = {source: made.pick(source) for source in sources}
    assert set(before.values()) == {"A", "B", "C"}
    made.report("B", SILENT, 1.0)
    made.report("B", SILENT, 1.0)
    for source, name in before.items():
        now = made.pick(source)
        assert now == name if name != "B" else now in ("A", "C")


def test_backends_that_were_tried_are_not_picked_again() -> None:
    made = balancer()
    assert made.pick("", "AB") == "C"
    assert made.pick("", "ABC") is None


def test_one_failure_changes_nothing_two_in_a_row_do() -> None:
    made = balancer()
    assert made.report("A", NOT_READY, 1.0) == ""
    made.report("A", READY, 1.5)
    assert made.report("A", NOT_READY, 2.0) == ""
    assert made.report("A", NOT_READY, 2.5) == "down"


def test_silence_is_death_and_saying_no_is_not() -> None:
    made = balancer()
    made.report("A", SILENT, 1.0)
    assert made.report("A", SILENT, 1.5) == "dead"
    made.report("B", NOT_READY, 1.0)
    assert made.report("B", NOT_READY, 1.5) == "down"
    made.report("B", SILENT, 2.0)
    assert made.report("B", SILENT, 2.5) == "dead"
    assert made.report("B", SILENT, 3.0) == ""


def test_draining_backend_keeps_its_connections_and_gets_no_new_ones() -> None:
    made = balancer(names="AB")
    made.by_name["A"].is_draining = True
    assert {made.pick() for _ in range(4)} == {"B"}
    made.by_name["A"].is_draining = False
    assert {made.pick() for _ in range(4)} == {"A", "B"}


def test_flapping_makes_few_transitions_in_five_minutes() -> None:
    for period in (1.0, 2.0, 3.0, 5.0):
        made = balancer(names="A")
        now = 0.0
        while now < 300.0:
            now += 0.5
            made.report("A", READY if now % period < period / 2 else SILENT, now)
        assert made.by_name["A"].transitions <= 7, period  # the first one is its start


def test_a_fall_long_after_the_last_is_forgiven() -> None:
    made = balancer(names="A")
    for start in (100.0, 300.0, 500.0):
        for step in range(2):
            made.report("A", SILENT, start + step)
        made.report("A", READY, start + 3)
        assert made.report("A", READY, start + 4) == "up"
