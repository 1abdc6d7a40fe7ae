"""Signature before parse, and never back in time."""

import json

import pytest

from station.sync.failure import SyncFailed
from station.sync.index import Index, judge_index, refuse_rollback
from station.sync.order import Order

NOW = 2_000_000_000.0
REPOMD = b"""<repomd><revision>7</revision><data type="primary">
<checksum type="sha256">%s</checksum><location href="repodata/primary.xml.gz"/>
<timestamp>1700000000</timestamp><size>10</size></data></repomd>""" % (b"a" * 64)


def order(**fields: object) -> Order:
    source = {"id": "lab", "url": "http://up.example/", **fields}
    wire = {"kind": "sync", "source": source, "storage": "/s", "state": "/t", "station": "A"}
    return Order.parse(json.dumps(wire | fields))


def index() -> Index:
    return judge_index(order(), REPOMD, None, None)


def test_the_three_files_are_entries_with_the_order_as_their_time() -> None:
    one = judge_index(order(), REPOMD, b"sig", b"key")
    assert [(e.path, e.size, e.mtime) for e in one.entries()] == [
        ("repodata/repomd.xml", len(REPOMD), 1_700_000_000),
        ("repodata/repomd.xml.asc", 3, 1_700_000_000),
        ("repodata/repomd.xml.key", 3, 1_700_000_000),
    ]


def test_a_new_signature_is_another_revision() -> None:
    assert judge_index(order(), REPOMD, b"sig", None).revision != index().revision


@pytest.mark.parametrize("signature", [None, b"not a signature"])
def test_a_required_signature_is_judged_before_anything_is_parsed(signature: bytes | None) -> None:
    wants = order(is_repo_gpg_check_enabled=True, gpgkey="no key")
    with pytest.raises(SyncFailed) as failed:
        judge_index(wants, b"not xml", signature, None)
    assert failed.value.code == "signature"


def test_what_does_not_parse_is_named() -> None:
    with pytest.raises(SyncFailed) as failed:
        judge_index(order(), b"<html>", None, None)
    assert (failed.value.code, "http://up.example/repodata/repomd.xml" in failed.value.detail) == (
        "repomd",
        True,
    )


def test_an_older_state_is_refused_with_its_cure() -> None:
    with pytest.raises(SyncFailed) as failed:
        refuse_rollback(order(order=1_700_000_001), index(), NOW)
    assert (failed.value.code, "allow_rollback" in failed.value.detail) == ("rollback", True)


def test_the_same_time_a_leave_and_a_mark_from_the_future_are_no_rollback() -> None:
    refuse_rollback(order(order=1_700_000_000), index(), NOW)
    refuse_rollback(order(order=1_700_000_001, allow_rollback=True), index(), NOW)
    refuse_rollback(order(order=int(NOW) + 90_000), index(), NOW)
