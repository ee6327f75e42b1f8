"""Posts that got no answer: for how long the platform may still make them, and when it is asked for them next.

Whoever hangs up on a slow platform does not stop it: the post may be made half a minute later. One that was made anew
by then would stand twice. So the platform is asked for it, at growing intervals, and only when it cannot be under way
any more is it made anew.
"""

from __future__ import annotations

from dataclasses import replace

from bot.domain.places import ONCE_MORE, UNSURE
from bot.domain.retries import LONGEST_PAUSE_S
from bot.ports import CardRecord, Settlement

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


def unsure_after(card: CardRecord, reason: str, now: float) -> str:
    """What stands instead of a card's digest when nobody answered a change; with a time where it may be made yet."""
    if reason == "timeout":
        return f"{UNSURE} {now:.0f}"
    return card.shown_digest if card.shown_digest.startswith((UNSURE, ONCE_MORE)) else ""


def undone_until(card: CardRecord) -> float:
    """Until when an earlier change may still be carried out, and undo what is shown now; 0 where there is none."""
    kind, _, since = card.shown_digest.rpartition(" ")
    return float(since) + FIRST_REPEAT_S if kind in (UNSURE, ONCE_MORE) else 0.0


def shown_for_now(card: CardRecord, shown: Settlement) -> Settlement:
    """How a change is settled that may be undone: an end stays wanted, to be shown once more."""
    since = card.shown_digest.rpartition(" ")[2]
    if not shown.shown_final:
        return replace(shown, shown_digest=f"{UNSURE} {since}")
    return replace(shown, shown_revision=(shown.shown_revision or 1) - 1, shown_digest=f"{ONCE_MORE} {since}")


def ends_at(card: CardRecord) -> float:
    """From when on a post in doubt that is not there will not be made any more."""
    return (card.attempt_started_at or 0.0) + lasts_s(card)


def next_look_at(card: CardRecord, now: float) -> float:
    """When the platform is asked next for a post that it does not know of."""
    return min(ends_at(card), now + max(LEAST_LOOK_S, now - (card.attempt_started_at or 0.0)))


def repeat_pause_s(tries: int) -> float:
    """How long a post that was hung up on waits where nobody can be asked for it: 1, 2, 4, then 5 minutes."""
    return float(min(LONGEST_PAUSE_S, FIRST_REPEAT_S * 2 ** min(tries - 1, 10)))
