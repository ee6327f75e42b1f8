"""Writing in groups: what has gathered while a writer was busy is one transaction, and pays for one flush to disk."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue
from time import monotonic
from typing import Any, TypeVar

from bot.errors import StorageUnavailable
from bot.ports import Arrival, Transaction

T = TypeVar("T")
MAX_GROUP = 64
WRITE_DEADLINE_S = 8.0
MOST_WAITING = 500
LONGEST_WAIT_S = 2.0


@dataclass(frozen=True, slots=True)
class Piece:
    """A piece of work, the events that it stores if that is what it does, and the answer that its caller waits for."""

    work: Callable[[Transaction], Any]
    arrival: Arrival | None = None
    answer: Future[Any] = field(default_factory=Future)


class CommitLost(StorageUnavailable):
    """Whether a group was committed is not known: none of its pieces may be run again unasked."""


class NotBegun(StorageUnavailable):
    """The database let a group not even begin: its pieces need not find that out one after the other."""


class Writer:
    """A thread that runs pieces of work in groups; `run` commits a group and returns the pieces' results, or raises.

    The pieces of a group that store events are run first. When it raises for several, nothing of them was written
    and each is run again alone: one failure is nobody else's. Unless the database itself is to blame (`NotBegun`):
    then all of them have failed.
    """

    def __init__(self, run: Callable[[Sequence[Piece]], list[Any]]) -> None:
        self.queue: SimpleQueue[Piece | None] = SimpleQueue()
        self._run_group = run
        self._waiting: dict[int, float] = {}  # since when, the longest first
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._run, name="writer", daemon=True)
        self._thread.start()

    def write(self, work: Callable[[Transaction], T], arrival: Arrival | None = None) -> T:
        """Run `work` with others or alone; StorageUnavailable when it was not begun in time, or could not commit."""
        answer: Future[T] = Future()
        with self._lock:
            self._waiting[id(answer)] = monotonic()
        self.queue.put(Piece(work, arrival, answer))
        try:
            return answer.result(WRITE_DEADLINE_S)
        except TimeoutError:
            if answer.cancel():
                raise StorageUnavailable("the database is too busy: not written, try again") from None
            return answer.result()
        finally:
            with self._lock:
                del self._waiting[id(answer)]

    def is_overloaded(self) -> bool:
        """Whether so many pieces wait, or one so long, that nobody else should join them who can come again later."""
        with self._lock:
            since = next(iter(self._waiting.values()), None)
            return since is not None and (len(self._waiting) > MOST_WAITING or monotonic() - since > LONGEST_WAIT_S)

    def close(self) -> None:
        """Run what is queued, then end."""
        self.queue.put(None)
        self._thread.join()

    def _run(self) -> None:
        is_open = True
        while is_open:
            group, is_open = self._gather()
            if group and not self._commit(group):
                for piece in group:
                    self._commit([piece])

    def _gather(self) -> tuple[list[Piece], bool]:
        """Whatever is queued now, at least one piece, and whether more may come."""
        group: list[Piece] = []
        piece = self.queue.get()
        while piece is not None:
            if piece.answer.set_running_or_notify_cancel():
                group.append(piece)
            if len(group) >= MAX_GROUP:
                return group, True
            try:
                piece = self.queue.get_nowait()
            except Empty:
                return group, True
        return group, False

    def _commit(self, group: list[Piece]) -> bool:
        """Run a group and answer its callers; False when it was rolled back unanswered."""
        group.sort(key=lambda piece: piece.arrival is None)
        try:
            results = self._run_group(group)
        except BaseException as problem:  # noqa: BLE001 - whatever a piece raised belongs to its caller
            is_last = len(group) == 1 or isinstance(problem, CommitLost | NotBegun)
            if is_last:
                for piece in group:
                    piece.answer.set_exception(problem)
            return is_last
        for piece, result in zip(group, results, strict=True):
            piece.answer.set_result(result)
        return True
