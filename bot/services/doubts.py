"""Posts that got no answer: for how long the platform may still make them, and when it is asked for them next.

Whoever hangs up on a slow platform does not stop it: the post may be made half a minute later. One that was made anew
by then would stand twice. So the platform is asked for it, at growing intervals, and only when it cannot be under way
any more is it made anew.
"""

from __future__ import annotations

from bot.domain.retries import LONGEST_PAUSE_S
from bot.ports import CardRecord

LATE_S = 68.0  # since its beginning, for a call that we hung up on after 8 s
FIRST_REPEAT_S = 60.0
BROKEN_S = 10.0  # for one that the platform, or the network, broke off
LEAST_LOOK_S = 5.0  # between two looks
TIMED_OUT = "failed:timeout"
ABSENT = "absent"


def lasts_s(card: CardRecord) -> float:
    """For how long after it was begun a post in doubt may still be made, by what its last try came to."""
    if card.tries == 0 or card.reason == ABSENT:
        return 0.0  # its worker died: the platform had time enough until its lease ended
    return BROKEN_S if card.reason.startswith("failed:") and card.reason != TIMED_OUT else LATE_S


def ends_at(card: CardRecord) -> float:
    """From when on a post in doubt that is not there will not be made any more."""
    return (card.attempt_started_at or 0.0) + lasts_s(card)


def next_look_at(card: CardRecord, now: float) -> float:
    """When the platform is asked next for a post that it does not know of."""
    return min(ends_at(card), now + max(LEAST_LOOK_S, now - (card.attempt_started_at or 0.0)))


def repeat_pause_s(tries: int) -> float:
    """How long a post that was hung up on waits where nobody can be asked for it: 1, 2, 4, then 5 minutes."""
    return float(min(LONGEST_PAUSE_S, FIRST_REPEAT_S * 2 ** min(tries - 1, 10)))
