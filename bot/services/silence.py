"""Which accounts of the chat platforms do not answer, as far as this process has seen: a hint, not a truth."""

from __future__ import annotations

from enum import Enum, auto

from bot.domain.places import Place
from bot.ports import CardRecord

LONG_S = 30.0
IN_VAIN_S = 60.0
ASK_EVERY_S = 15.0
LONG_TRIES = 5  # in vain, with their pauses they took about as long


class Heard(Enum):
    """What an answer of an account tells: nothing new, that what failed there may go now, or the end of a silence."""

    NOTHING_NEW = auto()
    ANSWERS_AGAIN = auto()
    SILENCE_ENDED = auto()


class Silence:
    """Since when accounts give no answer, and whether it helps to ask them something first.

    What is only asked leaves no doubt when no answer comes. So a new post at a silent account is preceded by a
    question. Otherwise an outage would leave each of its cards in doubt, and the platform would have to be asked for
    every one of them when it is back.
    """

    def __init__(self) -> None:
        self._since: dict[str, float] = {}
        self._in_vain_until: dict[str, float] = {}
        self._heard_at: dict[str, float] = {}
        self._hurried_at: dict[str, float] = {}
        self._asked_next_at: dict[str, float] = {}

    def asks_first_at(self, place: Place, now: float) -> bool:
        """Whether a new post at a place is to be preceded by a question."""
        account = place.whole_account
        return account in self._since and now >= self._in_vain_until.get(account, 0.0)

    def begin(self, place: Place, now: float, *, was_asked: bool) -> None:
        """No answer came; where the account `was_asked` first and did answer that, it is not asked for a while."""
        self._since.setdefault(place.whole_account, now)
        if was_asked:
            self._in_vain_until[place.whole_account] = now + IN_VAIN_S

    def asks_again_at(self, place: Place, now: float) -> float | None:
        """When a card that got no answer is to find out whether its account is back.

        None where another card does so, or where the account answered of late: then the card's place is to blame.
        """
        account, next_at = place.whole_account, now + ASK_EVERY_S
        others_at = self._asked_next_at.get(account, 0.0)
        if self._has_answered_within(ASK_EVERY_S, account, now) or now < others_at <= next_at:
            return None
        self._asked_next_at[account] = next_at
        return next_at

    def end(self, place: Place, card: CardRecord, now: float) -> Heard:
        """An answer came, for a card as it was before.

        What others saw of the silence, or this process before it was started, is told by the card's tries.
        """
        account = place.whole_account
        is_long = now - self._since.pop(account, now) >= LONG_S
        was_heard = self._has_answered_within(LONG_S, account, now)
        self._heard_at[account] = now
        waited_long = card.tries >= LONG_TRIES and card.reason.startswith("failed:")
        if is_long or (waited_long and now - self._hurried_at.get(account, float("-inf")) >= LONG_S):
            self._hurried_at[account] = now
            return Heard.SILENCE_ENDED if is_long or not was_heard else Heard.ANSWERS_AGAIN
        return Heard.NOTHING_NEW

    def _has_answered_within(self, seconds: float, account: str, now: float) -> bool:
        """Of a clock that was set back nothing is concluded."""
        return 0.0 <= now - self._heard_at.get(account, float("-inf")) < seconds
