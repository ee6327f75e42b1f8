"""A clock that is set forward: leases of work that is under way seem to have run out, and the work to be nobody's.

Whoever took it up then would do it a second time beside the first. So nothing is taken up until what was under way has
come to its end: one's own work is known, that of other processes has ended when the longest lease of theirs has.
"""

from __future__ import annotations

from collections.abc import Callable, Set
from time import monotonic

from bot.telemetry import logger

LEAP_S = 5.0
HEARD_LATE_S = 15.0  # workers compare their database's clock every 10 s: until then others take work by the former time
LONGEST_S = 150.0  # any lease, and more: what hangs for longer keeps nobody from anything without a leap, either

log = logger(__name__)


class Leaps:
    """Notices leaps of a clock; with `has_others`, other processes may have work under way, too."""

    def __init__(self, *, has_others: bool, monotonic: Callable[[], float] = monotonic) -> None:
        self._has_others = has_others
        self._monotonic = monotonic
        self._ahead_s = float("inf")
        self._leapt_at = float("-inf")
        self._waits_for: Set[int] = frozenset()

    def forbids(self, now: float, in_hand: Set[int]) -> bool:
        """Whether nothing may be taken up at `now` (seconds since 1970); `in_hand` is what is under way here."""
        at = self._monotonic()
        leapt_s, self._ahead_s = now - at - self._ahead_s, now - at
        if leapt_s > LEAP_S:
            log.warning("the clock was set forward, what is under way is waited for", seconds=round(leapt_s))
            self._waits_for, self._leapt_at = in_hand, at
        self._waits_for &= in_hand
        if self._waits_for and at - self._leapt_at > LONGEST_S:
            log.error(
                "what is under way since the clock was set forward is waited for no more", pieces=len(self._waits_for)
            )
            self._waits_for = frozenset()
        return bool(self._waits_for)

    def others_may_hold(self, lease_s: float) -> bool:
        """Whether another process may be at work that it took for so long before it heard of the leap."""
        return self._has_others and self._monotonic() < self._leapt_at + HEARD_LATE_S + lease_s
