"""Runs `shipmate` with functions of it made deadly: `python -m tests.crash.runner MARKS POINTS run --config FILE`.

The product knows nothing of this. Each of POINTS (`a,b`, or `none`) names a function (see `points`) and whether the
process dies as if by `kill -9` before it is called or after it has returned. They come one after the other, each once;
MARKS is a folder by which all processes of one bot know what has been. In every case leases end sooner than in earnest,
so that what a dead process held is taken over within seconds, and upkeep comes round as soon.
"""

from __future__ import annotations

import functools
import importlib
import os
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from tests.crash.marks import Fuse
from tests.crash.point import LOAD, Point
from tests.crash.points import point_of

LEASE_S = 3.0
CERTAIN_S = 6.0
UPKEEP_S = 2.0
OVERDUE_S = 1.0
POLL_S = 1.0
LOOK_S = 0.2


def target(function: str) -> tuple[Any, str]:
    """Whose (a module's, a class's) and which function is written `module:name` or `module:Class.name`."""
    module, _, path = function.partition(":")
    *within, name = path.split(".")
    return functools.reduce(getattr, within, importlib.import_module(module)), name


def make_deadly(point: Point, fuse: Fuse) -> None:
    """Put the kill around the point's function."""
    is_armed = threading.Event()
    if point.since and point.since != LOAD:
        _wrap(point.since, lambda function: _arming(function, fuse, is_armed))

    def counts() -> bool:
        if not fuse.is_live:
            return False
        return not point.since or (fuse.is_armed if point.is_elsewhere else is_armed.is_set())

    _wrap(point.function, lambda function: _deadly(function, point, fuse, counts))


def _wrap(name: str, wrapper: Callable[[Callable[..., Any]], Callable[..., Any]]) -> None:
    owner, attribute = target(name)
    setattr(owner, attribute, wrapper(getattr(owner, attribute)))


def _arming(function: Callable[..., Any], fuse: Fuse, is_armed: threading.Event) -> Callable[..., Any]:
    @functools.wraps(function)
    def call(*arguments: Any, **named: Any) -> Any:
        if fuse.is_live:
            is_armed.set()
            fuse.arm()
        return function(*arguments, **named)

    return call


def _deadly(function: Callable[..., Any], point: Point, fuse: Fuse, counts: Callable[[], bool]) -> Callable[..., Any]:
    @functools.wraps(function)
    def call(*arguments: Any, **named: Any) -> Any:
        is_counted = counts()
        if is_counted and not point.is_after and fuse.count() == point.call:
            die(fuse)
        result = function(*arguments, **named)  # one that is cut short by a busy database is called again
        if is_counted and point.is_after and fuse.count() == point.call:
            die(fuse)
        return result

    return call


def die(fuse: Fuse) -> None:
    """End this process at once."""
    fuse.burn(sys.argv[1])
    os.kill(os.getpid(), signal.SIGKILL)


def shorten_times(points: Sequence[Point]) -> None:
    """Let a lease end after three seconds instead of half a minute or a whole one, and all else in proportion."""
    from bot import bootstrap, tracker_settings
    from bot.services import acting, checking, commands, doubts, ingest, jobs, planning, steps, tracking, upkeep
    from bot.services.deployments import desk, engine, judging, requests, running
    from integrations.jira import auth

    for module in (commands, jobs, planning):
        module.LEASE_S = LEASE_S
    tracking.LEASE_S = 2 * LEASE_S  # a piece of that work is several calls
    auth.HOLD_S, tracker_settings.LEAST_POLL_S = LEASE_S, POLL_S
    if any(point.load == "expired" for point in points):
        requests.CONFIRM_S = LEASE_S
    steps.STEP_S = desk.STEP_S = LEASE_S
    doubts.LATE_S, doubts.BROKEN_S, doubts.FIRST_REPEAT_S = 2 * LEASE_S, LEASE_S / 3, 2 * LEASE_S
    planning.CALL_S = LEASE_S / 8  # a search may take as much of the lease as in earnest
    acting.TRIGGER_WITHIN_S = LEASE_S / 2
    checking.CERTAIN_AFTER_S = judging.CERTAIN_AFTER_S = running.CERTAIN_AFTER_S = CERTAIN_S
    engine.LEASE_S = running.LEASE_S = LEASE_S
    running.TRIGGER_WITHIN_S, running.LOOK_S = LEASE_S / 2, LOOK_S
    upkeep.OVERDUE_S = OVERDUE_S
    ingest.FIRST_POLL_S = POLL_S
    jobs.PACES = ((60.0, POLL_S), *jobs.PACES[1:])
    bootstrap.UPKEEP_S = bootstrap.PRUNE_S = UPKEEP_S


def main() -> None:
    """Run `shipmate` with the rest of the command line."""
    marks, names = Path(sys.argv.pop(1)), sys.argv.pop(1)
    points = [point_of(name) for name in names.split(",")] if names != "none" else []
    shorten_times(points)
    for number, point in enumerate(points):
        make_deadly(point, Fuse(marks, number))
    from bot.cli import main as run

    run()


if __name__ == "__main__":
    main()
