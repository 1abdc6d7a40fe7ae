"""Expat with the doors closed: no DOCTYPE, no depth, attributes or tokens without a bound."""

from collections.abc import Callable, Collection
from xml.parsers import expat

from station.repo.errors import RepoError

DEPTH_MAX = 16  # repomd needs 3 levels, primary 5
ATTRIBUTES_MAX = 32  # rpm:entry has 6
# Expat looks at an unfinished token again with each piece: unbounded, an 8 MiB attribute cost 58 s of CPU.
TOKEN_BYTES_MAX = 1024 * 1024
TEXT_CHARS_MAX = 4096  # of the elements whose text is asked for: checksums, numbers, a revision
PIECE_BYTES = 256 * 1024

Start = Callable[[str, dict[str, str], int], None]
End = Callable[[str, str, int], None]


class StrictXml:
    """Feed bytes; `start(name, attributes, depth)` and `end(name, text, depth)` are called. The root has depth 1.

    Text is gathered for the elements named in `texts` only. `field` begins every complaint.
    """

    def __init__(self, field: str, start: Start, end: End, texts: Collection[str]) -> None:
        self._field = field
        self._on_start = start
        self._on_end = end
        self._texts = frozenset(texts)
        self._text: list[str] | None = None
        self._text_chars = 0
        self._depth = 0
        self._fed = 0
        self._parser = parser = expat.ParserCreate()
        parser.buffer_text = True
        parser.StartDoctypeDeclHandler = self._doctype
        parser.StartElementHandler = self._start
        parser.EndElementHandler = self._end

    def feed(self, data: bytes) -> None:
        """The next bytes. Raises RepoError."""
        for begin in range(0, len(data), PIECE_BYTES):
            piece = data[begin : begin + PIECE_BYTES]
            self._parse(piece, False)
            self._fed += len(piece)
            if self._fed - max(self._parser.CurrentByteIndex, 0) > TOKEN_BYTES_MAX + PIECE_BYTES:
                raise RepoError(self._field, "a huge tag", f"no tag over {TOKEN_BYTES_MAX} bytes")

    def close(self) -> None:
        """No more bytes. Raises RepoError when the document is not whole."""
        self._parse(b"", True)

    def _parse(self, piece: bytes, is_final: bool) -> None:
        try:
            self._parser.Parse(piece, is_final)
        except expat.ExpatError as error:
            raise RepoError(self._field, str(error), "well-formed XML") from error

    def _doctype(self, name: str, *_rest: object) -> None:
        raise RepoError(self._field, f"DOCTYPE {name}", "no DOCTYPE")

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        self._depth += 1
        if self._depth > DEPTH_MAX:
            raise RepoError(self._field, name, f"at most {DEPTH_MAX} levels")
        if len(attributes) > ATTRIBUTES_MAX:
            raise RepoError(self._field, name, f"at most {ATTRIBUTES_MAX} attributes")
        if name in self._texts:
            self._text, self._text_chars = [], 0
            self._parser.CharacterDataHandler = self._characters
        self._on_start(name, attributes, self._depth)

    def _end(self, name: str) -> None:
        text = ""
        if self._text is not None and name in self._texts:
            text = "".join(self._text).strip()
            self._text = None
            self._parser.CharacterDataHandler = None
        self._on_end(name, text, self._depth)
        self._depth -= 1

    def _characters(self, text: str) -> None:
        assert self._text is not None
        self._text_chars += len(text)
        if self._text_chars > TEXT_CHARS_MAX:
            raise RepoError(self._field, text[:40], f"at most {TEXT_CHARS_MAX} characters of text")
        self._text.append(text)


def parse_number(text: str, field: str, digits_max: int = 15) -> int:
    """A decimal number of at most `digits_max` digits, which JSON keeps exact. Raises RepoError."""
    if not (text.isascii() and text.isdecimal() and len(text) <= digits_max):
        raise RepoError(field, text, f"a decimal number of at most {digits_max} digits")
    return int(text)
