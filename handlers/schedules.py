"""The clock's door: APScheduler calls what is due."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from bot.errors import ShipmateError
from bot.telemetry import logger

log = logger(__name__)


class Schedules:
    """Calls each task every so many seconds; a task that is still running is not started twice."""

    def __init__(self, tasks: Mapping[str, tuple[float, Callable[[], object]]]) -> None:
        self._tasks = dict(tasks)
        self._scheduler: object | None = None

    def start(self) -> None:
        """Begin to call the tasks."""
        from apscheduler.schedulers.background import BackgroundScheduler

        scheduler = BackgroundScheduler(timezone="UTC", daemon=True)
        for name, (every_s, task) in self._tasks.items():
            scheduler.add_job(_guarded(name, task), "interval", seconds=every_s, id=name, coalesce=True)
        scheduler.start()
        self._scheduler = scheduler

    def stop(self) -> None:
        """Call no more; what is being done is finished."""
        if self._scheduler is not None:
            self._scheduler.shutdown(wait=True)  # type: ignore[attr-defined]  # APScheduler has no types
            self._scheduler = None


def _guarded(name: str, task: Callable[[], object]) -> Callable[[], None]:
    def run() -> None:
        try:
            task()
        except ShipmateError as problem:
            log.warning("scheduled task failed, it runs again", task=name, error=problem)

    return run
