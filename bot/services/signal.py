"""How those who make work wake those who do it."""

from __future__ import annotations

import threading
from collections.abc import Callable


class Signal:
    """A bell: `ring` wakes `wait`, and a ring between two waits is not lost.

    It is heard in this process, and in others where somebody passes it on (`pass_on`).
    """

    def __init__(self) -> None:
        self._event = threading.Event()
        self._pass_on: Callable[[], None] | None = None

    def pass_on(self, to: Callable[[], None]) -> None:
        """Call `to` at each ring of this process; it must neither wait nor raise."""
        self._pass_on = to

    def ring(self) -> None:
        """There may be new work, for whichever process takes it."""
        self.wake()
        if self._pass_on is not None:
            self._pass_on()

    def wake(self) -> None:
        """There may be something to do for this process."""
        self._event.set()

    def wait(self, timeout_s: float) -> None:
        """Until the next ring, at most `timeout_s`."""
        self._event.wait(timeout_s)
        self._event.clear()
