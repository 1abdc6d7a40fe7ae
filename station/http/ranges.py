"""Which bytes of a file a Range header asks for (RFC 9110, 14.2). One range, or the whole; its cost is bounded."""

import re
from dataclasses import dataclass

_DIGITS_MAX = 18  # more digits than any file has bytes; also keeps int() cheap
_SINGLE = re.compile(rb"bytes=[ \t]*([0-9]*)-([0-9]*)[ \t]*", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Part:
    """Bytes `first` to `last`, both included."""

    first: int
    last: int


class Whole:
    """The Range header does not apply: answer with everything."""


class Unsatisfiable:
    """No byte of the file is in the range: 416."""


WHOLE = Whole()
UNSATISFIABLE = Unsatisfiable()


def select_range(header: bytes | None, size: int) -> Part | Whole | Unsatisfiable:
    """What `header` selects of a file of `size` bytes.

    Several ranges, another unit and what is no range get the whole file, as RFC 9110 allows: no multipart answers.
    """
    match = _SINGLE.fullmatch(header) if header else None
    if match is None:
        return WHOLE
    first_digits, last_digits = match[1], match[2]
    if not first_digits and not last_digits:
        return WHOLE
    first, last = _number(first_digits), _number(last_digits)
    if not first_digits:  # the last `last` bytes
        return Part(max(0, size - last), size - 1) if last and size else UNSATISFIABLE
    if last_digits and last < first:
        return WHOLE
    if first >= size:
        return UNSATISFIABLE
    return Part(first, min(last, size - 1) if last_digits else size - 1)


def _number(digits: bytes) -> int:
    digits = digits.lstrip(b"0")
    return int(digits or b"0") if len(digits) <= _DIGITS_MAX else 10**_DIGITS_MAX
