"""Named tasks with an owner: the only place that creates a task. None dies in silence."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from station.runtime.lines import line


class Tasks:
    """A group of tasks that end together. `on_death` is told of a task that failed; default: log it."""

    def __init__(self, on_death: Callable[[str, BaseException], None] | None = None) -> None:
        self._tasks: set[asyncio.Task[Any]] = set()
        self._on_death = on_death

    def start(self, work: Coroutine[Any, Any, Any], *, name: str) -> asyncio.Task[Any]:
        """Run `work` as a task called `name` until it ends or `close` is called."""
        task = asyncio.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    async def close(self) -> None:
        """Cancel all and wait for them."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        error = None if task.cancelled() else task.exception()
        if error is not None:
            line("error", "task.died", task=task.get_name(), error=repr(error))
            if self._on_death:
                self._on_death(task.get_name(), error)
