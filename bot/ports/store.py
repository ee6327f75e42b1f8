"""The database as a whole."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeVar

from bot.ports.sources import Arrival
from bot.ports.storage import Transaction

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


class Writing(Protocol[T_co]):
    """A write under way, for those who do not keep a thread waiting for it."""

    def result(self) -> T_co:
        """What `Store.write` returns or raises; waits for it as long as that does."""
        ...

    def is_over(self) -> bool:
        """Whether `result` says so at once, if only that it took too long: who waits has to ask now and then."""
        ...

    def then(self, call: Callable[[], object]) -> None:
        """Call `call`, which must neither wait nor raise, once it was committed or given up; from any thread."""
        ...


class Store(Protocol):
    """The database. Work may run twice (a batch that failed is run again one by one), so it touches only `tx`."""

    def write(self, work: Callable[[Transaction], T], arrival: Arrival | None = None, *, is_patient: bool = True) -> T:
        """Run `work` in a transaction, committed when this returns; StorageUnavailable when it cannot commit.

        That of an `arrival` may have been committed then after all, for it comes again. Who is not patient gives up
        where somebody else holds a lock.
        """
        ...

    def submit(self, work: Callable[[Transaction], T], arrival: Arrival | None = None) -> Writing[T]:
        """`write`, without waiting for it."""
        ...

    def read(self, work: Callable[[Transaction], T]) -> T:
        """Run `work` against a snapshot that sees every commit before the call; it may be run twice."""
        ...
