"""No task dies in silence, and all of a group end together."""

import asyncio

import pytest

from station.runtime import tasks as tasks_module
from station.runtime.tasks import Tasks


async def fail() -> None:
    raise ValueError("broken")


async def forever() -> None:
    await asyncio.Event().wait()


async def test_the_owner_is_told_of_a_vital_task_that_failed_by_name() -> None:
    told: list[tuple[str, str]] = []
    tasks = Tasks(on_death=lambda name, error: told.append((name, str(error))))
    tasks.start(fail(), name="answer")
    tasks.start(fail(), name="registry", is_vital=True)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert told == [("registry", "broken")]


async def test_a_failure_without_an_owner_is_logged(capsys: pytest.CaptureFixture[str]) -> None:
    tasks = Tasks()
    tasks.start(fail(), name="registry")
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert "event='task.died' task='registry'" in capsys.readouterr().err


async def test_close_ends_all_and_is_no_failure() -> None:
    told: list[str] = []
    tasks = Tasks(on_death=lambda name, _: told.append(name))
    running = [tasks.start(forever(), name=str(n), is_vital=True) for n in range(3)]
    await asyncio.sleep(0)
    await tasks.close()
    assert all(task.cancelled() for task in running)
    assert told == []


async def test_a_task_that_ends_by_itself_is_forgotten() -> None:
    tasks = Tasks()
    task = tasks.start(asyncio.sleep(0, "done"), name="short")
    assert await task == "done"
    await tasks.close()


async def test_a_chore_that_fails_is_begun_anew_and_nobody_dies_of_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(tasks_module, "AGAIN_AFTER_S", 0.0)
    told: list[str] = []
    begun: list[int] = []
    is_done = asyncio.Event()

    async def work() -> None:
        begun.append(len(begun))
        if len(begun) < 3:
            raise ValueError("broken")
        is_done.set()

    tasks = Tasks(on_death=lambda name, _: told.append(name))
    tasks.keep(work, name="chore")
    await asyncio.wait_for(is_done.wait(), 5.0)
    await tasks.close()
    assert (len(begun), told) == (3, [])
    assert "event='task.failed' task='chore'" in capsys.readouterr().err
