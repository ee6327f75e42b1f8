"""The database's clock: what hosts that share a database agree on, whatever their own clocks say."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from time import monotonic

from bot.ports import Clock

SAMPLES = 3


class DatabaseClock:
    """Tells the database's time, as far as it was measured; before that, `own` is asked.

    Between measurements it runs with this host's monotonic clock, so that a host whose clock is set meanwhile is not
    thrown off. It is wrong by at most half of the quickest round trip, and by what the two clocks drift apart.
    """

    def __init__(self, own: Clock) -> None:
        self._own = own
        self._offset_s: float | None = None

    def now(self) -> datetime:
        """The present instant, aware, UTC."""
        offset_s = self._offset_s
        return self._own.now() if offset_s is None else datetime.fromtimestamp(monotonic() + offset_s, UTC)

    def measure(self, ask: Callable[[], float]) -> None:
        """Compare with the server's answers (seconds since 1970); the quickest of three is the most exact one."""
        samples = []
        for _ in range(SAMPLES):
            before = monotonic()
            at = ask()
            after = monotonic()
            samples.append((after - before, at - (before + after) / 2))
        self._offset_s = min(samples)[1]
