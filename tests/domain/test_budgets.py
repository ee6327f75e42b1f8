"""Budgets: whatever happens and however long calls take, no window of a platform's holds more than it allows."""

from __future__ import annotations

import heapq
from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bot.domain.budgets import LONGEST_CALL_S, MARGIN_S, Budget, Spent, Window

NOW = 1_763_697_600.0
EPSILON_S = 1e-6  # what arithmetic of such large numbers loses
RESERVE = 0.5


def most_in_any(times: list[float], window_s: float) -> int:
    """The most calls that any window of that length holds, both of its ends included."""
    ordered = sorted(times)
    return max((sum(first <= at <= first + window_s - EPSILON_S for at in ordered) for first in ordered), default=0)


# --- a place: one call at a time


@given(
    calls=st.integers(2, 40),
    burst=st.integers(1, 39),
    steps=st.lists(st.tuples(st.floats(0, 90), st.floats(0, 1), st.floats(0, 10), st.booleans()), max_size=120),
)
@example(calls=2, burst=1, steps=[(0.0, 0.0, 0.0, True)] * 4)
def test_a_place_never_gets_more_in_a_minute(
    calls: int, burst: int, steps: list[tuple[float, float, float, bool]]
) -> None:
    """Calls that begin as soon as they may, or later, and are received at any time before they end.

    Of one whose worker dies nothing is noted, and the place is called again when its lease has ended: each death may
    cost the place one call beyond its rate.
    """
    budget = Budget.per_minute("place", calls, burst=min(burst, max(1, calls - 1)))
    now, arrival = NOW, 0.0
    received = []
    for idle_s, share, lasts_s, dies in steps:
        now = max(now + (idle_s if idle_s > 45 else 0.0), budget.ready_at(arrival))
        received.append(now + share * lasts_s)
        now += LONGEST_CALL_S if dies else lasts_s
        arrival = arrival if dies else budget.after(arrival, now)
    assert most_in_any(received, 60.0) <= calls + sum(dies for *_, dies in steps)


def test_a_place_takes_its_burst_at_once_and_then_keeps_its_pace() -> None:
    """Five at once, then one each four seconds, for twenty in a minute."""
    budget = Budget.per_minute("place", 20, burst=5)
    arrival, times = 0.0, []
    for _ in range(10):
        now = max(NOW, budget.ready_at(arrival))
        times.append(now - NOW)
        arrival = budget.after(arrival, now)
    assert times[:5] == [0.0] * 5
    assert [later - earlier for earlier, later in pairwise(times[4:])] == [pytest.approx(4.0)] * 5


# --- an account: many calls at once


class Account:
    """An account's window as workers use it, and what the platform behind it receives; times only go on."""

    def __init__(self, window: Window) -> None:
        self.window, self.spent, self.now = window, Spent(), NOW
        self.received: list[float] = []
        self.progress: list[float] = []
        self._ends: list[tuple[float, int]] = []

    def call(self, lasts_s: float, share: float, *, is_progress: bool, fate: str) -> bool:
        """Make a call if there is room; it may end, never be made, or be made by a worker that dies."""
        fresh = self.window.fresh(self.spent, self.now)
        if self.window.room(fresh, reserve=RESERVE if is_progress else 0.0) < 1:
            return False
        self.spent, held = self.window.take(fresh, self.now)
        if fate == "not made":
            self.spent = self.window.give_back(self.spent, held)
            return True
        self.received.append(self.now + share * lasts_s)
        if is_progress:
            self.progress.append(self.now + share * lasts_s)
        if fate == "ends":
            heapq.heappush(self._ends, (self.now + lasts_s, held))
        return True

    def pass_on(self, seconds: float) -> None:
        """Let time pass, and calls end meanwhile."""
        until = self.now + seconds
        while self._ends and self._ends[0][0] <= until:
            self.now, held = heapq.heappop(self._ends)
            self.spent = self.window.settle(self.window.fresh(self.spent, self.now), held, self.now)
        self.now = until


CALLS = st.tuples(
    st.floats(0, 15),  # seconds since the one before
    st.floats(0, LONGEST_CALL_S - 1),  # how long it takes
    st.floats(0, 1),  # when in that time it is received
    st.booleans(),  # whether it is progress
    st.sampled_from(["ends", "ends", "ends", "dies", "not made"]),
)


@given(calls=st.integers(1, 12), per_s=st.sampled_from([1.0, 30.0, 60.0]), steps=st.lists(CALLS, max_size=150))
def test_an_account_never_gets_more_in_any_window(
    calls: int, per_s: float, steps: list[tuple[float, float, float, bool, str]]
) -> None:
    """Calls of many workers at once, slow ones and lost ones: all of them within the limit, progress within its half.

    And nothing is lost for good: when all is quiet again the whole window can be used.
    """
    account = Account(Window("account", calls, per_s))
    for pause_s, lasts_s, share, is_progress, fate in steps:
        account.pass_on(pause_s * per_s / 60)
        account.call(lasts_s, share, is_progress=is_progress, fate=fate)
    assert most_in_any(account.received, per_s) <= calls
    assert most_in_any(account.progress, per_s) <= max(1, calls // 2)
    account.pass_on(LONGEST_CALL_S + 2 * per_s + 1)
    assert account.window.room(account.window.fresh(account.spent, account.now)) == calls


@given(spent=st.lists(st.floats(0, 60), max_size=40), ahead=st.integers(0, 90), has_reserve=st.booleans())
def test_a_call_that_waits_for_its_turn_can_go_then(spent: list[float], ahead: int, has_reserve: bool) -> None:
    """At the time that is named there is room, though those ahead have gone as early as they could; none before."""
    window, reserve = Window("account", 20), RESERVE if has_reserve else 0.0
    taken = Spent()
    for ago_s in sorted(spent, reverse=True)[:20]:
        taken = window.settle(*window.take(taken, NOW - ago_s), NOW - ago_s)
    here = window.fresh(taken, NOW)
    times = [window.opens_at(here, NOW, ahead=place, reserve=reserve) for place in range(ahead + 1)]
    assert times == sorted(times)
    if times[0] > NOW:
        assert window.room(window.fresh(here, times[0] - EPSILON_S), reserve=reserve) < 1
    for at in times:
        now = at + EPSILON_S
        here = window.fresh(here, now)
        assert window.room(here, reserve=reserve) >= 1
        here = window.settle(*window.take(here, now), now)


def test_an_account_takes_all_its_calls_at_once() -> None:
    """Fifty a minute are fifty at once, and fifty more a minute later."""
    window, spent = Window("account", 50), Spent()
    for now in (NOW, NOW + 61.5):
        spent = window.fresh(spent, now)
        for _ in range(50):
            assert window.room(spent) > 0
            spent = window.settle(*window.take(spent, now), now)
        assert window.room(spent) == 0


def test_half_of_an_account_is_left_to_what_is_urgent() -> None:
    """Progress stops at half of the calls; a final state goes all the same."""
    window, spent = Window("account", 10), Spent()
    while window.room(spent, reserve=RESERVE) > 0:
        spent, _ = window.take(spent, NOW)
    assert spent.count == 5
    assert window.room(spent) == 5


def test_a_clock_that_was_set_back_locks_nobody_out() -> None:
    """What was spent in the hour that comes again counts as under way, and no longer."""
    window, spent = Window("account", 2), Spent()
    for _ in range(2):
        spent = window.settle(*window.take(spent, NOW + 3600), NOW + 3600)
    spent = window.fresh(spent, NOW)
    assert window.room(spent) == 0
    assert window.room(window.fresh(spent, NOW + LONGEST_CALL_S + 60 + MARGIN_S + 1)) == 2


def test_what_is_spent_is_stored_and_read_again() -> None:
    """A few numbers, however many calls there were."""
    window, spent = Window("account", 6000), Spent()
    for number in range(3000):
        spent = window.settle(*window.take(spent, NOW + number / 60), NOW + number / 60)
    assert Spent.from_json(spent.to_json()) == spent
    assert len(spent.to_json()) <= 62
