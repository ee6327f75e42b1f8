"""What the tests of connections share."""

from __future__ import annotations

import threading
from collections.abc import Callable


class Switch:
    """Waits for the connection to come or go; that it does not stand before the first one is no change."""

    def __init__(self) -> None:
        self.history: list[bool] = []
        self._changed = threading.Condition()

    def __call__(self, is_connected: bool) -> None:
        """Take a change."""
        with self._changed:
            if not is_connected and not self.history:
                return
            self.history.append(is_connected)
            self._changed.notify_all()

    def wait_for(self, *wanted: bool) -> bool:
        """Whether the changes were these within half a minute."""
        with self._changed:
            return self._changed.wait_for(lambda: tuple(self.history) == wanted, 30.0)


class Jam:
    """A database that stands still until `end`, before an inbox's `accept`; `knocks` are those who came to it."""

    def __init__(self, accept: Callable[..., bool]) -> None:
        self.knocks = 0
        self._accept = accept
        self._is_over = threading.Event()

    def __call__(self, **said: object) -> bool:
        """Store what was said, in the end."""
        self.knocks += 1
        assert self._is_over.wait(30)
        return self._accept(**said)

    def end(self) -> None:
        """Go on."""
        self._is_over.set()
