"""The worker's loop: sleep until something is due, claim it, and hand it to a thread."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Protocol

from bot.errors import ShipmateError
from bot.ports import Clock, Store, Transaction
from bot.services.signal import Signal
from bot.telemetry import logger

LONGEST_SLEEP_S = 1.0
SHORTEST_SLEEP_S = 0.02
STOP_S = 9.0

log = logger(__name__)


class Worker(Protocol):
    """Something that takes work under a lease and carries it out."""

    def claim(self, limit: int) -> Sequence[Any]:
        """Take up to `limit` pieces of due work."""
        ...

    def carry_out(self, work: Any) -> None:  # noqa: ANN401 - what `claim` gave
        """Do one piece, to its settling."""
        ...


@dataclass(frozen=True, slots=True)
class Crew:
    """A worker and how many pieces it may have in hand; `due` names the group of the transaction that knows when."""

    name: str
    worker: Worker
    size: int


class Dispatcher:
    """Runs the crews in one thread that claims and a pool a crew; `stop` drains what is in hand."""

    def __init__(self, store: Store, clock: Clock, signal: Signal, crews: Sequence[Crew]) -> None:
        self._store = store
        self._clock = clock
        self._signal = signal
        self._crews = tuple(crews)
        self._pools = {crew.name: ThreadPoolExecutor(crew.size, thread_name_prefix=crew.name) for crew in crews}
        self._in_hand = dict.fromkeys(self._pools, 0)
        self._lock = threading.Lock()
        self._is_stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="dispatcher", daemon=True)

    def start(self) -> None:
        """Begin to take work."""
        self._thread.start()

    def stop(self) -> None:
        """Take no more, finish what is in hand (within the calls' own deadlines); leases of the rest run out."""
        self._is_stopping.set()
        self._signal.ring()
        self._thread.join(STOP_S)
        for pool in self._pools.values():
            pool.shutdown(wait=False, cancel_futures=True)
        for pool in self._pools.values():
            for thread in list(pool._threads):
                thread.join(STOP_S / 3)

    @property
    def is_alive(self) -> bool:
        """Whether the loop runs."""
        return self._thread.is_alive() and not self._is_stopping.is_set()

    def _run(self) -> None:
        while not self._is_stopping.is_set():
            try:
                sleep_s = self._round()
            except ShipmateError as problem:
                log.warning("database not available, trying again", error=problem)
                sleep_s = LONGEST_SLEEP_S
            except Exception as problem:
                log.exception("round failed", error=problem)
                sleep_s = LONGEST_SLEEP_S
            self._signal.wait(sleep_s)

    def _round(self) -> float:
        """Claim what is due; how long to sleep then."""
        dues = self._store.read(_dues)
        now = self._clock.now().timestamp()
        sleep_s = LONGEST_SLEEP_S
        for crew in self._crews:
            due = dues[crew.name]
            if due is None:
                continue
            if due > now:
                sleep_s = min(sleep_s, due - now)
                continue
            room = crew.size - self._in_hand[crew.name]
            taken = crew.worker.claim(room) if room > 0 else ()
            for work in taken:
                self._hand_over(crew, work)
            sleep_s = min(sleep_s, SHORTEST_SLEEP_S) if room > 0 else sleep_s
        return sleep_s

    def _hand_over(self, crew: Crew, work: object) -> None:
        with self._lock:
            self._in_hand[crew.name] += 1
        self._pools[crew.name].submit(self._carry_out, crew, work)

    def _carry_out(self, crew: Crew, work: object) -> None:
        try:
            crew.worker.carry_out(work)
        except ShipmateError as problem:
            log.warning("work not settled, taken up again when its lease ends", crew=crew.name, error=problem)
        except Exception as problem:
            log.exception("work failed", crew=crew.name, error=problem)
        finally:
            with self._lock:
                self._in_hand[crew.name] -= 1
            self._signal.ring()


def _dues(tx: Transaction) -> dict[str, float | None]:
    return {
        "deliveries": tx.deliveries.next_ready_at(),
        "commands": tx.commands.next_due_at(),
        "jobs": tx.jobs.next_due_at(),
    }
