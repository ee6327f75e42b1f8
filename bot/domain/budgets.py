"""Rate budgets: numbers shared by all workers through the database, and what follows from them. No clock, no storage.

A place is called by one worker at a time, so one number paces it (`Budget`, virtual scheduling, GCRA). An account is
called by many at once, so its calls are counted (`Window`): one that is under way counts until it has ended, whoever
makes it, and so no window of the platform's can hold more than the limit, however long calls take.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Self

LONGEST_CALL_S = 30.0  # after which nobody makes a call any more that was taken out of a budget: a worker's lease
MARGIN_S = 0.25  # workers' clocks differ by less than half of it
_TICKS = 60  # a window is counted in so many parts


@dataclass(frozen=True, slots=True)
class Budget:
    """A rate for one place: `burst` calls at once, then one each `interval_s` seconds; 0 lifts it.

    The stored number is the theoretical arrival time of the next call (seconds since 1970). A call may go when that
    time is at most `burst - 1` intervals ahead of now; when it has ended the number moves on by one. In any window of
    W seconds at most `burst + W / interval_s` calls go.
    """

    scope: str
    interval_s: float
    burst: int = 1

    @classmethod
    def per_minute(cls, scope: str, calls: int, *, burst: int = 1) -> Budget:
        """At most `calls` in any 60 seconds, up to `burst` of them at once, which is less than `calls` from two on."""
        if calls == 1:
            return cls(scope, 60.0)
        return cls(scope, 60.0 / (calls - burst), burst)

    def ready_at(self, arrival: float) -> float:
        """The earliest time for the next call when the stored arrival time is `arrival`."""
        return arrival - self.interval_s * (self.burst - 1)

    def after(self, arrival: float, now: float) -> float:
        """The arrival time to store when a call has ended at `now`."""
        return max(arrival, now) + self.interval_s


@dataclass(frozen=True, slots=True)
class Spent:
    """The calls that count in a window: how many by the tick in which each was received at the latest."""

    ticks: tuple[tuple[int, int], ...] = ()

    @property
    def count(self) -> int:
        """How many they are."""
        return sum(count for _, count in self.ticks)

    @classmethod
    def from_json(cls, stored: Sequence[Sequence[int]]) -> Self:
        """The reverse of `to_json`."""
        return cls(tuple((tick, count) for tick, count in stored))

    def to_json(self) -> list[list[int]]:
        """JSON values for the database."""
        return [[tick, count] for tick, count in self.ticks]


@dataclass(frozen=True, slots=True)
class Window:
    """A rate for one scope of an account: at most `calls` within any `per_s` seconds, all at once where need be.

    `reserve` (0 to 1), where it is asked for, is the share of the calls that must be left to more important ones.
    """

    scope: str
    calls: int
    per_s: float = 60.0

    def fresh(self, spent: Spent, now: float) -> Spent:
        """What still counts at `now`; what a clock that was set back left in the future counts as under way."""
        newest, oldest = self._tick(now + LONGEST_CALL_S), now - self.per_s - MARGIN_S
        return _joined((min(tick, newest), count) for tick, count in spent.ticks if self._time(tick) > oldest)

    def room(self, spent: Spent, *, reserve: float = 0.0) -> int:
        """How many more calls may go; below zero where a reserve is used already."""
        return self._usable(reserve) - spent.count

    def opens_at(self, spent: Spent, now: float, *, ahead: int = 0, reserve: float = 0.0) -> float:
        """When a call can go that `ahead` others go before, if calls end at once; `now` where there is room."""
        usable, room = self._usable(reserve), self.room(spent, reserve=reserve)
        lacking = ahead + 1 - room
        if lacking <= 0:
            return now
        ends = [self._time(tick) + self.per_s + MARGIN_S for tick, count in spent.ticks for _ in range(count)]
        counts_for_s = self.per_s + MARGIN_S + self._time(1)
        ends = sorted([min(end, now + counts_for_s) for end in ends] + [now + counts_for_s] * room)
        if lacking <= len(ends):
            return ends[lacking - 1]
        rounds, at = divmod(lacking - len(ends) - 1, usable)
        return ends[-usable:][at] + (rounds + 1) * counts_for_s

    def take(self, spent: Spent, now: float) -> tuple[Spent, int]:
        """Count one more call, which is under way from now on, and how it is named to `settle` and `give_back`."""
        held = self._tick(now + LONGEST_CALL_S)
        return _joined([*spent.ticks, (held, 1)]), held

    def settle(self, spent: Spent, held: int, now: float) -> Spent:
        """The call has ended at `now`: it was received no later."""
        return _joined([*self.give_back(spent, held).ticks, (self._tick(now), 1)])

    def give_back(self, spent: Spent, held: int) -> Spent:
        """The call was not made after all; nothing happens where it is not known any more."""
        return _joined((tick, count - 1 if tick == held else count) for tick, count in spent.ticks)

    def _usable(self, reserve: float) -> int:
        return max(1, int(self.calls * (1.0 - reserve)))

    def _tick(self, at: float) -> int:
        return math.ceil(at * _TICKS / self.per_s)

    def _time(self, tick: int) -> float:
        return tick * self.per_s / _TICKS


def _joined(ticks: Iterable[tuple[int, int]]) -> Spent:
    """Each tick once, in their order, those that hold nothing left out."""
    counts: Counter[int] = Counter()
    for tick, count in ticks:
        counts[tick] += count
    return Spent(tuple(sorted((tick, count) for tick, count in counts.items() if count > 0)))
