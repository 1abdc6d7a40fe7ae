"""repomd.xml: the index of a repository's metadata. Parsed only after its signature was judged."""

from dataclasses import dataclass

from station.repo.checksum import Checksum, parse_checksum
from station.repo.errors import RepoError
from station.repo.location import parse_package_location
from station.repo.strict_xml import StrictXml, parse_number

REPOMD_BYTES_MAX = 1024 * 1024  # Fedora's has 20 KiB
RECORDS_MAX = 256  # Fedora has 20
REVISION_CHARS_MAX = 256

_TEXTS = ("revision", "checksum", "open-checksum", "timestamp", "size", "open-size")


@dataclass(frozen=True, slots=True)
class Record:
    """One metadata file. Sizes in bytes, timestamp in seconds since 1970 (0: none given)."""

    type: str
    location: str
    checksum: Checksum
    open_checksum: Checksum | None = None
    size: int | None = None
    open_size: int | None = None
    timestamp: int = 0


@dataclass(frozen=True, slots=True)
class RepoMd:
    """What one repomd.xml says. `revision` is upstream's own text, for people; `order` the greatest timestamp."""

    revision: str
    records: tuple[Record, ...]

    @property
    def order(self) -> int:
        """Greatest timestamp of all records, seconds since 1970: newer content has a greater one."""
        return max((record.timestamp for record in self.records), default=0)

    @property
    def primary(self) -> Record:
        """The record of primary.xml: there is exactly one."""
        return next(record for record in self.records if record.type == "primary")


def parse_repomd(repomd: bytes, *, is_weak_allowed: bool = False) -> RepoMd:
    """The index. Raises RepoError: not XML, DOCTYPE, over a cap, an unsafe location, a checksum below sha256 (unless
    allowed), two files under one path, not exactly one primary record."""
    if len(repomd) > REPOMD_BYTES_MAX:
        raise RepoError("repomd", f"{len(repomd)} bytes", f"at most {REPOMD_BYTES_MAX} bytes")
    reading = _Reading(is_weak_allowed)
    xml = StrictXml("repomd", reading.start, reading.end, _TEXTS)
    xml.feed(repomd)
    xml.close()
    return reading.result()


class _Reading:
    """One document while it is read."""

    def __init__(self, is_weak_allowed: bool) -> None:
        self._is_weak_allowed = is_weak_allowed
        self._revision = ""
        self._records: list[Record] = []
        self._type: str | None = None
        self._fields: dict[str, str] = {}
        self._kinds: dict[str, str] = {}

    def start(self, name: str, attributes: dict[str, str], depth: int) -> None:
        if depth == 1 and name != "repomd":
            raise RepoError("repomd", name, "the root element is <repomd>")
        if depth == 2 and name == "data":
            self._type = attributes.get("type", "")
            if not self._type:
                raise RepoError("repomd data", attributes, "it has a type")
            if len(self._records) >= RECORDS_MAX:
                raise RepoError("repomd data", self._type, f"at most {RECORDS_MAX} records")
            self._fields, self._kinds = {}, {}
        elif depth == 3 and self._type is not None:
            self._kinds[name] = attributes.get("type", "")
            if name == "location":
                if "xml:base" in attributes:
                    raise RepoError(
                        self._field("location"),
                        attributes["xml:base"],
                        "no xml:base: one repository, one host",
                    )
                self._put(name, attributes.get("href", ""))

    def end(self, name: str, text: str, depth: int) -> None:
        if depth == 2 and name == "revision":
            self._revision = text[:REVISION_CHARS_MAX]
        elif depth == 3 and self._type is not None and name in _TEXTS:
            self._put(name, text)
        elif depth == 2 and name == "data":
            self._records.append(self._record())
            self._type = None

    def _put(self, name: str, text: str) -> None:
        if name in self._fields:
            raise RepoError(self._field(name), text, "given once")
        self._fields[name] = text

    def result(self) -> RepoMd:
        primaries = sum(record.type == "primary" for record in self._records)
        if primaries != 1:
            raise RepoError("repomd", f"{primaries} primary records", "exactly one")
        by_path: dict[str, Checksum] = {}
        for record in self._records:
            if by_path.setdefault(record.location, record.checksum) != record.checksum:
                raise RepoError(f"repomd {record.type}", record.location, "one path, one file")
        return RepoMd(self._revision, tuple(self._records))

    def _field(self, name: str) -> str:
        return f"repomd {self._type} {name}"

    def _record(self) -> Record:
        fields = self._fields
        assert self._type is not None
        timestamp = fields.get("timestamp", "").partition(".")[0]  # old createrepo wrote fractions
        return Record(
            type=self._type,
            location=parse_package_location(fields.get("location", ""), self._field("location")),
            checksum=self._checksum("checksum"),
            open_checksum=self._checksum("open-checksum") if "open-checksum" in fields else None,
            size=self._number("size"),
            open_size=self._number("open-size"),
            timestamp=parse_number(timestamp, self._field("timestamp"), 12) if timestamp else 0,
        )

    def _checksum(self, name: str) -> Checksum:
        return parse_checksum(
            self._kinds.get(name, ""),
            self._fields.get(name, ""),
            self._field(name),
            is_weak_allowed=self._is_weak_allowed,
        )

    def _number(self, name: str) -> int | None:
        text = self._fields.get(name)
        return None if text is None else parse_number(text, self._field(name))
