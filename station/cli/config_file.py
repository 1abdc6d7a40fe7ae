"""A station.toml from the disk: the parser is pure, the reading of files is here."""

from pathlib import Path

from station.cli.options import MISUSE, fail
from station.config.parse import ConfigError, advice, parse_config
from station.config.schema import Config


def load(path: Path) -> Config:
    """The configuration; every problem to stderr and exit 2."""
    try:
        return parse_config(path.read_text(encoding="utf-8"), why_unreadable)
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "is not UTF-8 text"
        fail(f"{path}: {reason}", MISUSE)
    except ConfigError as error:
        count = len(error.problems)
        fail(f"{path} has {count} problem{'s' * (count > 1)}:\n{_indented(error)}", MISUSE)


def why_unreadable(path: str) -> str:
    """Why this user cannot read the PEM file; empty when it can."""
    try:
        with open(path, "rb") as file:
            return "" if b"-----BEGIN " in file.read(1 << 20) else "it is not a PEM file"
    except OSError as error:
        return error.strerror or str(error)


def warnings(config: Config) -> list[str]:
    """What is allowed and yet rarely meant."""
    found = advice(config)
    if not Path(config.mirror.directory).is_dir():
        found.append(f"mirror.directory: {config.mirror.directory} does not exist yet")
    return found


def _indented(error: ConfigError) -> str:
    return "\n".join(f"  {problem}" for problem in error.problems)
