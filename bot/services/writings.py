"""Writes under way, of services whose callers do not keep a thread waiting; see `bot.ports.Writing`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

from bot.ports import Writing

T = TypeVar("T")


class Followed(Generic[T]):
    """A writing whose result is told to `follow` before anybody else; to be asked for it once."""

    def __init__(self, writing: Writing[T], follow: Callable[[T], object]) -> None:
        self._writing = writing
        self._follow = follow

    def result(self) -> T:
        """See `Writing`."""
        result = self._writing.result()
        self._follow(result)
        return result

    def is_over(self) -> bool:
        """See `Writing`."""
        return self._writing.is_over()

    def then(self, call: Callable[[], object]) -> None:
        """See `Writing`."""
        self._writing.then(call)


class Known(Generic[T]):
    """A writing that was over at once."""

    def __init__(self, result: T) -> None:
        self._result = result

    def result(self) -> T:
        """What came of it."""
        return self._result

    def is_over(self) -> bool:
        """It is."""
        return True

    def then(self, call: Callable[[], object]) -> None:
        """Call `call` now."""
        call()
