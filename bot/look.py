"""Looks at what may not answer, for pages that are to be answered whether it does or not."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from time import monotonic
from typing import Generic, TypeVar

LOOK_S = 2.0

T = TypeVar("T")


class Look(Generic[T]):
    """What `ask` says, or `late` where it takes longer than 2 s: asked in a thread of its own, never twice at a time.

    A database server that stands still keeps a question for as long as it stands, for its own limits stand still too.
    Whoever comes meanwhile waits for the same answer, and for nothing once that is late. What `ask` raises is raised.
    """

    def __init__(self, ask: Callable[[], T], late: T) -> None:
        self._ask = ask
        self._late = late
        self._lock = threading.Lock()
        self._answer: Future[T] | None = None
        self._late_at = 0.0

    def __call__(self) -> T:
        """Ask, or join who has asked."""
        with self._lock:
            if self._answer is None or self._answer.done():
                coming = Future[T]()
                # A process that may have no further thread just now has asked nobody: the next one who comes asks.
                threading.Thread(target=self._look, args=(coming,), name="look", daemon=True).start()
                self._answer, self._late_at = coming, monotonic() + LOOK_S
            answer, late_at = self._answer, self._late_at
        try:
            return answer.result(max(0.0, late_at - monotonic()))
        except TimeoutError:
            return self._late

    def _look(self, answer: Future[T]) -> None:
        try:
            answer.set_result(self._ask())
        except Exception as problem:  # noqa: BLE001 - handed on to whoever asked
            answer.set_exception(problem)
