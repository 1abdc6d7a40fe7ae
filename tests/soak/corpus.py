"""The corpora: one file per parser, one input a line, escaped as Python writes bytes. Small, as they are replayed."""

from pathlib import Path

DIRECTORY = Path(__file__).parent / "corpora"


def read(name: str) -> list[bytes]:
    """The inputs kept for a parser."""
    text = (DIRECTORY / f"{name}.txt").read_text(encoding="ascii")
    return [unescaped(line) for line in text.splitlines()]


def write(name: str, inputs: list[bytes]) -> None:
    """Keep these, the shortest first."""
    lines = [escaped(data) + "\n" for data in sorted(set(inputs), key=lambda d: (len(d), d))]
    (DIRECTORY / f"{name}.txt").write_text("".join(lines), encoding="ascii")


def escaped(data: bytes) -> str:
    """One line of ASCII."""
    return data.decode("latin-1").encode("unicode_escape").decode("ascii")


def unescaped(line: str) -> bytes:
    """The bytes of a line."""
    return line.encode("ascii").decode("unicode_escape").encode("latin-1")
