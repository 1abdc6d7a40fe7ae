"""The memo never outlives what it says."""

import dataclasses

from station.model.identity import Revision
from station.model.publication import Publication
from station.model.snapshot import Snapshot, SourceView, to_wire
from station.serve.limits import Limits
from station.serve.memo import Memo
from station.serve.reply import FromFile
from station.serve.world import World

OLD, NEW = Revision("a" * 64), Revision("b" * 64)
NOW = 1000.0
FILE = FromFile(b"HTTP/1.1 200 OK\r\n", 3, 0, 9, False, 200, lambda: 4)


def world(flip_at: float = 0.0) -> World:
    view = SourceView(
        live=Publication(1, 1, OLD),
        next=Publication(2, 2, NEW) if flip_at else None,
        flip_at=flip_at,
    )
    world = World(2.0)
    world.take({"snapshot": to_wire(Snapshot(1, True, sources={"s": view})), "beat": NOW}, NOW)
    return world


def test_an_answer_is_kept_for_a_second_at_most() -> None:
    memo = Memo(world(), Limits())
    memo.put(b"head", b"answer", NOW)
    assert memo.answers == {b"head": b"answer"}
    assert memo.valid_until == NOW + 1


def test_an_answer_is_not_kept_over_an_edge_of_a_flip() -> None:
    memo = Memo(world(flip_at=NOW + 3.5), Limits())
    memo.put(b"head", b"answer", NOW)
    assert memo.valid_until == NOW + 0.5
    memo.put(b"head", b"answer", NOW + 0.5)
    assert memo.valid_until == NOW + 1.5  # a second later


def test_nothing_is_kept_beyond_freshness() -> None:
    memo = Memo(world(), Limits())
    memo.put(b"head", b"answer", NOW + 1.5)
    assert memo.valid_until == NOW + 2
    memo.put(b"head", b"answer", NOW + 2.5)
    assert not memo.answers


def test_entries_and_bytes_are_bounded() -> None:
    memo = Memo(world(), dataclasses.replace(Limits(), memo_entries=2, memo_bytes=100))
    memo.put(b"big", b"x" * 100, NOW)
    assert not memo.answers
    for name in (b"1", b"2", b"3"):
        memo.put(name, b"x", NOW)
    assert set(memo.answers) == {b"1", b"2"}


def test_a_memo_that_is_not_used_stays_empty() -> None:
    memo = Memo(world(), Limits(), is_used=False)
    memo.put(b"head", b"answer", NOW)
    memo.put_file(b"head", FILE, NOW)
    assert not memo.answers
    assert not memo.files


def test_a_file_is_kept_as_long_as_an_answer_and_forgotten_with_it() -> None:
    memo = Memo(world(flip_at=NOW + 3.5), Limits())
    memo.put_file(b"head", FILE, NOW)
    assert memo.files == {b"head": FILE}
    assert memo.valid_until == NOW + 0.5
    memo.put(b"other", b"answer", NOW + 0.5)
    assert not memo.files


def test_files_share_the_room_of_the_answers() -> None:
    memo = Memo(world(), dataclasses.replace(Limits(), memo_entries=2, memo_bytes=100))
    memo.put(b"head", b"x" * 90, NOW)
    memo.put_file(b"head", FILE, NOW)
    assert not memo.files
