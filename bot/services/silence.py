"""Which accounts of the chat platforms do not answer, as far as this process has seen: a hint, not a truth."""

from __future__ import annotations

from bot.domain.places import Place

LONG_S = 30.0
IN_VAIN_S = 60.0


class Silence:
    """Since when accounts give no answer, and whether it helps to ask them something first.

    What is only asked leaves no doubt when no answer comes. So a new post at a silent account is preceded by a
    question. Otherwise an outage would leave each of its cards in doubt, and the platform would have to be asked for
    every one of them when it is back.
    """

    def __init__(self) -> None:
        self._since: dict[str, float] = {}
        self._in_vain_until: dict[str, float] = {}

    def asks_first_at(self, place: Place, now: float) -> bool:
        """Whether a new post at a place is to be preceded by a question."""
        account = place.whole_account
        return account in self._since and now >= self._in_vain_until.get(account, 0.0)

    def begin(self, place: Place, now: float, *, was_asked: bool) -> None:
        """No answer came; where the account `was_asked` first and did answer that, it is not asked for a while."""
        self._since.setdefault(place.whole_account, now)
        if was_asked:
            self._in_vain_until[place.whole_account] = now + IN_VAIN_S

    def end(self, place: Place, now: float) -> bool:
        """An answer came; whether none had come for so long that it is worth while to hurry."""
        since = self._since.pop(place.whole_account, now)
        return now - since >= LONG_S
