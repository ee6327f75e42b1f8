"""Answers to people out of the budgets that cards have: a person waits at most moments, and no limit is passed.

An answer takes its place as a card does, for one call at a time, and its account's windows before all that wait there.
What has to wait is put off like an answer that the platform would not take.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace

from bot.domain.places import Capabilities, Operation, Place
from bot.errors import RateLimited, StorageUnavailable
from bot.ports import Clock, DestinationLease, Messenger, Store, Transaction
from bot.services.budgeting import Held, settle, take_at_once, windows_of
from bot.services.owed import BUDGET
from bot.services.planning import LEASE_S
from bot.services.settling import Settling, held_for
from bot.telemetry import logger

LIMITED = "paused:rate_limited"

log = logger(__name__)


@dataclass(frozen=True, slots=True)
class _Taken:
    """A call that may be made now; `lease` is None where the place's own pace does not count it."""

    lease: DestinationLease | None
    calls: tuple[Held, ...]


class AnswerBudget:
    """Counts calls that answer people, with those that show cards."""

    def __init__(self, store: Store, clock: Clock, messengers: Mapping[str, Messenger]) -> None:
        self._settling = Settling.of(store)
        self._store = store
        self._clock = clock
        self._messengers = dict(messengers)

    @contextmanager
    def made(self, place: Place, operation: Operation) -> Iterator[None]:
        """See `Calls`."""
        capabilities = self._messengers[place.platform].capabilities(place)
        held_until, now = held_for(LEASE_S), self._now()
        taken = self._store.write(lambda tx: _take(tx, place, operation, capabilities, now))
        if not isinstance(taken, _Taken):
            raise RateLimited(place.platform, BUDGET, max(0.0, taken - now))
        if taken.lease is not None:
            taken = replace(taken, lease=replace(taken.lease, held_until=held_until))
        limit: RateLimited | None = None
        try:
            yield
        except RateLimited as problem:
            limit = problem
            raise
        finally:
            self._settle(taken, capabilities, limit)

    def _settle(self, taken: _Taken, capabilities: Capabilities, limit: RateLimited | None) -> None:
        """The call has ended; a pause that the platform asked for is kept by all."""
        now, pace, lease = self._now(), capabilities.place_budget, taken.lease
        pause_ends = now + limit.retry_after_s if limit is not None and limit.retry_after_s else 0.0
        is_of_account = limit is not None and limit.scope == "account" and bool(taken.calls)

        def work(tx: Transaction) -> None:
            is_held = True
            if lease is not None:
                arrival = pace.after(lease.arrival, now)
                is_paused = pause_ends > now and not is_of_account
                free_at = max(pace.ready_at(arrival), pause_ends if is_paused else 0.0)
                reason = LIMITED if is_paused else ""
                is_held = tx.pacing.release(lease, arrival=arrival, free_at=free_at, reason=reason)
            if is_held:
                settle(tx, taken.calls, was_made=True, now=now)
            if is_of_account:
                tx.pacing.pause(taken.calls[0].window.scope, pause_ends)

        try:
            # Without a lease it cannot be told whether it is settled already.
            self._store.write(work) if lease is None else self._settling.settle(lease, work)
        except StorageUnavailable as problem:  # the call was made: what it took is free when its lease ends
            log.warning("an answer's call is not settled", error=problem)

    def _now(self) -> float:
        return self._clock.now().timestamp()


def _take(
    tx: Transaction, place: Place, operation: Operation, capabilities: Capabilities, now: float
) -> _Taken | float:
    """The call, or when it may be asked for again."""
    lease = None
    if operation is not Operation.WHISPER:  # platforms pace what all see there
        leased = tx.pacing.lease(place.key, capabilities.place_budget, now, now + LEASE_S)
        if not isinstance(leased, DestinationLease):
            return leased
        lease = leased
    windows = windows_of(operation, capabilities, asks_first=False)
    calls = take_at_once(tx, windows, f"answer:{place.key}"[:200], now=now)
    if isinstance(calls, tuple):
        return _Taken(lease, calls)
    if lease is not None:
        tx.pacing.release(lease, arrival=lease.arrival, free_at=None, reason="")
    return calls.until
