"""Accounts' budgets: whether a call may go now, who is next where none may, and what came of it.

Each window has a line. What is urgent (new cards, final states, notices) goes before progress; within both whoever
waits longest goes first. A destination stands in line once, however much is wanted there, and goes to the end when it
was served: so the busiest channel gets no more than any other that waits. Whose turn has come and who does not come
itself is passed by after a moment.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

from bot.domain.budgets import Window
from bot.domain.places import Capabilities, Operation, Place
from bot.errors import OutcomeUnknown, RateLimited, StorageUnavailable
from bot.ports import Store, Transaction
from bot.ports.budgets import BudgetReport, BudgetState, Turn
from bot.services.owed import BUDGET
from bot.telemetry import BUDGET_AVAILABLE, BUDGET_PAUSED, BUDGET_WAITING, BUDGET_WAITS, logger

PROGRESS_RESERVE = 0.5
PATIENCE_S = 3.0  # for one whose turn has come
LOOK_S = 15.0  # at least so often the turn is judged anew, for those ahead may not come
LEAST_WAIT_S = 0.25
TOO_MANY = "too_many_pages"
FIRST = 0.0  # since when an answer stands in line: before all others

log = logger(__name__)


@dataclass(frozen=True, slots=True)
class Held:
    """A call that counts in a window from now on, after its destination waited in line for `waited_s`."""

    window: Window
    tick: int
    waited_s: float


@dataclass(frozen=True, slots=True)
class Refusal:
    """Until when a call waits, and why."""

    until: float
    reason: str


def windows_of(operation: Operation, capabilities: Capabilities, *, asks_first: bool) -> tuple[Window, ...]:
    """The windows that an attempt counts in, in the one order in which all workers lock them."""
    found = [*capabilities.account_budgets.get(operation, ())]
    if asks_first:
        found += capabilities.account_budgets.get(Operation.FIND, ())
    by_scope = {window.scope: window for window in found}
    return tuple(by_scope[scope] for scope in sorted(by_scope))


def take(
    tx: Transaction, windows: Sequence[Window], destination: str, *, is_urgent: bool, now: float
) -> tuple[Held, ...] | Refusal:
    """Count a call in all its windows, or in none: then its destination waits in line for those that have no room."""
    reserve = 0.0 if is_urgent else PROGRESS_RESERVE
    asked: list[tuple[Window, BudgetState, Turn]] = []
    refusals = []
    for window in windows:
        state = tx.budgets.open(window)
        spent = window.fresh(state.spent, now)
        turn = tx.budgets.turn(window.scope, destination, is_urgent=is_urgent, now=now)
        asked.append((window, BudgetState(spent, state.paused_until), turn))
        if state.paused_until > now or turn.ahead >= window.room(spent, reserve=reserve):
            opens_at = window.opens_at(spent, now, ahead=turn.ahead, reserve=reserve)
            until = max(state.paused_until, min(now + LOOK_S, max(opens_at, now + LEAST_WAIT_S)))
            reason = "paused:rate_limited" if state.paused_until > now else "paused:budget"
            refusals.append(Refusal(until, reason))
            tx.budgets.store(window, spent, now)
            tx.budgets.line_up(window.scope, destination, is_urgent=is_urgent, now=now, until=until + PATIENCE_S)
    if refusals:
        return max(refusals, key=lambda refusal: refusal.until)
    return tuple(_take(tx, window, state, turn, destination, now) for window, state, turn in asked)


def take_at_once(tx: Transaction, windows: Sequence[Window], waiter: str, *, now: float) -> tuple[Held, ...] | Refusal:
    """The same for an answer to a person, which goes before all that stand in line.

    `waiter` is a name that no destination has. Of answers whoever comes first goes first.
    """
    asked: list[tuple[Window, BudgetState]] = []
    refusals = []
    for window in windows:
        state = tx.budgets.open(window)
        state = BudgetState(window.fresh(state.spent, now), state.paused_until)
        asked.append((window, state))
        if state.paused_until > now or window.room(state.spent) <= 0:
            opens_at = max(window.opens_at(state.spent, now), now + LEAST_WAIT_S)
            refusals.append(Refusal(max(state.paused_until, opens_at), "paused:budget"))
            tx.budgets.store(window, state.spent, now)
            until = refusals[-1].until + PATIENCE_S
            tx.budgets.line_up(window.scope, waiter, is_urgent=True, now=FIRST, until=until)
    if refusals:
        return max(refusals, key=lambda refusal: refusal.until)
    return tuple(_take(tx, window, state, Turn(0, now), waiter, now) for window, state in asked)


def take_more(
    tx: Transaction, windows: Sequence[Window], destination: str, *, made: int, now: float
) -> tuple[Held, ...] | Refusal:
    """The same for one more call of an attempt that has `made` some: what it has begun goes before all others.

    Where there is no room more than it made are kept free, so that the next attempt, which begins anew, comes further:
    up to half of the window, and all of it for one that has used half of it already.
    """
    asked = []
    refusals = []
    for window in windows:
        state = tx.budgets.open(window)
        state = BudgetState(window.fresh(state.spent, now), state.paused_until)
        asked.append((window, state))
        if state.paused_until > now or window.room(state.spent) <= 0:
            kept = _kept(window, made)
            opens_at = window.opens_at(state.spent, now, ahead=kept)
            until = max(state.paused_until, opens_at, now + LEAST_WAIT_S)
            refusals.append(Refusal(until, "paused:budget"))
            tx.budgets.store(window, state.spent, now)
            for name in (destination, *(_further(destination, number) for number in range(1, kept + 1))):
                tx.budgets.line_up(window.scope, name, is_urgent=True, now=FIRST, until=until + PATIENCE_S)
    if refusals:
        return max(refusals, key=lambda refusal: refusal.until)
    return tuple(_take(tx, window, state, Turn(0, now), _further(destination, made), now) for window, state in asked)


def _kept(window: Window, made: int) -> int:
    """How many calls are kept free for an attempt beside its first one, which made so many and was not at its end."""
    half = window.calls // 2
    return window.calls - 1 if made >= half else min(2 * made, half)


def _further(destination: str, number: int) -> str:
    """A name in the line that no destination has."""
    return f"more{number}:{destination}"[:200]


class FurtherCalls:
    """The calls of an attempt after its first one, out of budgets; `held` is what was taken. To be called before each.

    `RateLimited` where there is no room, OutcomeUnknown where there never is: the attempt takes all that there are.
    """

    def __init__(self, store: Store, place: Place, windows: Sequence[Window], now: Callable[[], float]) -> None:
        self._store = store
        self._place = place
        self._windows = windows
        self._now = now
        self._made = 0
        self.held: list[Held] = []

    def __call__(self) -> None:
        """Take one more."""
        self._made += 1
        if not self._windows:
            return
        now, made = self._now(), self._made
        if made >= min(window.calls for window in self._windows):  # waiting would be for ever
            raise OutcomeUnknown(self._place.platform, TOO_MANY, "more calls than the budget ever holds")
        calls = self._store.write(lambda tx: take_more(tx, self._windows, self._place.key, made=made, now=now))
        if isinstance(calls, Refusal):
            raise RateLimited(self._place.platform, BUDGET, calls.until - now)
        self.held += calls


def _take(tx: Transaction, window: Window, state: BudgetState, turn: Turn, destination: str, now: float) -> Held:
    spent, tick = window.take(state.spent, now)
    tx.budgets.store(window, spent, now, served=None if turn.since is None else destination)
    return Held(window, tick, now - turn.since if turn.since else 0.0)  # who goes before all waits for nobody


def settle(tx: Transaction, calls: Sequence[Held], *, was_made: bool, now: float) -> None:
    """Calls that were held have ended, or were not made after all."""
    for call in calls:
        spent = call.window.fresh(tx.budgets.open(call.window).spent, now)
        ended = call.window.settle(spent, call.tick, now) if was_made else call.window.give_back(spent, call.tick)
        tx.budgets.store(call.window, ended, now)


def end(store: Store, calls: Sequence[Held], *, was_made: bool, now: float) -> None:
    """The same in a transaction of its own: what became of the calls waits for nobody who looks at budgets.

    Where it cannot be stored now they count as under way until nobody could have made them later.
    """
    if not calls:
        return
    try:
        store.write(lambda tx: settle(tx, calls, was_made=was_made, now=now), is_patient=False)
    except StorageUnavailable as problem:
        log.warning("calls that have ended are counted as under way", error=problem)


def count(calls: Collection[Held]) -> None:
    """Tell the metrics how long calls waited, once it is committed that they may go."""
    for call in calls:
        BUDGET_WAITS.labels(call.window.scope).observe(call.waited_s)


def reports(store: Store, now: float) -> Sequence[BudgetReport]:
    """How all budgets stand; StorageUnavailable when the database does not say."""
    return store.read(lambda tx: tx.budgets.report(now))


def show(reports: Sequence[BudgetReport], now: float) -> None:
    """Set the gauges of all budgets to what was reported."""
    for gauge in (BUDGET_AVAILABLE, BUDGET_WAITING, BUDGET_PAUSED):
        gauge.clear()
    for one in reports:
        BUDGET_PAUSED.labels(one.scope).set(max(0.0, one.state.paused_until - now))
        if one.window is not None:
            BUDGET_AVAILABLE.labels(one.scope).set(max(0, one.window.room(one.state.spent)))
            BUDGET_WAITING.labels(one.scope).set(one.waiting)
