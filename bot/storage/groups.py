"""Writing in groups: what has gathered while a writer was busy is one transaction, and pays for one flush to disk."""

from __future__ import annotations

import threading
from collections import deque
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
LONGEST_WAIT_S = 2.0  # for who can come again later
RETRY_S = 0.02


@dataclass(frozen=True, slots=True)
class Piece:
    """A piece of work, the events that it stores if that is what it does, and the answer that its caller waits for.

    Where it meets a lock that somebody holds it is tried again `until` then (monotonic).
    """

    work: Callable[[Transaction], Any]
    arrival: Arrival | None = None
    until: float = 0.0
    answer: Future[Any] = field(default_factory=Future)


class CommitLost(StorageUnavailable):
    """Whether a group was committed is not known: none of its pieces may be run again unasked."""


class NotBegun(StorageUnavailable):
    """The database let a group not even begin: its pieces need not find that out one after the other."""


class Locked(StorageUnavailable):
    """A piece met a lock that is held by somebody else, perhaps for long: others need not wait with it."""


class Writer:
    """A thread that runs pieces of work in groups; `run` commits a group and returns the pieces' results, or raises.

    The pieces of a group that store events are run first. When it raises for several, nothing of them was written
    and each is run again alone: one failure is nobody else's. Unless the database itself is to blame (`NotBegun`):
    then all of them have failed. A piece that met a lock stands aside, and is tried alone between the others' groups.
    """

    def __init__(self, run: Callable[[Sequence[Piece]], list[Any]]) -> None:
        self.queue: SimpleQueue[Piece | None] = SimpleQueue()
        self._run_group = run
        self._locked_out: deque[Piece] = deque()
        self._waiting: dict[int, float] = {}  # since when, the longest first; also those whose callers have left
        self._lock = threading.Lock()
        self._is_closing = False
        self._thread = threading.Thread(target=self._run, name="writer", daemon=True)
        self._thread.start()

    def write(self, work: Callable[[Transaction], T], arrival: Arrival | None = None, *, is_patient: bool = True) -> T:
        """Run `work` with others or alone; StorageUnavailable when it was not begun in time, or could not commit.

        Events come again: nobody waits for longer than `WRITE_DEADLINE_S` to hear that they are stored.
        """
        begun_at, answer = monotonic(), Future[T]()
        within_s = WRITE_DEADLINE_S if arrival is None else LONGEST_WAIT_S
        with self._lock:
            self._waiting[id(answer)] = begun_at
        answer.add_done_callback(self._forget)
        self.queue.put(Piece(work, arrival, begun_at + within_s if is_patient else 0.0, answer))
        try:
            return answer.result(within_s)
        except TimeoutError:
            if answer.cancel():
                raise StorageUnavailable("the database is too busy: not written, try again") from None
        try:
            return answer.result(None if arrival is None else WRITE_DEADLINE_S - within_s)
        except TimeoutError:
            raise StorageUnavailable("the database does not say whether it was written, try again") from None

    def longest_wait_s(self) -> float:
        """For how long the one who has waited longest does; 0 when nobody waits."""
        with self._lock:
            since = next(iter(self._waiting.values()), None)
        return 0.0 if since is None else monotonic() - since

    def close(self) -> None:
        """Run what is queued, then end."""
        self._is_closing = True
        self.queue.put(None)
        self._thread.join()

    def _forget(self, answer: Future[Any]) -> None:
        with self._lock:
            del self._waiting[id(answer)]

    def _run(self) -> None:
        is_open = True
        while is_open:
            group, is_open = self._gather()
            if group and not self._commit(group):
                for piece in group:
                    self._commit([piece])
            if self._locked_out:
                self._commit([self._locked_out.popleft()])
        for piece in self._locked_out:
            self._commit([piece])

    def _gather(self) -> tuple[list[Piece], bool]:
        """Whatever is queued now, at least one piece, and whether more may come."""
        group: list[Piece] = []
        try:
            piece = self.queue.get(timeout=RETRY_S if self._locked_out else None)
        except Empty:
            return group, True
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
            if isinstance(problem, Locked) and len(group) == 1 and self._may_come_again(group[0]):
                self._locked_out.append(group[0])
                return True
            is_last = len(group) == 1 or isinstance(problem, CommitLost | NotBegun)
            if is_last:
                for piece in group:
                    piece.answer.set_exception(problem)
            return is_last
        for piece, result in zip(group, results, strict=True):
            piece.answer.set_result(result)
        return True

    def _may_come_again(self, piece: Piece) -> bool:
        return not self._is_closing and monotonic() < piece.until
