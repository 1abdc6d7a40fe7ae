import pytest

from lbproxy.config import ConfigError, parse_config

GOOD = """
status = "127.0.0.1:16090"
[frontend.http]
listen = "0.0.0.0:17080"
policy = "least_connections"
[frontend.https]
listen = "[::]:17443"
send_proxy = true
[[backend]]
name = "StationA"
address = "127.0.0.11"
[[backend]]
name = "StationB"
address = "127.0.0.12"
ports = { http = 27080 }
"""


def problems(text: str) -> str:
    with pytest.raises(ConfigError) as caught:
        parse_config(text)
    return "\n".join(caught.value.problems)


def test_defaults_are_what_a_group_has() -> None:
    config = parse_config(GOOD)
    http, https = config.front_ends
    assert (http.listen, http.policy) == (("0.0.0.0", 17080), "least_connections")
    assert (https.listen, https.send_proxy) == (("::", 17443), True)
    assert config.backends[0].ports == {"http": 17080, "https": 17443}
    assert config.backends[1].ports == {"http": 27080, "https": 17443}


def test_every_problem_is_named_at_once() -> None:
    text = problems(
        """
        max_connections = "many"
        status = "0.0.0.0:80"
        colour = "red"
        [health]
        fall = 0
        [frontend.http]
        listen = "localhost:80"
        policy = "best"
        [frontend.ftp]
        listen = "0.0.0.0:21"
        [[backend]]
        name = "A"
        address = "station.example"
        ports = { http = 70000, smtp = 25 }
        [[backend]]
        name = "A"
        address = "127.0.0.1"
        """
    )
    for key in (
        "max_connections:", "status:", "colour:", "health.fall:", "frontend.http.listen:", "frontend.http.policy:",
        "frontend.ftp:", "backend[0].address:", "backend[0].ports.http:", "backend[0].ports.smtp:", "backend:",
    ):  # fmt: skip
        assert key in text, key


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[frontend]",
        "frontend = 1",
        "backend = 1",
        "backend = [1]",
        "[frontend.http",
        "health = []",
    ],
)
def test_other_shapes_are_problems_and_not_crashes(text: str) -> None:
    assert problems(text)
