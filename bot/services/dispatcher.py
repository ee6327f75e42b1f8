"""The worker's loop: sleep until something is due, claim it, and hand it to a thread."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import count
from time import monotonic
from typing import Any, Protocol, Self

from bot.errors import ShipmateError
from bot.ports import Clock, Store, Transaction
from bot.services.hands import Hands, Shares
from bot.services.leaps import Leaps
from bot.services.signal import Signal
from bot.stopping import STOP_S
from bot.telemetry import logger

LONGEST_SLEEP_S = 1.0
SHORTEST_SLEEP_S = 0.02
FULL_SLEEP_S = 0.25
STUCK_S = 120.0

log = logger(__name__)


class Worker(Protocol):
    """Something that takes work under a lease of `lease_s` and carries it out."""

    lease_s: float

    def claim(self, limit: int) -> Sequence[Any]:
        """Take up to `limit` pieces of due work."""
        ...

    def carry_out(self, work: Any) -> None:  # noqa: ANN401 - what `claim` gave
        """Do one piece, to its settling."""
        ...

    def put_off(self, work: Any) -> None:  # noqa: ANN401 - what `claim` gave
        """Let a piece rest whose doing raised what nobody expected; each worker bounds how often it is tried."""
        ...


class SharedWorker(Worker, Protocol):
    """A worker whose pieces are of several kins, none of which may have all hands."""

    def claim(self, limit: int, shares: Shares = ...) -> Sequence[Any]:
        """Take up to `limit` pieces of due work, of each kin what `shares` leave it."""
        ...

    def kin_of(self, work: Any) -> str:  # noqa: ANN401 - what `claim` gave
        """What a piece hangs together with."""
        ...


@dataclass(frozen=True, slots=True)
class Crew:
    """A worker and how many pieces it may have in hand; `name` is that of the work in `_dues`.

    `bench` pieces more that take long; where the worker is `shared`, one kin leaves so many of either to others.
    """

    name: str
    worker: Worker
    size: int
    bench: int = 0
    spare: int = 0
    shared: SharedWorker | None = None

    @classmethod
    def of(cls, name: str, worker: SharedWorker, size: int, bench: int, spare: int) -> Self:
        """A crew whose hands are shared out."""
        return cls(name, worker, size, bench, spare, worker)

    def claim(self, shares: Shares) -> Sequence[Any]:
        """Take work for the hands that are free."""
        return self.worker.claim(shares.room) if self.shared is None else self.shared.claim(shares.room, shares)

    def kin_of(self, work: Any) -> str:  # noqa: ANN401 - what `claim` gave
        """What a piece hangs together with."""
        return "" if self.shared is None else self.shared.kin_of(work)


class Dispatcher:
    """Runs the crews in one thread that claims and a pool a crew; `stop` drains what is in hand.

    `has_others`: see `Leaps`.
    """

    def __init__(
        self, store: Store, clock: Clock, signal: Signal, crews: Sequence[Crew], *, has_others: bool = False
    ) -> None:
        self._store = store
        self._clock = clock
        self._signal = signal
        self._crews = tuple(crews)
        self._pools = {
            crew.name: ThreadPoolExecutor(crew.size + crew.bench, thread_name_prefix=crew.name) for crew in crews
        }
        self._hands = {crew.name: Hands(crew.size, spare=crew.spare, bench=crew.bench) for crew in crews}
        self._rests_until: dict[str, float] = {}
        self._leaps = Leaps(has_others=has_others)
        self._tickets = count()
        self._lock = threading.Lock()
        self._is_stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="dispatcher", daemon=True)

    def start(self) -> None:
        """Begin to take work."""
        self._thread.start()

    def stop(self) -> None:
        """Take no more, finish what is in hand within 9 s (a call has 8); leases of the rest run out."""
        ends_at = monotonic() + STOP_S
        self._is_stopping.set()
        self._signal.wake()
        self._thread.join(STOP_S)
        for pool in self._pools.values():
            pool.shutdown(wait=False, cancel_futures=True)
        for pool in self._pools.values():
            for thread in list(pool._threads):
                thread.join(max(0.0, ends_at - monotonic()))

    def trouble(self) -> str | None:
        """Why no work is taken, for `/readyz`; None while all is well."""
        if self._is_stopping.is_set() or not self._thread.is_alive():
            return "the dispatcher does not run"
        now = self._now()
        with self._lock:
            for crew in self._crews:
                if self._hands[crew.name].is_stuck(now, STUCK_S):
                    return f"all workers of {crew.name} have been busy with one piece for over {STUCK_S:.0f} s"
        return None

    def _run(self) -> None:
        while not self._is_stopping.is_set():
            try:
                sleep_s = self._round()
            except ShipmateError as problem:
                log.warning("database not available, trying again", error=problem)
                sleep_s = LONGEST_SLEEP_S
            except Exception as problem:  # the thread's edge: if it ended, no work would ever be taken again
                log.exception("round failed", error=problem)
                sleep_s = LONGEST_SLEEP_S
            self._signal.wait(sleep_s)

    def _round(self) -> float:
        """Claim what is due; how long to sleep then."""
        dues = self._store.read(_dues)
        now = self._now()
        with self._lock:
            in_hand = frozenset(ticket for hands in self._hands.values() for ticket in hands.tickets)
        if self._leaps.forbids(now, in_hand):
            return LONGEST_SLEEP_S  # whoever ends a piece wakes the loop
        sleep_s = LONGEST_SLEEP_S
        for crew in self._crews:
            due = dues[crew.name]
            if due is None or self._leaps.others_may_hold(crew.worker.lease_s):
                continue
            wait_s = max(due - now, self._rests_until.get(crew.name, 0.0) - monotonic())
            if wait_s > 0:
                sleep_s = min(sleep_s, wait_s)
                continue
            with self._lock:
                shares = self._hands[crew.name].shares(now)
            is_idle = shares.room > 0 and not self._claim_for(crew, shares)
            # What is due may be of a kin that holds its share, or all hands may be full: who ends a piece wakes the
            # loop, and what takes long makes room by itself.
            is_full = not shares.room or (is_idle and shares.is_tight)
            sleep_s = min(sleep_s, FULL_SLEEP_S if is_full else SHORTEST_SLEEP_S)
        return sleep_s

    def _claim_for(self, crew: Crew, shares: Shares) -> int:
        """Take work for one crew; a crew whose claim fails rests, and the others do not wait for it."""
        try:
            taken = crew.claim(shares)
        except ShipmateError as problem:
            log.warning("nothing claimed, trying again", crew=crew.name, error=problem)
        except Exception as problem:  # the thread's edge: one crew's mistake must not stop the others
            log.exception("claim failed", crew=crew.name, error=problem)
        else:
            for work in taken:
                self._hand_over(crew, work)
            return len(taken)
        self._rests_until[crew.name] = monotonic() + LONGEST_SLEEP_S
        return 0

    def _hand_over(self, crew: Crew, work: object) -> None:
        ticket = next(self._tickets)
        with self._lock:
            self._hands[crew.name].add(ticket, crew.kin_of(work), self._now())
        self._pools[crew.name].submit(self._carry_out, crew, work, ticket)

    def _carry_out(self, crew: Crew, work: object, ticket: int) -> None:
        try:
            carry_out(crew.worker, work)
        finally:
            with self._lock:
                self._hands[crew.name].remove(ticket)
            self._signal.wake()

    def _now(self) -> float:
        return self._clock.now().timestamp()


def carry_out(worker: Worker, work: object) -> None:
    """Do one piece of work; whatever goes wrong is logged, and a mistake of ours is a try that counts."""
    name = type(worker).__name__
    try:
        worker.carry_out(work)
    except ShipmateError as problem:
        log.warning("work not settled, taken up again when its lease ends", worker=name, error=problem)
    except Exception as problem:  # the edge of the work: what nobody expected of one piece stops no other
        log.exception("work failed", worker=name, error=problem)
        _put_off(worker, work)


def _put_off(worker: Worker, work: object) -> None:
    try:
        worker.put_off(work)
    except ShipmateError as problem:
        log.warning("work not put off, taken up again when its lease ends", worker=type(worker).__name__, error=problem)


def _dues(tx: Transaction) -> dict[str, float | None]:
    return {
        "deliveries": tx.deliveries.next_ready_at(),
        "commands": tx.commands.next_due_at(),
        "jobs": tx.jobs.next_due_at(),
        "deployments": tx.deployments.next_due_at(),
        "trackers": tx.tracker_tasks.next_due_at(),
    }
