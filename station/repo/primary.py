"""primary.xml, streamed: of each package its location, size, checksum and time, and nothing else is kept.

createrepo's own spelling is found with bytes.find, three times faster than expat. At the first package that is
spelled otherwise the rest goes to expat, with the head of the document before it, so that both read one document.
"""

import re
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from station.repo.checksum import Checksum, parse_checksum
from station.repo.errors import RepoError
from station.repo.location import parse_package_location
from station.repo.manifest import ENTRIES_MAX
from station.repo.strict_xml import StrictXml, parse_number

PACKAGE_BYTES_MAX = 8 * 1024 * 1024  # kernel packages with all their provides have some 2 MiB
HEAD_BYTES_MAX = 64 * 1024

_HEAD = re.compile(
    rb"(?:\xef\xbb\xbf)?\s*(?:<\?xml(?:\s+version=\"1\.0\"|\s+encoding=\"(?:UTF-8|utf-8)\"|\s+standalone=\"\w+\")*\s*\?>)?"
    rb"\s*<metadata(?:\s[^<>]*)?>\s*"
)
_COUNT = re.compile(rb'\spackages="(\d{1,9})"')
_SPACE = b" \t\r\n"
_PACKAGE = b'<package type="rpm">'
_PACKAGE_END = b"</package>"


class Package(NamedTuple):
    """One package. `size` bytes, `time` of the file in seconds since 1970."""

    location: str
    size: int
    checksum: Checksum
    time: int


class PrimaryParser:
    """Feed decompressed bytes in large pieces; each call returns the packages it completed."""

    def __init__(self, *, is_weak_allowed: bool = False) -> None:
        self.packages = 0
        self._is_weak_allowed = is_weak_allowed
        self._buffer = b""
        self._head: bytes | None = None
        self._xml: _ByExpat | None = None
        self._announced: int | None = None
        self._ended = False

    def feed(self, data: bytes) -> list[Package]:
        """The packages completed by `data`. Raises RepoError."""
        if self._xml is not None:
            return self._counted(self._xml.feed(data))
        self._buffer = self._buffer + data if self._buffer else data
        if self._head is None and not self._read_head():
            return []
        if self._ended and self._buffer.strip(_SPACE):
            return self._to_expat(0, [])
        if self._xml is not None:
            return self._to_expat(0, [])
        return self._scan()

    def close(self) -> list[Package]:
        """No more bytes. Raises RepoError when the document is not whole."""
        found: list[Package] = []
        if self._xml is None and (not self._ended or self._buffer.strip(_SPACE)):
            found = self._to_expat(0, [])  # what is left is judged, and named, by expat
        if self._xml is not None:
            found += self._counted(self._xml.close())
            if self._announced is None:
                self._announced = self._xml.announced
        if self.packages == 0 and self._announced:
            raise RepoError("primary", "no package", f"the {self._announced} packages announced")
        return found

    def _read_head(self) -> bool:
        """False: the head is not whole yet. Decides between the two readers."""
        start = self._buffer.find(b"<package")
        if start < 0:
            if len(self._buffer) > HEAD_BYTES_MAX:
                self._head, self._xml = b"", _ByExpat(self._is_weak_allowed)
                return True
            return False
        head = self._buffer[:start]
        if len(head) <= HEAD_BYTES_MAX and _HEAD.fullmatch(head):
            self._head = head
            self._buffer = self._buffer[start:]
            count = _COUNT.search(head)
            self._announced = int(count[1]) if count else None
        else:
            self._head, self._xml = b"", _ByExpat(self._is_weak_allowed)
        return True

    def _scan(self) -> list[Package]:
        """Read as many packages as are whole in the buffer."""
        found: list[Package] = []
        buffer, at, end = self._buffer, 0, len(self._buffer)
        # A comment or CDATA may hide what looks like a tag.
        markup = buffer.find(b"<!")
        limit = end if markup < 0 else markup
        while True:
            while at < end and buffer[at] in _SPACE:
                at += 1
            stop = buffer.find(_PACKAGE_END, at, limit)
            if stop < 0:
                break
            package = self._package(buffer, at, stop)
            if package is None:
                return self._to_expat(at, found)
            found.append(package)
            at = stop + len(_PACKAGE_END)
        rest = buffer[at : at + 16]
        if markup >= 0 or end - at > PACKAGE_BYTES_MAX:
            return self._to_expat(at, found)
        if rest.startswith(b"</metadata>") and not buffer[at + 11 :].strip(_SPACE):
            self._ended = True
            at = end
        self._buffer = buffer[at:]
        return self._counted(found)

    def _package(self, buffer: bytes, start: int, stop: int) -> Package | None:
        """The package in buffer[start:stop], or None when it is not spelled as createrepo does."""
        if not buffer.startswith(_PACKAGE, start):
            return None
        cut = buffer.find(b"<format", start, stop)
        block = buffer[start : stop if cut < 0 else cut]
        kind, _, rest = _after(block, b'<checksum type="').partition(b'" pkgid="YES">')
        digits = rest[: max(rest.find(b"</checksum>"), 0)]
        size = _quoted(block, b'<size package="')
        time = _quoted(block, b'<time file="')
        href_at = block.find(b'<location href="') + 16
        href = block[href_at : max(block.find(b'"', href_at), 0)]
        closed = block.startswith(b'"/>', href_at + len(href)) and b"<?" not in block
        plain = closed and b"&" not in href and size.isdigit() and time.isdigit()
        once = all(
            block.count(tag) == 1 for tag in (b"<location", b"<checksum", b"<time", b"<size")
        )
        if not (plain and once and href_at > 16 and 0 < len(kind) < 8 and digits.isalnum()):
            return None
        try:
            location = href.decode()
        except UnicodeDecodeError as error:
            raise RepoError("primary location", href, "valid UTF-8") from error
        return _made(
            location,
            size.decode(),
            kind.decode("latin-1"),
            digits.decode(),
            time.decode(),
            self._is_weak_allowed,
        )

    def _to_expat(self, at: int, found: list[Package]) -> list[Package]:
        """Let expat read the rest, as if the packages read so far had not been there."""
        if self._xml is None:
            self._xml = _ByExpat(self._is_weak_allowed)
        rest, self._buffer = self._buffer[at:], b""
        if self._head:
            found = found + self._xml.feed(self._head)
        ended = b"</metadata>" if self._ended and not rest.startswith(b"</metadata>") else b""
        return self._counted(found + self._xml.feed(ended + rest))

    def _counted(self, found: list[Package]) -> list[Package]:
        self.packages += len(found)
        if self.packages > ENTRIES_MAX:
            raise RepoError("primary", self.packages, f"at most {ENTRIES_MAX} packages")
        return found


def parse_primary(pieces: Iterable[bytes], *, is_weak_allowed: bool = False) -> Iterator[Package]:
    """The packages of a whole document, in its order. Raises RepoError."""
    parser = PrimaryParser(is_weak_allowed=is_weak_allowed)
    for piece in pieces:
        yield from parser.feed(piece)
    yield from parser.close()


class _ByExpat:
    """The same reading, for any spelling."""

    def __init__(self, is_weak_allowed: bool) -> None:
        self.announced: int | None = None
        self._is_weak_allowed = is_weak_allowed
        self._fields: dict[str, str] | None = None
        self._found: list[Package] = []
        self._xml = StrictXml("primary", self._start, self._end, ("checksum",))

    def feed(self, data: bytes) -> list[Package]:
        self._xml.feed(data)
        found, self._found = self._found, []
        return found

    def close(self) -> list[Package]:
        self._xml.close()
        found, self._found = self._found, []
        return found

    def _start(self, name: str, attributes: dict[str, str], depth: int) -> None:
        if depth == 1:
            if name != "metadata":
                raise RepoError("primary", name, "the root element is <metadata>")
            count = attributes.get("packages", "")
            self.announced = parse_number(count, "primary packages", 9) if count else None
        elif depth == 2:
            self._fields = {} if name == "package" else None
        elif depth == 3 and self._fields is not None:
            if name == "location":
                if "xml:base" in attributes:
                    raise RepoError(
                        "primary location",
                        attributes["xml:base"],
                        "no xml:base: one repository, one host",
                    )
                self._put("href", attributes.get("href", ""))
            elif name == "size":
                self._put("size", attributes.get("package", ""))
            elif name == "time":
                self._put("time", attributes.get("file", ""))
            elif name == "checksum":
                self._put("kind", attributes.get("type", ""))

    def _end(self, name: str, text: str, depth: int) -> None:
        if self._fields is None:
            return
        if depth == 3 and name == "checksum":
            self._put("digits", text)
        elif depth == 2:
            get = self._fields.get
            self._found.append(
                _made(
                    get("href", ""),
                    get("size", ""),
                    get("kind", ""),
                    get("digits", ""),
                    get("time", "0"),
                    self._is_weak_allowed,
                )
            )
            self._fields = None

    def _put(self, name: str, text: str) -> None:
        assert self._fields is not None
        if name in self._fields:
            raise RepoError(f"primary {name}", text, "given once")
        self._fields[name] = text


def _made(
    href: str, size: str, kind: str, digits: str, time: str, is_weak_allowed: bool
) -> Package:
    location = parse_package_location(href)
    return Package(
        location,
        parse_number(size, f"primary size of {location}"),
        parse_checksum(
            kind, digits, f"primary checksum of {location}", is_weak_allowed=is_weak_allowed
        ),
        parse_number(time, f"primary time of {location}", 12),
    )


def _after(block: bytes, prefix: bytes) -> bytes:
    at = block.find(prefix)
    return b"" if at < 0 else block[at + len(prefix) : at + len(prefix) + 200]


def _quoted(block: bytes, prefix: bytes) -> bytes:
    """What stands between `prefix` and the next quotation mark, at most 20 bytes; empty when there is none."""
    at = block.find(prefix)
    if at < 0:
        return b""
    at += len(prefix)
    return block[at : max(block.find(b'"', at, at + 21), at)]
