"""A whole process: what answers at once, what waits until the database is ready, and an orderly end."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Protocol

from bot.errors import ShipmateError
from bot.stopping import DRAIN_S
from bot.telemetry import logger

LOOK_S = 0.25

log = logger(__name__)


class Part(Protocol):
    """Something of the process that runs until it is stopped."""

    def start(self) -> None:
        """Begin."""
        ...

    def stop(self) -> object:
        """End cleanly."""
        ...


class Closable(Protocol):
    """Something to let go of at the very end."""

    def close(self) -> None:
        """Let go."""
        ...


class Application:
    """Runs `doors` from the start and `parts` once `obstacle` says None; `prepare` is called in between.

    `obstacle` says in a sentence why the database cannot be worked with. `store` is closed when all have stopped.
    """

    def __init__(
        self,
        doors: Sequence[Part],
        parts: Sequence[Part],
        store: Closable,
        obstacle: Callable[[], str | None],
        prepare: Callable[[], None],
    ) -> None:
        self.doors = list(doors)
        self._parts = tuple(parts)
        self._store = store
        self._obstacle = obstacle
        self._prepare = prepare
        self._started: list[Part] = []
        self._is_started = False

    @property
    def unfinished(self) -> str | None:
        """Why not everything runs yet; None once it does."""
        return None if self._is_started else "starting"

    def start(self, is_over: threading.Event) -> None:
        """Start everything; returns early, with less than everything running, when `is_over` is set meanwhile."""
        self._start(self.doors)
        if not self._is_prepared(is_over):
            return
        self._start(self._parts)
        self._is_started = True

    def stop(self) -> bool:
        """Stop all parts at the same time, then let go of the database; False when that took longer than 9.5 s.

        What is stored but not done is done by the next process; leases of what was in hand run out.
        """
        ending = threading.Thread(target=self._stop, name="ending", daemon=True)
        ending.start()
        ending.join(DRAIN_S)
        return not ending.is_alive()

    def _start(self, parts: Sequence[Part]) -> None:
        for part in parts:
            part.start()
            self._started.append(part)

    def _is_prepared(self, is_over: threading.Event) -> bool:
        """Wait for the database and prepare it; False when the process is to end instead."""
        said = ""
        while not is_over.is_set():
            obstacle = self._obstacle()
            if obstacle is None:
                try:
                    self._prepare()
                except ShipmateError as problem:
                    obstacle = str(problem)
                else:
                    return True
            if obstacle != said:
                log.warning("waiting", reason=obstacle)
                said = obstacle
            is_over.wait(LOOK_S)
        return False

    def _stop(self) -> None:
        threads = [threading.Thread(target=part.stop, daemon=True) for part in self._started]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self._store.close()
