"""How those who make work wake those who do it."""

from __future__ import annotations

import threading


class Signal:
    """A bell within one process: `ring` wakes `wait`, and a ring between two waits is not lost."""

    def __init__(self) -> None:
        self._event = threading.Event()

    def ring(self) -> None:
        """There may be work now."""
        self._event.set()

    def wait(self, timeout_s: float) -> None:
        """Until the next ring, at most `timeout_s`."""
        self._event.wait(timeout_s)
        self._event.clear()
