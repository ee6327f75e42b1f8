"""Who holds a crew's hands: what hangs must not keep all of them from what would be done in a moment.

Work of one kin (the places of one account, the commands that ask a source) hangs together when the system behind it
does. So one kin leaves some hands to others. And a piece that takes long is done aside: it counts no more among the
crew's hands, as far as there is room on the bench.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

SLOW_S = 1.0


@dataclass(frozen=True, slots=True)
class Shares:
    """How many pieces may be taken up: `room` in all, and of each kin so many that it holds no more than `each`."""

    room: int
    each: int
    held: Mapping[str, int] = field(default_factory=dict)

    def taker(self) -> Callable[[str], bool]:
        """Counts one more piece of a kin each time it is asked; False where the kin holds its share already."""
        taken: Counter[str] = Counter(self.held)

        def take(kin: str) -> bool:
            if taken[kin] >= self.each:
                return False
            taken[kin] += 1
            return True

        return take

    @property
    def is_tight(self) -> bool:
        """Whether there may be work that is due and that nobody may take up."""
        return any(count >= self.each for count in self.held.values())


class Hands:
    """The pieces that a crew has in hand, by ticket; not thread-safe.

    `size` are done at a time, of one kin all but `spare`; `bench` more while they are slow, the same there.
    """

    def __init__(self, size: int, *, spare: int = 0, bench: int = 0) -> None:
        self.size, self.bench = size, bench
        self._spare = spare
        self._pieces: dict[int, tuple[str, float]] = {}

    @property
    def tickets(self) -> frozenset[int]:
        """The pieces in hand."""
        return frozenset(self._pieces)

    def add(self, ticket: int, kin: str, now: float) -> None:
        """A piece is begun."""
        self._pieces[ticket] = kin, now

    def remove(self, ticket: int) -> None:
        """It has ended."""
        del self._pieces[ticket]

    def shares(self, now: float) -> Shares:
        """What may be taken up at `now`."""
        busy: Counter[str] = Counter()
        aside: Counter[str] = Counter()
        for kin, since in self._pieces.values():
            has_room = aside.total() < self.bench and aside[kin] < self.bench - self._spare
            (aside if now - since >= SLOW_S and has_room else busy)[kin] += 1
        return Shares(max(0, self.size - busy.total()), self.size - self._spare, busy)

    def is_stuck(self, now: float, stuck_s: float) -> bool:
        """Whether nothing more can be taken up, and all that is in hand was begun longer ago than that."""
        begun = [since for _, since in self._pieces.values()]
        return not self.shares(now).room and all(now - since > stuck_s for since in begun)
