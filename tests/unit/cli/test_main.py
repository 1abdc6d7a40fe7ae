"""The command line: what it is called with, what it says, how it ends."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from station import __version__
from station.cli.main import app

GOOD = """
name = "StationA"
compartment = "datacenter-1"
hostname = "lb.example.com"
[proxy]
hosts = ["10.0.0.0/8"]
[mirror]
directory = "/"
"""


def run(*arguments: str | Path, **environment: str) -> Result:
    return CliRunner(env=environment).invoke(app, [str(argument) for argument in arguments])


@pytest.fixture
def toml(tmp_path: Path) -> Path:
    path = tmp_path / "station.toml"
    path.write_text(GOOD.replace('"/"', f'"{tmp_path}"'), encoding="utf-8")
    return path


def test_a_good_configuration_ends_with_0_and_without_a_note(toml: Path) -> None:
    result = run("check", "--config", toml)
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout == f"{toml} is good\n"


def test_a_checked_configuration_can_be_had_as_json(toml: Path) -> None:
    answer = json.loads(run("check", "--config", toml, "--json").stdout)
    assert answer["config"]["mirror"]["sslport"] == 17443
    assert answer["notes"] == []


def test_a_bad_configuration_ends_with_2_and_each_problem_on_stderr(toml: Path) -> None:
    toml.write_text(GOOD.replace("datacenter-1", "").replace('"/"', '"x"'), encoding="utf-8")
    result = run("check", "--config", toml)
    assert (result.exit_code, result.stdout) == (2, "")
    assert f"{toml} has 2 problems:" in result.stderr
    assert "\n  compartment = " in result.stderr
    assert '\n  mirror.directory = "x": ' in result.stderr


def test_run_refuses_a_bad_configuration_as_check_does(toml: Path) -> None:
    toml.write_text("", encoding="utf-8")
    result = run("run", "--config", toml)
    assert result.exit_code == 2
    assert "has 4 problems" in result.stderr


def test_a_certificate_that_is_no_certificate_is_found_by_check(toml: Path, tmp_path: Path) -> None:
    key = tmp_path / "key"
    key.write_text("nothing", encoding="utf-8")
    tls = f'sslcert = "{tmp_path}/gone"\nsslkey = "{key}"\n'
    toml.write_text(toml.read_text(encoding="utf-8") + tls, encoding="utf-8")
    result = run("check", "--config", toml)
    assert "cannot be read: No such file or directory" in result.stderr
    assert "cannot be read: it is not a PEM file" in result.stderr


def test_a_missing_configuration_is_named(tmp_path: Path) -> None:
    result = run("check", "--config", tmp_path / "gone.toml")
    assert result.exit_code == 2
    assert result.stderr == f"station: {tmp_path}/gone.toml: No such file or directory\n"


def test_a_storage_path_that_is_not_there_is_a_note_and_no_problem(toml: Path) -> None:
    toml.write_text(GOOD.replace('"/"', '"/nowhere/mirror"'), encoding="utf-8")
    result = run("check", "--config", toml)
    assert result.exit_code == 0
    assert "/nowhere/mirror does not exist yet" in result.stderr


def test_without_a_station_the_error_names_the_socket_and_the_cure(tmp_path: Path) -> None:
    result = run("status", "--socket", tmp_path / "admin.sock")
    assert result.exit_code == 1
    assert str(tmp_path / "admin.sock") in result.stderr
    assert "is the station running?" in result.stderr


def test_the_socket_comes_from_the_option_then_the_environment_then_the_configuration(
    toml: Path, tmp_path: Path
) -> None:
    with toml.open("a", encoding="utf-8") as file:
        file.write(f'[admin]\nsocket = "{tmp_path}/from-config"\n')
    variable = f"{tmp_path}/from-environment"
    said = run("status", "--config", toml).stderr
    assert f"{tmp_path}/from-config:" in said
    said = run("status", STATION_SOCKET=variable).stderr
    assert f"{variable}:" in said
    both = ["--config", str(toml), "--socket", "/from-option"]
    said = run("status", *both, STATION_SOCKET=variable).stderr
    assert "/from-option:" in said


def test_a_configuration_on_the_command_line_beats_the_environment(toml: Path) -> None:
    said = run("status", "--config", toml, STATION_SOCKET="/from-environment").stderr
    assert "/run/station/admin.sock:" in said


@pytest.mark.parametrize("arguments", [[], ["--all", "web"]])
def test_a_sync_is_of_named_sources_or_of_all_and_never_both(arguments: list[str]) -> None:
    result = run("mirror", "sync", *arguments)
    assert result.exit_code == 2
    assert "name the sources to sync, or say --all" in result.stderr


def test_an_option_that_does_not_exist_is_misuse() -> None:
    assert run("status", "--jsn").exit_code == 2


def test_the_version_is_told() -> None:
    assert run("--version").stdout == f"station {__version__}\n"


@pytest.mark.parametrize("command", ["group create", "join token host", "storage init"])
def test_what_writes_on_this_host_refuses_a_bad_configuration_first(
    command: str, toml: Path
) -> None:
    toml.write_text("", encoding="utf-8")
    assert run(*command.split(), "--config", toml).exit_code == 2
    assert list(toml.parent.iterdir()) == [toml]
