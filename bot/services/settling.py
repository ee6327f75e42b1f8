"""What was done is recorded, also where the database is away for moments right after it.

A call that was made and is not on record is a doubt: whoever takes the work up has to ask what came of it, and only
when the lease has run out. So whoever made it tries to record it again and again, as long as the lease surely holds.
Nothing is doubled by that. What is recorded is tied to the lease, and where the answer to a commit was lost, so that
nobody knows whether it is recorded already, recording it once more changes nothing.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from itertools import chain, repeat
from time import monotonic
from typing import Protocol, TypeVar

from bot.errors import StorageUnavailable
from bot.ports import Arrival, Store, Transaction, Writing
from bot.telemetry import RECORDED_LATE, UNRECORDED, logger

T = TypeVar("T")
PAUSES_S = (0.1, 0.2, 0.4, 0.8, 1.0)  # the last one again and again

log = logger(__name__)


class Leased(Protocol):
    """Work, or a place, that is taken under a lease."""

    @property
    def held_until(self) -> float:
        """See `bot.ports.JobRecord`."""
        ...


def held_for(lease_s: float) -> float:
    """Until when a lease surely holds that is asked for from now on, whatever becomes of the clock meanwhile."""
    return monotonic() + lease_s


class Settling:
    """A store where what was done under a lease is recorded; once stopped, all is tried once more and no longer."""

    def __init__(self, store: Store, *, pauses_s: Sequence[float] = PAUSES_S) -> None:
        self._store = store
        self._pauses_s = tuple(pauses_s)
        self._is_over = threading.Event()

    @classmethod
    def of(cls, store: Store) -> Settling:
        """One that can be stopped for all who share it, where the store is one, else one of the caller's own."""
        return store if isinstance(store, cls) else cls(store)

    def start(self) -> None:
        """Nothing runs by itself."""

    def stop(self) -> None:
        """Let nobody wait any more for a database that is away: the process ends."""
        self._is_over.set()

    def write(self, work: Callable[[Transaction], T], arrival: Arrival | None = None, *, is_patient: bool = True) -> T:
        """See `Store.write`."""
        return self._store.write(work, arrival, is_patient=is_patient)

    def submit(self, work: Callable[[Transaction], T], arrival: Arrival | None = None) -> Writing[T]:
        """See `Store.submit`."""
        return self._store.submit(work, arrival)

    def read(self, work: Callable[[Transaction], T]) -> T:
        """See `Store.read`."""
        return self._store.read(work)

    def settle(self, leased: Leased, work: Callable[[Transaction], T]) -> T:
        """`write`, tried on as `insist` does; `work` must be safe to repeat where it was committed already."""
        return self.insist(leased, lambda: self._store.write(work))

    def insist(self, leased: Leased, act: Callable[[], T]) -> T:
        """Do something with the database; StorageUnavailable when that cannot be done before the lease ends."""
        try:
            return act()
        except StorageUnavailable as problem:
            with UNRECORDED.track_inprogress():
                return self._try_on(leased, act, problem)

    def _try_on(self, leased: Leased, act: Callable[[], T], problem: StorageUnavailable) -> T:
        begun_at = monotonic()
        for tries, pause_s in enumerate(chain(self._pauses_s, repeat(self._pauses_s[-1]))):
            if self._is_over.is_set() or monotonic() + pause_s > leased.held_until:
                break
            if tries == 0:
                log.warning("what was done is not recorded yet, trying on", error=problem)
            self._is_over.wait(pause_s)
            try:
                result = act()
            except StorageUnavailable as again:
                problem = again
                continue
            RECORDED_LATE.labels("recorded").inc()
            log.info("what was done is recorded now", late_s=round(monotonic() - begun_at, 1))
            return result
        RECORDED_LATE.labels("not").inc()
        raise problem
