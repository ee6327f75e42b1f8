"""The clock's door: APScheduler calls what is due.

It plans by the host's clock: one that is set back by an hour would put every task off by an hour. So the clock is
watched over, and the tasks are planned anew then.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

from bot.errors import ShipmateError
from bot.telemetry import logger

log = logger(__name__)


LOOK_S = 2.0
SET_BACK_S = 1.0


class Schedules:
    """Calls each task every so many seconds; a task that is still running is not started twice.

    `now_s` is the clock that APScheduler plans by.
    """

    def __init__(
        self, tasks: Mapping[str, tuple[float, Callable[[], object]]], now_s: Callable[[], float] = time.time
    ) -> None:
        self._tasks = dict(tasks)
        self._now_s = now_s
        self._is_over = threading.Event()
        self._watch = threading.Thread(target=self._watch_clock, name="schedules-watch", daemon=True)
        self._scheduler: Any = None  # APScheduler has no types

    def start(self) -> None:
        """Begin to call the tasks."""
        from apscheduler.schedulers.background import BackgroundScheduler

        self._scheduler = BackgroundScheduler(timezone="UTC", daemon=True)
        for name, (every_s, task) in self._tasks.items():
            options = {"id": name, "name": name, "coalesce": True, "misfire_grace_time": None}  # late is not never
            self._scheduler.add_job(_guarded(name, task), "interval", seconds=every_s, **options)
        self._scheduler.start()
        self._watch.start()

    def stop(self) -> None:
        """Call no more; what is being done is finished."""
        self._is_over.set()
        if self._scheduler is not None:
            self._watch.join()
            self._scheduler.shutdown(wait=True)
            self._scheduler = None

    def _watch_clock(self) -> None:
        ahead_s = self._now_s() - time.monotonic()
        while not self._is_over.wait(LOOK_S):
            was_ahead_s, ahead_s = ahead_s, self._now_s() - time.monotonic()
            if ahead_s < was_ahead_s - SET_BACK_S:
                log.warning("the clock was set back", seconds=round(was_ahead_s - ahead_s))
                for name, (every_s, _) in self._tasks.items():
                    self._scheduler.reschedule_job(name, trigger="interval", seconds=every_s)


def _guarded(name: str, task: Callable[[], object]) -> Callable[[], None]:
    def run() -> None:
        try:
            task()
        except ShipmateError as problem:
            log.warning("scheduled task failed, it runs again", task=name, error=problem)

    return run
