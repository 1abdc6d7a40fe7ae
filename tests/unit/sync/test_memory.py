"""What a station remembers of a source is a shortcut: losing it loses nothing."""

from pathlib import Path

import pytest

from station.model.identity import Revision, SourceId
from station.sync.failure import SyncFailed
from station.sync.index import Seen
from station.sync.memory import Memory, alone, recall, remember

LAB, URL = SourceId("lab"), "http://up.example/lab/"
SEEN = Seen(b"<repomd/>", '"v1"', "Sun, 22 Nov 2026 17:00:00 GMT")
MEMORY = Memory.of(URL, Revision("a" * 64), SEEN, 1_800_000_000.0)


def test_what_is_remembered_is_recalled(tmp_path: Path) -> None:
    remember(tmp_path, LAB, MEMORY)
    assert recall(tmp_path, LAB, URL) == recall(tmp_path, LAB, URL.rstrip("/")) == MEMORY
    assert MEMORY.validators() == SEEN.validators()
    assert MEMORY.is_same(Seen(b"<repomd/>", "", ""))
    assert not MEMORY.is_same(Seen(b"<repomd />", '"v1"', ""))


def test_another_url_is_another_memory(tmp_path: Path) -> None:
    remember(tmp_path, LAB, MEMORY)
    assert recall(tmp_path, LAB, "http://other.example/") is None


@pytest.mark.parametrize("content", [b"", b"{}", b"[]", b"\xff", b'{"revision": "x"}'])
def test_an_illegible_memory_is_none(tmp_path: Path, content: bytes) -> None:
    remember(tmp_path, LAB, MEMORY)
    (tmp_path / "sync/lab.json").write_bytes(content)
    assert recall(tmp_path, LAB, URL) is None


def test_one_process_at_a_time_works_on_a_source(tmp_path: Path) -> None:
    with alone(tmp_path, LAB):
        with pytest.raises(SyncFailed) as failed, alone(tmp_path, LAB):
            pass
        assert failed.value.code == "busy"
        with alone(tmp_path, SourceId("other")):
            pass
    with alone(tmp_path, LAB):
        pass
