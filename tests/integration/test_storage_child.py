"""The storage child as control sees it: calls under deadlines, replaced when it hangs or dies."""

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from station.control.storage_watch import StorageWatch
from station.model.states import StorageState
from station.storage.client import StorageChild, StorageError, StorageStalled
from station.storage.layout import Layout
from tests.unit.storage.shelf import GROUP, SOURCE, STATION, Staged, a_layout, put


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return a_layout(tmp_path)


def child_of(layout: Layout, failpoint: str = "", group: str = GROUP) -> StorageChild:
    return StorageChild(
        storage=layout.root,
        station=STATION,
        state=layout.root.parent / "state",
        group=group,
        environment={"STATION_FAILPOINT": failpoint},
    )


@pytest.fixture
async def child(layout: Layout) -> AsyncIterator[StorageChild]:
    child = child_of(layout)
    yield child
    await child.close()


def is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


async def test_a_storage_is_made_probed_and_listed(tmp_path: Path) -> None:
    (tmp_path / "storage").mkdir()
    (tmp_path / "state").mkdir()
    child = child_of(Layout(tmp_path / "storage"))
    assert (await child.call("probe", deadline_s=10))["state"] == "missing"
    made = await child.call("init", deadline_s=10, group=GROUP)
    probed = await child.call("probe", deadline_s=10)
    assert (probed["state"], probed["storage_id"]) == ("ready", made["storage_id"])
    assert await child.call("inventory", deadline_s=10) == {}
    await child.close()


async def test_many_calls_at_once_get_their_own_answers(
    layout: Layout, child: StorageChild
) -> None:
    staged = [Staged({"a.rpm": b"%d" % n}, n).stage(layout) for n in range(1, 6)]
    answers = await asyncio.gather(
        *(
            child.call(
                "publish", deadline_s=30, source=SOURCE, number=n, order=n, revision=s.revision
            )
            for n, s in enumerate(staged, 1)
        ),
        child.call("inventory", deadline_s=30),
        child.call("collect", deadline_s=30),
        child.call("probe", deadline_s=30),
    )
    assert answers[:5] == [{"made": True}] * 5
    found = await child.call("inventory", deadline_s=30)
    assert len(found[SOURCE]["live"]) == 5


async def test_a_refusal_has_a_code_and_leaves_the_child_well(child: StorageChild) -> None:
    pid = None
    refusals: list[tuple[str, dict[str, Any], str]] = [
        (
            "publish",
            {"source": SOURCE, "number": 1, "order": 1, "revision": "0" * 64},
            "incomplete",
        ),
        (
            "publish",
            {"source": "../x", "number": 1, "order": 1, "revision": "0" * 64},
            "bad-request",
        ),
        ("publish", {"source": SOURCE}, "bad-request"),
        ("rm -rf", {}, "unknown-op"),
        ("init", {"group": "another"}, "foreign"),
        ("add_manifest", {"source": SOURCE, "revision": "0" * 64, "manifest": "x"}, "damaged"),
    ]
    for op, args, code in refusals:
        with pytest.raises(StorageError) as caught:
            await child.call(op, deadline_s=10, **args)
        assert caught.value.code == code
        pid = pid or child.pid
        assert child.pid == pid


async def test_a_child_that_hangs_is_killed_and_the_next_call_has_a_new_one(layout: Layout) -> None:
    child = child_of(layout, "probe:sleep")
    waiting = asyncio.gather(
        child.call("inventory", deadline_s=30),
        child.call("probe", deadline_s=0.5),
        child.call("inventory", deadline_s=30),
        return_exceptions=True,
    )
    began = time.monotonic()
    answers = await waiting
    assert time.monotonic() - began < 5
    assert isinstance(answers[1], StorageStalled) and isinstance(answers[2], StorageStalled)
    assert child.pid is None
    child._environment = {}  # the mount answers again
    assert (await child.call("probe", deadline_s=10))["state"] == "ready"
    await child.close()


async def test_a_stopped_child_does_not_stop_its_caller(
    layout: Layout, child: StorageChild
) -> None:
    await child.call("probe", deadline_s=10)
    pid = child.pid
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    with pytest.raises(StorageStalled):
        await child.call("probe", deadline_s=0.3)
    assert (await child.call("probe", deadline_s=10))["state"] == "ready"
    assert child.pid != pid


async def test_a_child_that_dies_is_told_at_once_and_replaced(child: StorageChild) -> None:
    await child.call("probe", deadline_s=10)
    pid = child.pid
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    asking = asyncio.ensure_future(child.call("inventory", deadline_s=30))
    await asyncio.sleep(0.1)
    os.kill(pid, signal.SIGKILL)
    with pytest.raises(StorageError) as caught:
        await asking
    assert caught.value.code == "died"
    assert await child.call("inventory", deadline_s=10) == {}


async def test_a_long_collection_does_not_keep_a_probe_waiting(
    layout: Layout, child: StorageChild
) -> None:
    for n in range(80):
        put(layout, b"orphan %d" % n)
    collecting = asyncio.ensure_future(child.call("collect", deadline_s=60, wait_s=0))
    probes = 0
    while not collecting.done():
        assert (await child.call("probe", deadline_s=10))["state"] == "ready"
        probes += 1
    assert (await collecting)["objects_removed"] == 80
    assert probes > 3


async def test_a_busy_child_is_not_killed_for_being_slow(
    layout: Layout, child: StorageChild
) -> None:
    for n in range(600):
        put(layout, b"orphan %d" % n)
    await child.call("probe", deadline_s=10)
    pid = child.pid
    slow = asyncio.ensure_future(child.call("collect", deadline_s=0.001, wait_s=0))
    probe = asyncio.ensure_future(child.call("probe", deadline_s=10))
    with pytest.raises(StorageError) as caught:
        await slow
    await asyncio.wait([probe])
    if caught.value.code == "slow":
        assert child.pid == pid
    assert (await child.call("collect", deadline_s=30, wait_s=0))["objects_waiting"] <= 600


async def test_it_ends_with_its_stdin(layout: Layout) -> None:
    child = child_of(layout)
    await child.call("probe", deadline_s=10)
    pid = child.pid
    assert pid is not None
    await child.close()
    assert not is_running(pid)
    with pytest.raises(StorageError):
        await child.call("probe", deadline_s=10)


async def test_after_expecting_another_group_the_storage_is_foreign(child: StorageChild) -> None:
    assert (await child.call("probe", deadline_s=10))["state"] == "ready"
    child.expect(group="another")
    assert (await child.call("probe", deadline_s=10))["state"] == "foreign"


async def test_stations_on_one_storage_recognise_each_other(
    layout: Layout, child: StorageChild
) -> None:
    other = StorageChild(storage=layout.root, station="B", state=layout.root.parent / "state-B")
    mine = (await child.call("recognise", deadline_s=10))["mine"]
    theirs = await other.call("recognise", deadline_s=10)
    assert mine in theirs["others"][STATION]
    seen = await child.call("recognise", deadline_s=10)
    assert theirs["mine"] in seen["others"]["B"]
    await other.close()


async def test_the_rests_of_an_earlier_run_are_gone_before_the_storage_is_ready(
    layout: Layout, child: StorageChild
) -> None:
    rest = layout.partial(STATION) / "intent-of-a-killed-sync"
    rest.parent.mkdir(parents=True, exist_ok=True)
    rest.touch()
    states: dict[StorageState, bool] = {}

    def note() -> None:
        states.setdefault(watch.view.state, rest.exists())

    (layout.root.parent / "state").mkdir(exist_ok=True)
    watch = StorageWatch(child, layout.root.parent / "state", note)
    async with asyncio.timeout(20):
        watching = asyncio.create_task(watch.watch())
        while StorageState.READY not in states:
            await asyncio.sleep(0.01)
    assert states[StorageState.READY] is False
    rest.touch()  # a sync of this run, which began as soon as it might
    watch.look_again()
    await asyncio.sleep(0)
    await watch.refresh()
    assert rest.exists()
    watching.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await watching
