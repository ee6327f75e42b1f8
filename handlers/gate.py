"""The gate before the doors: only so many requests may be with the database that threads are left for the others.

A thread that waits for the database answers nobody, and what waits there without a thread is remembered until it is
written. While the database stalls, those who came first wait; whoever comes then is told at once to come again, and who
asks for `/healthz` is answered.
"""

from __future__ import annotations

from collections.abc import Callable
from threading import Semaphore

from flask import Blueprint, Response, g

from handlers.later import Later

SPARE_THREADS = 4  # of the web server, beside those that may be with the database
STALL_S = 1.0
LONGEST_WAIT_S = 2.0


class Gate:
    """Lets `room` requests pass at a time; `waited_s` says for how long somebody has waited for the database by now."""

    def __init__(self, room: int, waited_s: Callable[[], float]) -> None:
        self._room = Semaphore(room)
        self._waited_s = waited_s
        self._is_stuck = False

    def guard(self, door: Blueprint, later: Callable[[], Response]) -> None:
        """Let every request of a door pass here first; who may not is answered `later()`."""

        @door.before_request
        def enter() -> Response | None:
            g.is_inside = self.enter()
            return None if g.is_inside else later()

        @door.after_request
        def part(response: Response) -> Response:
            if isinstance(response, Later) and g.pop("is_inside", False):
                response.writing.then(self.leave)
            return response

        @door.teardown_request
        def leave(_problem: BaseException | None) -> None:
            if g.pop("is_inside", False):
                self.leave()

    def enter(self) -> bool:
        """Whether a request may go on; where all room is taken it waits, unless the database stalls.

        Once somebody has waited in vain nobody does until one of those inside has left.
        """
        if self.trouble() is not None:
            return False
        if self._room.acquire(blocking=False):
            return True
        if self._is_stuck:
            return False
        is_in = self._room.acquire(timeout=max(0.0, STALL_S - self._waited_s()))
        self._is_stuck = not is_in
        return is_in

    def leave(self) -> None:
        """Make room for the next one."""
        self._is_stuck = False
        self._room.release()

    def trouble(self) -> str | None:
        """Why nobody is let in, for `/readyz` too; None while all is well."""
        return "the database does not keep up" if self._waited_s() > LONGEST_WAIT_S else None
