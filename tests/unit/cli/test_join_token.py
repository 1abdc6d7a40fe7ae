"""Where a join token may come from, and that no list of processes need have it."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from station.cli.main import app
from station.peering.token import new_token

TOML = """
name = "StationB"
compartment = "c"
hostname = "lb.example.com"
state_directory = "{root}/state"
[proxy]
hosts = ["10.0.0.0/8"]
[mirror]
directory = "{root}"
"""
# Nobody can listen there: the command gets as far as asking, with a good token.
NOWHERE = "127.0.0.1:1"
ON_THE_COMMAND_LINE = "can be read by every user"


@pytest.fixture
def toml(tmp_path: Path) -> Path:
    path = tmp_path / "station.toml"
    path.write_text(TOML.format(root=tmp_path), encoding="utf-8")
    return path


@pytest.mark.parametrize("command", [("join",), ("replace", "StationB")], ids=lambda c: c[0])
@pytest.mark.parametrize("way", ["stdin", "file", "argument"])
def test_a_token_is_taken_from_stdin_a_file_or_with_a_warning_from_the_command_line(
    command: tuple[str, ...], way: str, toml: Path, tmp_path: Path
) -> None:
    token = new_token(bytes(32), 17443).text()
    (tmp_path / "token").write_text(f"{token}\n", encoding="ascii")
    word = {"stdin": "-", "file": str(tmp_path / "token"), "argument": token}[way]
    words = [*command, word, NOWHERE, "--config", str(toml)]
    done = CliRunner().invoke(app, words, input=f"{token}\n" if way == "stdin" else "")
    assert done.exit_code == 1, done.output
    assert "not a join token" not in done.stderr
    assert NOWHERE in done.stderr
    assert (ON_THE_COMMAND_LINE in done.stderr) == (way == "argument")
    assert token not in done.output


def test_a_file_that_holds_no_token_is_misuse(toml: Path, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("nonsense\n" * 1000, encoding="ascii")
    words = ["join", str(tmp_path / "token"), NOWHERE, "--config", str(toml)]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 2
    assert "this is not a join token" in done.stderr
