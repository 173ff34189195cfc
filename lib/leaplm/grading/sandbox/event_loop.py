"""The event loop in which cells run, as a notebook's kernel has it: it is running already when a cell begins.

So `asyncio.create_task` and `get_running_loop` work in a cell without `await`, `asyncio.run` does not, and what a cell
leaves in the background goes on with the next ones.
"""

from __future__ import annotations

import asyncio
import contextvars
import sys
from collections.abc import Coroutine
from typing import Any

from IPython.core.interactiveshell import ExecutionResult, InteractiveShell

BACKGROUND_SECONDS = 0.02  # before a cell, for what earlier ones left in the background: it goes on while a kernel waits

# Taken before any student code runs.
_Task, _all_tasks, _sleep, _go_on = asyncio.Task, asyncio.all_tasks, asyncio.sleep, asyncio.SelectorEventLoop.run_forever


class EventLoop:
    """Runs one coroutine after another, each until it ends; what they set for their context (`numpy.seterr`) stays.

    >>> EventLoop().run(asyncio.sleep(0, "slept"))
    'slept'
    """

    def __init__(self) -> None:
        self.context = contextvars.copy_context()
        self._loop = self._fresh()

    def _fresh(self) -> asyncio.AbstractEventLoop:
        loop = asyncio.new_event_loop()
        asyncio.set_event_loop(loop)
        return loop

    def run(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        """What it returns, or raises. None if it was cancelled, as by a time limit that rang while it waited."""
        if self._loop.is_closed():
            self._loop = self._fresh()
        task = _Task(self._after_others(coroutine), loop=self._loop, context=self.context)
        task.add_done_callback(lambda done: self._loop.stop())
        while not task.done():  # code in a cell may stop the loop, too
            try:
                _go_on(self._loop)
            except Exception:  # the loop itself is broken
                self._loop = self._fresh()
                raise
            except BaseException:  # TimeIsUp, or SystemExit of something in the background
                task.cancel()
        return None if task.cancelled() else task.result()

    async def _after_others(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        if len(_all_tasks(self._loop)) > 1:
            await _sleep(BACKGROUND_SECONDS)
        return await coroutine


async def run_cell(shell: InteractiveShell, source: str) -> ExecutionResult:
    """Has the shell run a cell inside the running loop, as ipykernel does."""
    try:
        python, problem = shell.transform_cell(source), None
    except Exception:
        python, problem = source, sys.exc_info()
    told = {"transformed_cell": python, "preprocessing_exc_tuple": problem}
    if not shell.should_run_async(source, **told):
        return shell.run_cell(source, store_history=True)
    result = None
    try:
        result = await shell.run_cell_async(source, store_history=True, **told)
    finally:
        shell.events.trigger("post_execute")
        shell.events.trigger("post_run_cell", result)
    return result
