"""Where a file lies inside a repository: one relative path, safe as a URL and as a name, parsed once.

A location that passed is what the manifest holds and what a client's decoded request is compared with.
"""

import re
import unicodedata
from urllib.parse import quote, unquote_to_bytes

from station.repo.errors import RepoError

REPOMD = "repodata/repomd.xml"
# The three names that change when a revision goes live; everything else is found under any revision.
MUTABLE = (REPOMD, REPOMD + ".asc", REPOMD + ".key")

LOCATION_CHARS_MAX = 1024  # the longest location in Fedora, EPEL and Oracle Linux is under 200
SEGMENT_BYTES_MAX = 255  # NAME_MAX: a client must be able to store the file

# What nearly every location looks like; needs none of the questions below, and 30,000 of them are asked at once.
_PLAIN = re.compile(
    r"(?:[A-Za-z0-9_+~^][A-Za-z0-9._+~^-]{0,200}/)*[A-Za-z0-9_+~^][A-Za-z0-9._+~^-]{0,200}"
)
_ESCAPE = re.compile(r"%[0-9A-Fa-f]{2}")
_SCHEME = re.compile(r"[A-Za-z]+:")
_FORBIDDEN = re.compile(r"[\x00-\x1f\x7f-\x9f\\?#%]")
# Names that mean something to us beside a repository's files.
_RESERVED_FIRST = frozenset({"station.storage", "pool", "staging", "sources"})


def parse_location(href: str, field: str = "location") -> str:
    """The href as a plain path, percent-decoded once: `Packages/g/gcc-c++-11.rpm`.

    Raises RepoError naming `field` for what is not a plain relative path below the repository: absolute, another
    host, `.` or `..`, empty segments, control characters, backslash, doubly encoded, over LOCATION_CHARS_MAX.
    """
    if not href:
        raise RepoError(field, href, "a location is not empty")
    if len(href) > LOCATION_CHARS_MAX:
        raise RepoError(field, href, f"at most {LOCATION_CHARS_MAX} characters")
    if _PLAIN.fullmatch(href):
        return href
    path = _decode(href, field)
    if _FORBIDDEN.search(path):
        raise RepoError(field, href, "no control characters, backslash, '?', '#' or '%'")
    if path.startswith("/"):
        raise RepoError(field, href, "relative to the repository, not absolute")
    if _SCHEME.match(path):
        raise RepoError(field, href, "relative to the repository, not on another host")
    if unicodedata.normalize("NFC", path) != path:
        raise RepoError(field, href, "Unicode in normal form C")
    for segment in path.split("/"):
        _check_segment(segment, href, field)
    return path


def parse_package_location(href: str, field: str = "primary location") -> str:
    """Like parse_location, for a package: refuses also the names of metadata and of our own files."""
    path = parse_location(href, field)
    if path in MUTABLE:
        raise RepoError(field, href, "a package cannot take the place of the repository's index")
    if path.split("/", 1)[0] in _RESERVED_FIRST:
        raise RepoError(field, href, "this name is the station's own")
    return path


def to_url_path(path: str) -> str:
    """A location as the path of a URL: what is special in a URL is percent-encoded, `/` is kept."""
    return quote(path, safe="/+~^:@!$&'()*,;=-._")


def _decode(href: str, field: str) -> str:
    """Decode escapes once. A `%` that is no escape stays, and is refused by the caller."""
    if "%" not in href:
        try:
            href.encode()
        except UnicodeEncodeError as error:
            raise RepoError(field, href, "valid UTF-8") from error
        return href
    try:
        decoded = unquote_to_bytes(href).decode()
    except (UnicodeDecodeError, UnicodeEncodeError) as error:
        raise RepoError(field, href, "valid UTF-8") from error
    if decoded.count("/") != href.count("/"):
        raise RepoError(field, href, "no encoded '/'")
    for escape in _ESCAPE.findall(href):
        if escape.lower() in ("%2e", "%00", "%5c"):
            raise RepoError(field, href, "no encoded '.', NUL or backslash")
    return decoded


def _check_segment(segment: str, href: str, field: str) -> None:
    if segment == "":
        raise RepoError(field, href, "no empty path segment")
    if segment in (".", ".."):
        raise RepoError(field, href, "no '.' or '..' segment")
    if segment[0] in ".-@":
        raise RepoError(field, href, "no segment begins with '.', '-' or '@'")
    if segment != segment.strip():
        raise RepoError(field, href, "no blanks around a segment")
    if len(segment.encode()) > SEGMENT_BYTES_MAX:
        raise RepoError(field, href, f"at most {SEGMENT_BYTES_MAX} bytes between two '/'")
