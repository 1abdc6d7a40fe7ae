"""Named tasks with an owner: the only place that creates a task. None dies in silence."""

import asyncio
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any

from station.runtime.lines import line

AGAIN_AFTER_S = 10.0


class Tasks:
    """A group of tasks that end together. Those that fail are logged; `on_death` is told of vital ones."""

    def __init__(self, on_death: Callable[[str, BaseException], None] | None = None) -> None:
        self._tasks: set[asyncio.Task[Any]] = set()
        self._on_death = on_death

    def start(
        self, work: Coroutine[Any, Any, Any], *, name: str, is_vital: bool = False
    ) -> asyncio.Task[Any]:
        """Run `work` as a task called `name` until it ends or `close` is called.

        `is_vital`: without it the owner would go on with what is no longer true.
        """
        task = asyncio.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(partial(self._ended, is_vital))
        return task

    def keep(self, work: Callable[[], Coroutine[Any, Any, None]], *, name: str) -> None:
        """Run `work()` the same way, and once more a little later each time it fails: a chore that others outlive."""
        self.start(_kept(work, name), name=name)

    async def close(self) -> None:
        """Cancel all and wait for them."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _ended(self, is_vital: bool, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        error = None if task.cancelled() else task.exception()
        if error is not None:
            line("error", "task.died", task=task.get_name(), error=repr(error))
            if self._on_death and is_vital:
                self._on_death(task.get_name(), error)


async def _kept(work: Callable[[], Coroutine[Any, Any, None]], name: str) -> None:
    while True:
        try:
            return await work()
        except Exception as error:
            line("error", "task.failed", task=name, error=repr(error), again_in_s=AGAIN_AFTER_S)
        await asyncio.sleep(AGAIN_AFTER_S)
