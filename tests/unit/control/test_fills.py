"""One fetch for all who want a file, and an answer for each, whatever happens."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import Any

import pytest

from station.control import fills
from station.control.feed import Worker
from station.control.fills import FILLS_MAX, FillDesk, Key
from station.runtime.tasks import Tasks
from tests.unit.control.workers import Ear, a_worker

GROWING = {"sha256": "a" * 64, "size": 9, "mtime": 1, "file": "/pool/growing"}


class ScriptedChild:
    """Takes orders, and says what the test puts into `said`; None ends it. It ends when told, not before `end`."""

    def __init__(self) -> None:
        self.jobs: list[dict[str, Any]] = []
        self.closed = 0
        self.closing, self.end = asyncio.Event(), asyncio.Event()
        self.end.set()
        self.said: asyncio.Queue[dict[str, Any] | None] = asyncio.Queue()

    async def send(self, job: Mapping[str, Any]) -> None:
        self.jobs.append(dict(job))

    def say(self, event: str, **fields: Any) -> None:
        """To whoever listens."""
        self.said.put_nowait(
            {"event": event, "source": "base", "revision": "", "path": "a.rpm", **fields}
        )

    async def events(self) -> AsyncIterator[dict[str, Any]]:
        while (event := await self.said.get()) is not None:
            yield event

    async def close(self) -> int:
        self.closed += 1
        self.closing.set()
        await self.end.wait()
        self.said.put_nowait(None)
        return 0


class Bench:
    """A desk with one child."""

    def __init__(self) -> None:
        self.child = ScriptedChild()
        self.opened = 0
        self.tasks = Tasks()
        self.kept: list[tuple[str, str]] = []
        self.desk = FillDesk(self, self.tasks, make_job=self._job, on_kept=self._keep)

    async def open(self) -> ScriptedChild:
        self.opened += 1
        return self.child

    def want(self, worker: Worker, number: int, path: str = "a.rpm", *, revision: str = "") -> None:
        wanted = {"id": number, "source": "base", "revision": revision, "path": path}
        self.desk.want(worker, wanted)

    async def say(self, event: str, **fields: Any) -> None:
        self.child.say(event, **fields)
        await settle()

    def _keep(self, source: str, revision: str) -> None:
        self.kept.append((source, revision))

    def _job(self, key: Key, is_storage_in_doubt: bool) -> dict[str, Any] | None:
        kind = "relay" if is_storage_in_doubt and key[1] else "fill"
        return {"kind": kind, "path": key[2]} if key[0] == "base" else None


async def settle() -> None:
    """Let everything run that can."""
    for _ in range(10):
        await asyncio.sleep(0)


def told(ear: Ear) -> list[tuple[int, bool, str]]:
    fills = [message["fill"] for message in ear.messages()]
    return [(fill["id"], fill["done"], fill["error"]) for fill in fills]


async def test_many_who_want_one_file_cost_one_order_and_all_hear_of_it() -> None:
    bench = Bench()
    (one, one_ear), (two, two_ear) = a_worker(), a_worker()
    bench.want(one, 1)
    bench.want(two, 7)
    await settle()
    await bench.say("growing", **GROWING)
    await bench.say("filled", **GROWING)
    assert (bench.opened, len(bench.child.jobs)) == (1, 1)
    assert told(one_ear) == [(1, False, ""), (1, True, "")]
    assert told(two_ear) == [(7, False, ""), (7, True, "")]
    assert bench.desk.filled == 1
    await bench.tasks.close()


async def test_while_the_storage_is_away_workers_are_told_of_a_socket() -> None:
    bench = Bench()
    worker, ear = a_worker()
    bench.want(worker, 1)
    await settle()
    await bench.say("kept")
    await bench.say("relay", socket="/run/relay.sock")
    assert told(ear) == [(1, True, "")]
    assert ear.messages()[0]["fill"]["relay"] == "/run/relay.sock"
    assert bench.kept == [("base", "")]
    await bench.tasks.close()


async def test_a_child_that_passes_bytes_on_is_not_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fills, "IDLE_CHILD_S", 0.0)
    bench = Bench()
    worker, _ = a_worker()
    bench.want(worker, 1)
    await settle()
    await bench.say("relaying", open=1)
    await bench.say("relay", socket="/run/relay.sock")
    await asyncio.sleep(0.01)
    assert not bench.child.closed
    await bench.say("relaying", open=0)
    await asyncio.sleep(0.01)
    assert bench.child.closed
    await bench.tasks.close()


async def test_who_comes_late_hears_at_once_how_far_it_is() -> None:
    bench = Bench()
    (one, _), (late, ear) = a_worker(), a_worker()
    bench.want(one, 1)
    await settle()
    await bench.say("growing", **GROWING)
    bench.want(late, 2)
    assert ear.messages()[0]["fill"]["file"] == "/pool/growing"
    await bench.tasks.close()


async def test_a_failed_fetch_is_told_and_the_next_want_tries_again() -> None:
    bench = Bench()
    worker, ear = a_worker()
    bench.want(worker, 1)
    await settle()
    await bench.say("failed", code="missing", detail="nobody has it")
    assert told(ear) == [(1, False, "missing: nobody has it")]
    bench.want(worker, 2)
    await settle()
    assert len(bench.child.jobs) == 2
    assert bench.desk.failed == 1
    await bench.tasks.close()


@pytest.mark.parametrize("has_spoken", [True, False])
async def test_a_child_that_ends_leaves_nobody_waiting(*, has_spoken: bool) -> None:
    """They may ask again at once, but not where the next child would end like this one."""
    bench = Bench()
    worker, ear = a_worker()
    bench.want(worker, 1)
    await settle()
    if has_spoken:
        await bench.say("growing", **GROWING)
    bench.child.said.put_nowait(None)
    await settle()
    assert told(ear)[-1] == (1, False, "the sync child ended")
    assert ear.messages()[-1]["fill"]["again"] is has_spoken
    await bench.tasks.close()


async def test_a_want_while_the_idle_child_ends_is_the_next_childs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(fills, "IDLE_CHILD_S", 0.0)
    bench = Bench()
    worker, ear = a_worker()
    bench.want(worker, 1)
    await settle()
    idle, bench.child = bench.child, ScriptedChild()
    idle.end.clear()
    idle.say("filled", **GROWING)
    await asyncio.wait_for(idle.closing.wait(), 5.0)
    bench.want(worker, 2, "b.rpm")
    await settle()
    idle.end.set()
    await settle()
    assert told(ear) == [(1, True, "")]
    await bench.say("filled", **GROWING | {"path": "b.rpm"})
    assert told(ear) == [(1, True, ""), (2, True, "")]
    await bench.tasks.close()


async def test_what_cannot_be_ordered_is_answered_at_once() -> None:
    bench = Bench()
    worker, ear = a_worker()
    bench.desk.want(worker, {"id": 5, "source": "nope", "revision": None, "path": "x"})
    assert told(ear) == [(5, False, "unknown")]
    await bench.tasks.close()


async def test_more_than_can_be_under_way_wait_for_their_turn() -> None:
    bench = Bench()
    worker, ear = a_worker()
    for number in range(FILLS_MAX + 2):
        bench.want(worker, number, f"{number}.rpm")
    await settle()
    assert (len(bench.child.jobs), told(ear)) == (FILLS_MAX, [])
    await bench.say("filled", **GROWING | {"path": "0.rpm"})
    assert len(bench.child.jobs) == FILLS_MAX + 1
    await bench.say("failed", path="1.rpm", code="missing", detail="nobody has it")
    assert [job["path"] for job in bench.child.jobs[-2:]] == [
        f"{number}.rpm" for number in (FILLS_MAX, FILLS_MAX + 1)
    ]
    await bench.say("filled", **GROWING | {"path": f"{FILLS_MAX + 1}.rpm"})
    assert told(ear)[-1] == (FILLS_MAX + 1, True, "")
    await bench.tasks.close()


async def test_what_waits_for_its_turn_is_bounded_and_not_fetched_for_those_who_left(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(fills, "WAITING_MAX", 2)
    bench = Bench()
    (worker, ear), (other, _) = a_worker(), a_worker()
    for number in range(FILLS_MAX + 2):
        bench.want(other, number, f"{number}.rpm")
    bench.want(worker, 1, "last.rpm")
    assert told(ear) == [(1, False, "too many files are waited for")]
    bench.desk.gone(other)
    for number in range(FILLS_MAX):
        await bench.say("filled", **GROWING | {"path": f"{number}.rpm"})
    assert len(bench.child.jobs) == FILLS_MAX
    bench.want(worker, 2, "last.rpm")
    await settle()
    assert bench.child.jobs[-1]["path"] == "last.rpm"
    await bench.tasks.close()


async def test_what_the_storage_did_not_take_is_had_past_it() -> None:
    bench = Bench()
    worker, ear = a_worker()
    bench.want(worker, 1, revision="r1")
    await settle()
    await bench.say("failed", revision="r1", code="storage", detail="staging: no such directory")
    assert ear.messages()[-1]["fill"]["again"] is True
    bench.want(worker, 2, revision="r1")
    await settle()
    assert bench.child.jobs[-1]["kind"] == "relay"
    await bench.say("failed", revision="r1", code="storage", detail="the socket's path")
    assert ear.messages()[-1]["fill"]["again"] is False, "there is no third way"
    await bench.tasks.close()


async def test_what_no_revision_names_cannot_be_had_past_the_storage() -> None:
    bench = Bench()
    worker, ear = a_worker()
    bench.want(worker, 1)
    await settle()
    await bench.say("failed", code="no-space", detail="full")
    assert told(ear) == [(1, False, "no-space: full")]
    assert ear.messages()[-1]["fill"]["again"] is False
    await bench.tasks.close()


async def test_a_worker_that_left_is_told_nothing_more() -> None:
    bench = Bench()
    worker, ear = a_worker()
    bench.want(worker, 1)
    await settle()
    bench.desk.gone(worker)
    await bench.say("filled", **GROWING)
    assert told(ear) == []
    assert bench.desk.filled == 1
    await bench.tasks.close()
