"""Runs the real program with one function of it made deadly: `python -m tests.crash.runner POINT run --config FILE`.

The product knows nothing of this. A point (see `points`) names a function and whether the process dies as if by
`kill -9` before it is called or after it has returned. `none` kills nowhere. In every case leases end sooner than in
earnest, so that what a dead process held is taken over within seconds, and upkeep comes round as soon.
"""

from __future__ import annotations

import functools
import importlib
import itertools
import os
import signal
import sys
import threading
from collections.abc import Callable
from typing import Any

from tests.crash.points import POINTS, Point

LEASE_S = 2.0
UPKEEP_S = 2.0


def target(function: str) -> tuple[Any, str]:
    """Whose (a module's, a class's) and which function is written `module:name` or `module:Class.name`."""
    module, _, path = function.partition(":")
    *within, name = path.split(".")
    return functools.reduce(getattr, within, importlib.import_module(module)), name


def make_deadly(point: Point) -> None:
    """Put the kill around the point's function."""
    is_armed = threading.Event()
    if point.since:
        _wrap(point.since, lambda function: _arming(function, is_armed))
    else:
        is_armed.set()
    _wrap(point.function, lambda function: _deadly(function, point, is_armed))


def _wrap(name: str, wrapper: Callable[[Callable[..., Any]], Callable[..., Any]]) -> None:
    owner, attribute = target(name)
    setattr(owner, attribute, wrapper(getattr(owner, attribute)))


def _arming(function: Callable[..., Any], is_armed: threading.Event) -> Callable[..., Any]:
    @functools.wraps(function)
    def call(*arguments: Any, **named: Any) -> Any:
        is_armed.set()
        return function(*arguments, **named)

    return call


def _deadly(function: Callable[..., Any], point: Point, is_armed: threading.Event) -> Callable[..., Any]:
    calls = itertools.count(1)

    @functools.wraps(function)
    def call(*arguments: Any, **named: Any) -> Any:
        is_last = is_armed.is_set() and next(calls) == point.call
        if is_last and not point.is_after:
            os.kill(os.getpid(), signal.SIGKILL)
        result = function(*arguments, **named)
        if is_last:
            os.kill(os.getpid(), signal.SIGKILL)
        return result

    return call


def shorten_times() -> None:
    """Let a lease end after two seconds instead of half a minute, and upkeep be done as often."""
    from bot import bootstrap
    from bot.services import commands, jobs, planning, steps

    for module in (commands, jobs, planning):
        module.LEASE_S = LEASE_S
    steps.STEP_S = LEASE_S
    planning.CALL_S = LEASE_S / 8  # a search may take as much of the lease as in earnest
    bootstrap.UPKEEP_S = bootstrap.PRUNE_S = UPKEEP_S


def main() -> None:
    """Run `shipmate` with the rest of the command line."""
    name = sys.argv.pop(1)
    shorten_times()
    if name != "none":
        make_deadly(POINTS[name])
    from bot.cli import main as run

    run()


if __name__ == "__main__":
    main()
