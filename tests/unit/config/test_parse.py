"""Every problem of a station.toml is told at once, with its key and what to write instead."""

from dataclasses import asdict

import pytest

from station.config.parse import ConfigError, Problem, advice, parse_config
from station.config.schema import SECTIONS, Config, setting_keys
from station.serve import limits as serve_limits

SMALLEST = """
name = "StationA"
compartment = "datacenter-1"
hostname = "lb.example.com"
[mirror]
directory = "/mnt/mirror"
"""


def problems(text: str, **unreadable: str) -> dict[str, Problem]:
    with pytest.raises(ConfigError) as raised:
        parse_config(text, lambda path: unreadable.get(path.rpartition("/")[2], ""))
    return {problem.key: problem for problem in raised.value.problems}


def smallest(top: str = "", mirror: str = "", more: str = "") -> str:
    head, _, tail = SMALLEST.partition("[mirror]")
    return f"{head}{top}\n[mirror]{tail}{mirror}\n{more}"


def test_four_settings_are_enough_and_the_rest_has_the_products_defaults() -> None:
    config = parse_config(SMALLEST)
    assert config.proxy.port == 16080
    assert config.mirror.port == 17080
    assert config.mirror.sslport == 17443
    assert config.peer.port == 17946
    assert config.state_directory == "/var/lib/station"
    assert config.listen == "0.0.0.0"
    assert config.proxy.enabled
    assert config.mirror.is_sslverify_enabled


def test_an_empty_file_lacks_exactly_the_four_settings_without_a_default() -> None:
    assert set(problems("")) == {"name", "compartment", "hostname", "mirror.directory"}


def test_a_missing_setting_is_told_with_an_example_of_it() -> None:
    assert 'directory = "/mnt/mirror" under [mirror]' in problems("")["mirror.directory"].cure


def test_every_problem_is_told_in_one_error() -> None:
    found = problems(
        """
        name = "Station A"
        state_directory = "var/lib"
        balancers = ["10.0.0.1/8"]
        listn = "0.0.0.0"
        [proxy]
        port = 0
        hosts = ["10.1.0.0/8", "many"]
        enabled = "yes"
        [mirror]
        directory = "mirror"
        port = 17946
        sslport = 65536
        sslcert = "/etc/gone.pem"
        """,
        **{"gone.pem": "No such file or directory"},
    )
    assert set(found) == {
        "name",
        "compartment",
        "hostname",
        "state_directory",
        "balancers[0]",
        "listn",
        "proxy.port",
        "proxy.hosts[0]",
        "proxy.hosts[1]",
        "proxy.enabled",
        "mirror.directory",
        "mirror.sslport",
        "mirror.sslcert",
        "mirror.sslkey",
        "peer.port",
    }


@pytest.mark.parametrize("port", ["0", "-1", "65536"])
def test_a_port_out_of_range_is_told_with_the_default(port: str) -> None:
    problem = problems(smallest(mirror=f"port = {port}"))["mirror.port"]
    assert str(problem) == f"mirror.port = {port}: ports are 1–65535 (default 17080)"


def test_a_port_in_quotes_is_no_port() -> None:
    assert "without quotes" in problems(smallest(mirror='port = "17080"'))["mirror.port"].cure


def test_equal_ports_are_told_also_when_one_of_them_is_a_default() -> None:
    problem = problems(smallest(mirror="sslport = 16080"))["mirror.sslport"]
    assert problem.cure.startswith("is also proxy.port")


def test_a_further_port_must_differ_from_all_the_others() -> None:
    found = problems(smallest(mirror="more_ports = [18080, 17443]"))
    assert found["mirror.more_ports"].cure.startswith("is also mirror.sslport")
    config = parse_config(smallest(mirror="more_ports = [18080]\nmore_sslports = [18443]"))
    assert (config.mirror.more_ports, config.mirror.more_sslports) == ((18080,), (18443,))


def test_the_pages_port_must_differ_from_the_other_ports() -> None:
    found = problems(smallest(more='[admin]\nlisten = "127.0.0.1:17080"'))
    assert found["admin.listen"].cure.startswith("is also mirror.port")


@pytest.mark.parametrize(
    ("written", "network"),
    [("10.0.0.1/8", "10.0.0.0/8"), ("192.168.7.9/16", "192.168.0.0/16"), ("fd00::1/8", "fd00::/8")],
)
def test_a_range_with_host_bits_is_told_with_the_network_it_means(
    written: str, network: str
) -> None:
    found = problems(smallest(more=f'[proxy]\nhosts = ["{written}"]'))
    assert found["proxy.hosts[0]"].cure.endswith(f"the network is {network}")


def test_a_single_address_is_a_range_of_one() -> None:
    assert parse_config(smallest(top='balancers = ["10.0.0.5"]')).balancers == ("10.0.0.5",)


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("hostnme", "hostname"),
        ("state_dir", "state_directory"),
        ("Compartment_", "compartment"),
        ("sslport", "mirror.sslport"),
        ("miror", "mirror"),
    ],
)
def test_an_unknown_key_is_told_with_the_nearest_name(written: str, meant: str) -> None:
    assert problems(smallest(top=f"{written} = 1"))[written].cure.endswith(f"mean {meant}?")


def test_an_unknown_key_like_no_other_is_to_be_removed() -> None:
    assert problems(smallest(top="zzzzzz = 1"))["zzzzzz"].cure == "unknown key; remove it"


def test_an_unreadable_certificate_is_told_with_the_reason() -> None:
    tls = 'sslcert = "/etc/a.pem"\nsslkey = "/etc/a.key"'
    found = problems(smallest(mirror=tls), **{"a.key": "Permission denied"})
    assert set(found) == {"mirror.sslkey"}
    assert found["mirror.sslkey"].cure == "cannot be read: Permission denied"


def test_a_certificate_without_its_key_is_a_problem() -> None:
    assert set(problems(smallest(mirror='sslcert = "/etc/a.pem"'))) == {"mirror.sslkey"}


def test_a_state_directory_too_deep_for_unix_sockets_is_told() -> None:
    deep = "/" + "x" * 84
    assert parse_config(smallest(top=f'state_directory = "{deep}"'))
    found = problems(smallest(top=f'state_directory = "{deep}y"'))
    assert "run/files.sock below it has 101 bytes" in found["state_directory"].cure


def test_an_admin_socket_with_too_long_a_path_is_told() -> None:
    assert "admin.socket" in problems(smallest(more=f'[admin]\nsocket = "/{"s" * 100}"'))


def test_the_page_listens_on_loopback_only() -> None:
    found = problems(smallest(more='[admin]\nlisten = "0.0.0.0:17081"'))
    assert "use 127.0.0.1:17081" in found["admin.listen"].cure


def test_state_and_storage_are_two_directories() -> None:
    assert "mirror.directory" in problems(smallest(top='state_directory = "/mnt/mirror/"'))


@pytest.mark.parametrize("text", ["*", "example.com", ".example.com", "10.0.0.9:8443", "[::1]:80"])
def test_a_destination_is_a_suffix_or_an_exact_host_and_port(text: str) -> None:
    assert parse_config(smallest(more=f'[proxy]\ndestinations = ["{text}"]'))


@pytest.mark.parametrize("text", ["https://example.com/", "a b", "host:0", "host:99999", ""])
def test_other_destinations_are_problems(text: str) -> None:
    found = problems(smallest(more=f'[proxy]\ndestinations = ["{text}"]'))
    assert set(found) == {"proxy.destinations[0]"}


@pytest.mark.parametrize("text", ["proxy.example.com:3128", "http://u:p@[fd00::1]:3128/"])
def test_an_outer_proxy_is_a_host_and_a_port(text: str) -> None:
    assert parse_config(smallest(more=f'[proxy]\nforward = "{text}"')).proxy.forward == text


def test_text_that_is_not_toml_is_one_problem_with_its_place() -> None:
    assert "line 2" in problems('name = "A"\nhostname = lb')["file"].cure


def test_a_proxy_that_nobody_may_use_is_allowed_and_advised_against() -> None:
    assert advice(parse_config(SMALLEST))[0].startswith("proxy.hosts is empty")
    assert advice(parse_config(smallest(more='[proxy]\nhosts = ["10.0.0.0/8"]'))) == []


def test_limits_have_the_names_and_the_defaults_of_the_workers_own_table() -> None:
    ours = parse_config(SMALLEST).limits.model_dump()
    theirs = asdict(serve_limits.Limits.from_settings(ours))
    assert theirs == asdict(serve_limits.Limits())


def test_a_configuration_cannot_be_changed() -> None:
    with pytest.raises(ValueError, match="frozen"):
        parse_config(SMALLEST).name = "other"


def test_every_setting_has_a_description() -> None:
    described = setting_keys()
    assert all(described.values())
    assert len(described) == len(Config.model_fields) - len(SECTIONS) + sum(
        len(section.model_fields) for section in SECTIONS.values()
    )
