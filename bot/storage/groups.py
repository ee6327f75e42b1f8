"""Writing in groups: what has gathered while a writer was busy is one transaction, and pays for one flush to disk."""

from __future__ import annotations

import math
import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import CancelledError, Future
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue
from time import monotonic, sleep
from typing import Any, Generic, Protocol, TypeVar

from bot.domain.events import Event
from bot.errors import StorageUnavailable
from bot.ports import Arrival, Transaction

T = TypeVar("T")
MAX_GROUP = 64
# Where so many senders were answered together, the next ones are on their way: a commit, of whose cost most does not
# depend on how many share it, waits for them for as long as they take to come.
BUSY_GROUP = 4
GATHER_S = 0.003
WRITE_DEADLINE_S = 8.0
LONGEST_WAIT_S = 2.0  # for who can come again later
# In a lock's line, where others may wait whose commits are slow. Whoever leaves the line has to begin at its end.
PATIENCE_S = 1.0


@dataclass(frozen=True, slots=True)
class Piece:
    """A piece of work, the events that it stores if that is what it does, and the answer that its caller waits for.

    Where it meets a lock that somebody holds it is tried again `until` then (monotonic). `is_claim`: it takes what all
    others want too, and for as short as it can.
    """

    work: Callable[[Transaction], Any]
    arrival: Arrival | None = None
    until: float = 0.0
    is_claim: bool = False
    answer: Future[Any] = field(default_factory=Future)

    @property
    def rank(self) -> int:
        """Its place in a group: what stores events first, claims last."""
        return 0 if self.arrival is not None else 1 + self.is_claim

    @property
    def lines(self) -> frozenset[str]:
        """The projects of its events, each of which is one transaction's at a time."""
        return frozenset() if self.arrival is None else lines_of(self.arrival.events)


class RunApart(Protocol):
    """Commits pieces together and gives each piece's result; `Locked` for one that met a lock: that changed nothing.

    The first may wait `patience_s` for its locks, the others go on at once. When it raises, nothing was written.
    """

    def __call__(self, pieces: Sequence[Piece], patience_s: float) -> list[Any]:
        """See above."""
        ...


def lines_of(events: Sequence[Event]) -> frozenset[str]:
    """The projects of events, as their locks are named."""
    return frozenset(f"{event.source}/{event.subject.project}" for event in events)


class CommitLost(StorageUnavailable):
    """Whether a group was committed is not known: none of its pieces may be run again unasked."""


class NotBegun(StorageUnavailable):
    """The database let a group not even begin: its pieces need not find that out one after the other."""


class Locked(StorageUnavailable):
    """A piece met a lock that is held by somebody else, perhaps for long: others need not wait with it."""


class LineLocked(Locked):
    """It was that of a project whose events somebody else stores: all events of that project need it."""


class Submitted(Generic[T]):
    """A piece in the writer's hands; see `bot.ports.Writing`.

    Until `until` (monotonic) it may be taken back, as long as it was not begun; after `ends_at` nobody waits for it.
    """

    def __init__(self, answer: Future[T], until: float, ends_at: float) -> None:
        self._answer = answer
        self._until = until
        self._ends_at = ends_at

    def result(self) -> T:
        """See `bot.ports.Writing`."""
        try:
            return self._answer.result(max(0.0, self._until - monotonic()))
        except CancelledError:
            raise _too_busy() from None
        except TimeoutError:
            if self._answer.cancel():
                raise _too_busy() from None
        try:
            return self._answer.result(None if self._ends_at == math.inf else max(0.0, self._ends_at - monotonic()))
        except TimeoutError:
            raise StorageUnavailable("the database does not say whether it was written, try again") from None

    def is_over(self) -> bool:
        """See `bot.ports.Writing`."""
        now = monotonic()
        return self._answer.done() or now >= self._ends_at or (now >= self._until and self._answer.cancel())

    def then(self, call: Callable[[], object]) -> None:
        """See `bot.ports.Writing`."""
        self._answer.add_done_callback(lambda _answer: call())


class Writer:
    """A thread that runs pieces of work in groups; `run` commits a group and returns the pieces' results, or raises.

    When it raises for several, nothing of them was written and each is run again alone: one failure is nobody else's.
    Unless the database itself is to blame (`NotBegun`): then all of them have failed. Pieces that met a lock
    (`Locked`; then `apart` must be given) stand aside: a thread of their own waits for it, as patiently as who waits
    in the server's line must, and the others go on meanwhile.
    """

    def __init__(self, run: Callable[[Sequence[Piece]], list[Any]], apart: RunApart | None = None) -> None:
        self.queue: SimpleQueue[Piece | None] = SimpleQueue()
        self._run_group = run
        self._run_apart = apart
        self._locked_out: deque[Piece] = deque()
        self._has_locked_out = threading.Condition()
        self._waiter: threading.Thread | None = None  # who stands aside needs one, and hardly anybody does
        self._waiting: dict[int, float] = {}  # since when, the longest first; also those whose callers have left
        self._lock = threading.Lock()
        self._is_busy = False
        self._is_closing = False
        self._thread = threading.Thread(target=self._run, name="writer", daemon=True)
        self._thread.start()

    def write(self, work: Callable[[Transaction], T], arrival: Arrival | None = None, *, is_patient: bool = True) -> T:
        """Run `work` with others or alone; StorageUnavailable when it was not begun in time, or could not commit."""
        return self.submit(work, arrival, is_patient=is_patient).result()

    def submit(
        self, work: Callable[[Transaction], T], arrival: Arrival | None = None, *, is_patient: bool = True
    ) -> Submitted[T]:
        """The same, without waiting for it.

        Events come again: nobody waits for longer than `WRITE_DEADLINE_S` to hear that they are stored.
        """
        begun_at, answer = monotonic(), Future[T]()
        within_s = WRITE_DEADLINE_S if arrival is None else LONGEST_WAIT_S
        with self._lock:
            self._waiting[id(answer)] = begun_at
        answer.add_done_callback(self._forget)
        until = begun_at + (within_s if is_patient else LONGEST_WAIT_S)
        self.queue.put(Piece(work, arrival, until, not is_patient, answer))
        return Submitted(answer, begun_at + within_s, math.inf if arrival is None else begun_at + WRITE_DEADLINE_S)

    def longest_wait_s(self) -> float:
        """For how long the one who has waited longest does, but for who stands aside; 0 when nobody waits."""
        with self._lock:
            since = next(iter(self._waiting.values()), None)
        return 0.0 if since is None else monotonic() - since

    def close(self) -> None:
        """Run what is queued, then end."""
        with self._has_locked_out:  # from here on nobody stands aside any more, whom nobody might wait for
            self._is_closing = True
        self.queue.put(None)
        self._thread.join()
        with self._has_locked_out:
            self._has_locked_out.notify()
        if self._waiter is not None:
            self._waiter.join()

    def _forget(self, answer: Future[Any]) -> None:
        with self._lock:
            self._waiting.pop(id(answer), None)

    def _run(self) -> None:
        is_open = True
        while is_open:
            group, is_open = self._gather()
            if group:
                self._is_busy = len(group) >= BUSY_GROUP
                self._commit(group)

    def _gather(self) -> tuple[list[Piece], bool]:
        """Whatever is queued now, at least one piece, and whether more may come; at a busy door a moment later."""
        group: list[Piece] = []
        piece = self.queue.get()
        if self._is_busy and piece is not None and piece.arrival is not None:
            sleep(GATHER_S)
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

    def _commit(self, group: list[Piece]) -> None:
        """Run a group and answer its callers, but for those that stand aside."""
        group.sort(key=lambda piece: piece.rank)
        try:
            results = self._run_group(group)
        except Locked as problem:
            if len(group) == 1:
                self._stand_aside(group[0], problem)
            else:
                self._commit_apart(group, 0.0)
        except BaseException as problem:  # noqa: BLE001 - whatever a piece raised belongs to its caller
            self._commit_each(group, problem, is_last=len(group) == 1)
        else:
            _answer(group, results)

    def _commit_each(self, group: list[Piece], problem: BaseException, *, is_last: bool) -> None:
        """What a group came to that raised something else than that it met a lock."""
        if is_last or isinstance(problem, CommitLost | NotBegun):
            for piece in group:
                piece.answer.set_exception(problem)
        else:
            for piece in group:
                self._commit([piece])

    # --- standing aside

    def _commit_apart(self, group: list[Piece], patience_s: float) -> None:
        """Run what goes at once; the rest stands aside, whoever was waited for in vain behind the others.

        Where nothing was written each is run alone, as any other piece: what it met meanwhile may be over.
        """
        assert self._run_apart is not None
        first, *others = group
        others.sort(key=lambda piece: piece.rank)
        group = [first, *others]
        try:
            results = self._run_apart(group, patience_s)
        except BaseException as problem:  # noqa: BLE001 - whatever a piece raised belongs to its caller
            self._commit_each(group, problem, is_last=False)
            return
        for piece, result in [*zip(others, results[1:], strict=True), (first, results[0])]:
            if isinstance(result, Locked):
                self._stand_aside(piece, result)
            else:
                _answer([piece], [result])

    def _stand_aside(self, piece: Piece, problem: Locked) -> None:
        self._forget(piece.answer)
        with self._has_locked_out:
            if self._is_closing or monotonic() >= piece.until:
                piece.answer.set_exception(problem)
                return
            self._locked_out.append(piece)
            if self._waiter is None:
                self._waiter = threading.Thread(target=self._wait_for_locks, name="writer-aside", daemon=True)
                self._waiter.start()
            self._has_locked_out.notify()

    def _wait_for_locks(self) -> None:
        while True:
            with self._has_locked_out:
                self._has_locked_out.wait_for(lambda: self._locked_out or self._is_closing)
                group = [self._locked_out.popleft() for _ in range(min(MAX_GROUP, len(self._locked_out)))]
            if not group:
                return
            self._commit_apart(group, 0.0 if self._is_closing else PATIENCE_S)


def _too_busy() -> StorageUnavailable:
    return StorageUnavailable("the database is too busy: not written, try again")


def _answer(group: Sequence[Piece], results: Sequence[Any]) -> None:
    for piece, result in zip(group, results, strict=True):
        piece.answer.set_result(result)
