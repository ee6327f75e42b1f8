"""Rate budgets as virtual scheduling (GCRA): one number a scope, shared by all workers through the database.

The number is the theoretical arrival time of the next call (seconds since 1970). A call may go when that time is at
most `tolerance` ahead of now; it then moves on by `interval_s`. In any window of W seconds at most
`burst + W / interval_s` calls go.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Budget:
    """A rate for one scope: `burst` calls at once, then one each `interval_s` seconds; 0 lifts it."""

    scope: str
    interval_s: float
    burst: int = 1

    @classmethod
    def per_minute(cls, scope: str, calls: int, *, burst: int = 1) -> Budget:
        """At most `calls` in any 60 seconds, up to `burst` of them at once, which is less than `calls` from two on."""
        if calls == 1:
            return cls(scope, 60.0)
        return cls(scope, 60.0 / (calls - burst), burst)

    def ready_at(self, arrival: float, *, reserve: float = 0.0) -> float:
        """The earliest time for the next call when the stored arrival time is `arrival`.

        `reserve` (0 to 1) is the share of the burst that this call must leave to more important ones.
        """
        usable = max(1.0, self.burst * (1.0 - reserve))
        return arrival - self.interval_s * (usable - 1.0)

    def after(self, arrival: float, now: float) -> float:
        """The arrival time to store when a call went at `now`."""
        return max(arrival, now) + self.interval_s
