"""What a reader may see of a record, and what a writer may write.

A value that no model of ours accepts is kept and relayed, but not shown: a newer station may understand it, and
so may we after an upgrade. Fields we do not know survive our own changes of the record.
"""

import json
from collections.abc import Callable
from typing import Any

from pydantic import ValidationError

from station.gossip.entry import Value
from station.model.records import RECORDS, Kind, Record

VALUE_BYTES_MAX = 512 * 1024  # a source with an armoured key ring of 256 KiB, escaped
DEPTH_MAX = 32  # the parser of the other side ends at 200
INTEGER_MAX = 2**63 - 1

_KEY_OF: dict[str, Callable[[Any], str]] = {
    Kind.STATION: lambda record: str(record.name),
    Kind.SOURCE: lambda record: str(record.id),
    Kind.PROFILE: lambda record: str(record.name),
    Kind.INSTANCE: lambda record: str(record.id),
    Kind.REFERENCE: lambda record: str(record.key),
}
_MODELS: dict[str, type[Record]] = {str(kind): model for kind, model in RECORDS.items()}


def readable(kind: str, key: str, value: Value | None) -> Value | None:
    """The fields we know of a valid value; None for a tombstone and for what does not validate."""
    model = _MODELS.get(kind)
    if value is None or model is None:
        return value
    known = {name: value[name] for name in model.model_fields if name in value}
    try:
        record = model.model_validate(known)
    except ValidationError:
        return None
    return known if kind not in _KEY_OF or _KEY_OF[kind](record) == key else None


def writable(kind: str, key: str, value: Value, held: Value | None) -> Value:
    """The value as it is written: plain JSON, with the fields of `held` that we do not know.

    Raises ValueError when it is no JSON within the bounds, or not valid for its kind and key.
    """
    try:
        text = json.dumps(value, allow_nan=False)
        text.encode("utf-8")
    except (TypeError, RecursionError) as error:
        raise ValueError(f"{kind} {key!r}: not a JSON object: {error}") from error
    if len(text) > VALUE_BYTES_MAX:
        raise ValueError(f"{kind} {key!r}: {len(text)} bytes, the limit is {VALUE_BYTES_MAX}")
    plain: Value = json.loads(text)
    check_json(plain)
    model = _MODELS.get(kind)
    if model is None:
        return plain
    record = model.model_validate(plain)
    if kind in _KEY_OF and _KEY_OF[kind](record) != key:
        raise ValueError(f"{kind} {key!r}: the record names itself {_KEY_OF[kind](record)!r}")
    unknown = {name: old for name, old in (held or {}).items() if name not in model.model_fields}
    return {**unknown, **plain}


def check_json(value: object, depth: int = 0) -> None:
    """Raises ValueError for what not every parser reads alike: deep nesting, huge integers, lone surrogates, NaN."""
    if depth > DEPTH_MAX:
        raise ValueError(f"nested deeper than {DEPTH_MAX}")
    if isinstance(value, dict):
        for name, inner in value.items():
            check_json(name, depth + 1)
            check_json(inner, depth + 1)
    elif isinstance(value, list):
        for inner in value:
            check_json(inner, depth + 1)
    elif isinstance(value, str):
        value.encode("utf-8")  # a lone surrogate raises UnicodeEncodeError, a ValueError
    elif isinstance(value, int) and abs(value) > INTEGER_MAX:
        raise ValueError("an integer of more than 64 bits")
    elif isinstance(value, float) and (value != value or abs(value) == float("inf")):
        raise ValueError("not a number")


def publication_rank(value: Value | None) -> tuple[int, int, str]:
    """(number, order, revision): a publication's place, whatever fields a newer station added. Nonsense: (0, 0, "")."""
    fields = value or {}
    number, order, revision = fields.get("number"), fields.get("order"), fields.get("revision")
    if isinstance(number, int) and isinstance(order, int) and isinstance(revision, str):
        return number, order, revision
    return 0, 0, ""
