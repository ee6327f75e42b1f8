"""The clock's door: tasks come again, whatever happened to them the last time."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import datetime, timedelta, tzinfo

import pytest
from apscheduler.schedulers import base
from apscheduler.triggers import interval

from bot.errors import StorageUnavailable
from handlers import schedules as module
from handlers.schedules import Schedules
from tests.waiting import wait_until

OFTEN_S = 0.02
Start = Callable[..., Schedules]


@pytest.fixture
def start() -> Iterator[Start]:
    """Starts tasks that are called often; all end with the test."""
    with ExitStack() as stack:

        def start_tasks(**tasks: Callable[[], object]) -> Schedules:
            schedules = Schedules({name: (OFTEN_S, task) for name, task in tasks.items()})
            schedules.start()
            stack.callback(schedules.stop)
            return schedules

        yield start_tasks


def test_tasks_come_again(start: Start) -> None:
    """Each is called on its own beat."""
    calls: list[str] = []
    start(seal=lambda: calls.append("seal"), overdue=lambda: calls.append("overdue"))
    wait_until(lambda: min(calls.count("seal"), calls.count("overdue")) >= 3)


@pytest.mark.parametrize("error", [StorageUnavailable("locked"), KeyError("ours")], ids=["storage", "mistake"])
def test_a_task_that_fails_comes_again(error: Exception, start: Start) -> None:
    """Neither a database that is away nor a mistake of ours ends a task, or the other tasks."""
    calls: list[str] = []

    def fail() -> None:
        calls.append("bad")
        raise error

    start(bad=fail, good=lambda: calls.append("good"))
    wait_until(lambda: min(calls.count("bad"), calls.count("good")) >= 3)


def test_a_slow_task_is_not_started_twice(start: Start) -> None:
    """While it runs, its beats are left out; the other tasks go on, and so does it when it has ended."""
    begun, release, beats = [], threading.Event(), []

    def be_slow() -> None:
        begun.append(1)
        release.wait(30)

    start(slow=be_slow, quick=lambda: beats.append(1))
    wait_until(lambda: len(beats) > 5 and begun)
    assert len(begun) == 1
    release.set()
    wait_until(lambda: len(begun) >= 3)


def test_a_clock_that_is_set_back_puts_nothing_off(monkeypatch: pytest.MonkeyPatch) -> None:
    """After an hour's correction the tasks come as often as before, not an hour later."""
    is_back = threading.Event()
    calls: list[bool] = []

    class Corrected(datetime):
        """The scheduler's clock."""

        @classmethod
        def now(cls, tz: tzinfo | None = None) -> datetime:  # type: ignore[override] # a plain one is enough
            return datetime.now(tz) - timedelta(hours=is_back.is_set())

    monkeypatch.setattr(module, "LOOK_S", OFTEN_S)
    monkeypatch.setattr(base, "datetime", Corrected)
    monkeypatch.setattr(interval, "datetime", Corrected)
    task = (OFTEN_S, lambda: calls.append(is_back.is_set()))
    schedules = Schedules({"task": task}, lambda: time.time() - 3600 * is_back.is_set())
    schedules.start()
    try:
        wait_until(lambda: calls)
        is_back.set()
        wait_until(lambda: calls.count(True) >= 5)
    finally:
        schedules.stop()


def test_nothing_is_called_after_the_end(start: Start) -> None:
    """Stopping is final, and may be asked for twice, or before anything began."""
    calls: list[int] = []
    schedules = start(task=lambda: calls.append(1))
    wait_until(lambda: calls)
    schedules.stop()
    ended = threading.Event()
    others = start(other=ended.set)
    count = len(calls)
    assert ended.wait(30)
    assert len(calls) <= count + 1  # one that had begun
    schedules.stop()
    others.stop()
    Schedules({}).stop()
