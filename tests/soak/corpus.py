"""The corpora: one file per parser, one input a line, escaped as Python writes bytes. Small, as they are replayed."""

from pathlib import Path

DIRECTORY = Path(__file__).parent / "corpora"
BYTES_MAX = 32_768  # of one corpus
INPUT_BYTES_MAX = 300  # of one that a fuzzer adds


def read(name: str) -> list[bytes]:
    """The inputs kept for a parser."""
    text = (DIRECTORY / f"{name}.txt").read_text(encoding="ascii")
    return [unescaped(line) for line in text.splitlines()]


def write(name: str, inputs: list[bytes]) -> None:
    """Keep these, the shortest first."""
    lines = [escaped(data) + "\n" for data in sorted(set(inputs), key=lambda d: (len(d), d))]
    (DIRECTORY / f"{name}.txt").write_text("".join(lines), encoding="ascii")


def grow(name: str, found: list[bytes]) -> int:
    """Add the shortest of what a fuzzer found worth keeping, as far as there is room; how many were added."""
    known = read(name)
    room, added = BYTES_MAX - sum(map(len, known)), []
    for data in sorted(set(found) - set(known), key=len):
        if len(data) <= min(room, INPUT_BYTES_MAX):
            added.append(data)
            room -= len(data)
    write(name, [*known, *added])
    return len(added)


def escaped(data: bytes) -> str:
    """One line of ASCII."""
    return data.decode("latin-1").encode("unicode_escape").decode("ascii")


def unescaped(line: str) -> bytes:
    """The bytes of a line."""
    return line.encode("ascii").decode("unicode_escape").encode("latin-1")
