"""The database as a whole."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeVar

from bot.ports.sources import Arrival
from bot.ports.storage import Transaction

T = TypeVar("T")


class Store(Protocol):
    """The database. Work may run twice (a batch that failed is run again one by one), so it touches only `tx`."""

    def write(self, work: Callable[[Transaction], T], arrival: Arrival | None = None, *, is_patient: bool = True) -> T:
        """Run `work` in a transaction, committed when this returns; StorageUnavailable when it cannot commit.

        That of an `arrival` may have been committed then after all, for it comes again. Who is not patient gives up
        where somebody else holds a lock.
        """
        ...

    def read(self, work: Callable[[Transaction], T]) -> T:
        """Run `work` against a snapshot that sees every commit before the call; it may be run twice."""
        ...
