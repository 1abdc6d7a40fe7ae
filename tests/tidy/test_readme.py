"""What a user can set or call is in README.md, with the default that it has."""

import re
from collections.abc import Iterator
from pathlib import Path

import typer
from typer.main import get_command

from lbproxy.config import FRONT_ENDS
from station.cli.main import app
from station.config.schema import SECTIONS, Config, setting_keys

README = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
MAKEFILE = (Path(__file__).parents[2] / "Makefile").read_text(encoding="utf-8")


def subcommands(group: typer.Typer, prefix: str) -> Iterator[str]:
    for command in group.registered_commands:
        assert command.callback is not None
        yield f"{prefix} {command.name or command.callback.__name__}"
    for inner in group.registered_groups:
        assert inner.typer_instance is not None
        yield from subcommands(inner.typer_instance, f"{prefix} {inner.name}")


def default_of(key: str) -> str:
    section, _, leaf = key.rpartition(".")
    field = (SECTIONS[section] if section else Config).model_fields[leaf]
    if field.is_required():
        return "required"
    match field.default:
        case bool(value):
            return str(value).lower()
        case tuple():
            return "[]"
        case str(text):
            return f'`"{text}"`'
    return f"{field.default:g}" if isinstance(field.default, float) else str(field.default)


def test_every_setting_stands_in_the_table_with_its_default_and_meaning() -> None:
    rows = {
        key: (default, meaning)
        for key, default, meaning in re.findall(
            r"^\| `([a-z_.]+)` \| (.+?) \| (.+) \|$", README, re.M
        )
    }
    assert rows == {key: (default_of(key), text) for key, text in setting_keys().items()}


def test_every_subcommand_is_named() -> None:
    missing = [name for name in subcommands(app, "station") if f"`{name}" not in README]
    assert not missing


def test_every_option_of_every_subcommand_explains_itself() -> None:
    def silent(command: object, name: str) -> Iterator[str]:
        for parameter in getattr(command, "params", ()):
            if parameter.param_type_name == "option" and not parameter.help:
                yield f"{name} {parameter.opts[0]}"
        for inner_name, inner in getattr(command, "commands", {}).items():
            yield from silent(inner, f"{name} {inner_name}")

    assert not list(silent(get_command(app), "station"))


def test_every_make_target_explains_itself() -> None:
    targets = re.search(r"^\.PHONY: (.+)$", MAKEFILE, re.M)
    assert targets
    explained = re.findall(r"@echo 'make (\w+) ", MAKEFILE)
    assert sorted(explained) == sorted(set(targets[1].split()) - {"help"})


def test_every_port_is_in_the_table_of_ports() -> None:
    config = {"proxy": 16080, "http": 17080, "https": 17443}
    assert set(config) == set(FRONT_ENDS)
    assert all(f"| {port} | " in README for port in [*config.values(), 17946])
