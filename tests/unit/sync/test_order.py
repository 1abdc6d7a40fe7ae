"""An order is one line of JSON; what is wrong with it is said."""

import json
from pathlib import Path
from typing import Any

import pytest

from station.model.records import SourceRecord
from station.sync.failure import SyncFailed
from station.sync.order import Order

GOOD: dict[str, Any] = {
    "kind": "sync",
    "source": {"id": "lab", "url": "http://up.example/lab"},
    "storage": "/mnt/mirror",
    "state": "/var/lib/station",
    "station": "StationA",
}


def parse(**fields: Any) -> Order:
    return Order.parse(json.dumps(GOOD | fields))


def test_a_record_of_the_registry_is_a_source() -> None:
    record = SourceRecord(id="lab", url="https://up.example/x", tolerate_missing=2)
    order = parse(source=record.model_dump(mode="json"))
    assert (order.url, order.tolerate_missing, order.is_sslverify_enabled) == (
        "https://up.example/x/",
        2,
        True,
    )


def test_everything_else_has_a_default() -> None:
    order = parse()
    assert (order.storage, order.peers, order.accepted_order) == (Path("/mnt/mirror"), (), 0)


@pytest.mark.parametrize(
    ("fields", "word"),
    [
        ({"kind": "erase"}, "erase"),
        ({"kind": "copy"}, "revision"),
        ({"kind": "fill"}, "path"),
        ({"source": {"id": "../x", "url": "http://a/"}}, "source id"),
        ({"source": {"id": "x", "url": "file:///etc"}}, "file:///etc"),
        ({"revision": "abc"}, "revision"),
        ({"limits": {"speed": 1}}, "speed"),
        ({"station": None}, "TypeError"),
    ],
)
def test_a_malformed_order_is_refused_by_name(fields: dict[str, Any], word: str) -> None:
    with pytest.raises(SyncFailed) as failed:
        parse(**fields)
    assert (failed.value.code, failed.value.retriable) == ("job", False)
    assert word in failed.value.detail


@pytest.mark.parametrize("line", ["", "[]", "{", "null"])
def test_what_is_no_object_is_refused(line: str) -> None:
    with pytest.raises(SyncFailed):
        Order.parse(line)
