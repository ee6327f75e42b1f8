"""Time and identifiers."""

from __future__ import annotations

from datetime import datetime
from typing import Protocol


class Clock(Protocol):
    """The one source of time."""

    def now(self) -> datetime:
        """The present instant, aware, UTC."""
        ...


class Ids(Protocol):
    """The one source of identifiers."""

    def new(self) -> str:
        """A new identifier that sorts by time: 26 characters, letters and digits."""
        ...
