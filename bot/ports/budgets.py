"""What services ask of the database to keep the budgets of places and accounts, which all workers share."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from bot.domain.budgets import Budget, Spent, Window

if TYPE_CHECKING:
    from bot.ports.storage import DestinationLease  # which needs this module


@dataclass(frozen=True, slots=True)
class BudgetState:
    """What is spent of a window, and until when the platform wants nothing of it at all (0: it said nothing)."""

    spent: Spent
    paused_until: float


@dataclass(frozen=True, slots=True)
class BudgetReport:
    """A window with its state, for those who watch it: how many destinations wait, 0 where it is none of a window.

    `window` is None for a place that the platform asked a pause of.
    """

    scope: str
    window: Window | None
    state: BudgetState
    waiting: int = 0


@dataclass(frozen=True, slots=True)
class Turn:
    """A destination's place in the line: how many go before it, and since when it waits (None: it is not in line)."""

    ahead: int
    since: float | None = None


class Budgets(Protocol):
    """The windows of accounts, and who waits for them. A destination stands in a window's line once."""

    def open(self, window: Window) -> BudgetState:
        """A window's state; nobody else changes it, or its line, until the transaction ends."""
        ...

    def store(self, window: Window, spent: Spent, at: float, *, served: str | None = None) -> None:
        """Store what is spent now; the destination that was `served` leaves the line."""
        ...

    def turn(self, scope: str, destination: str, *, is_urgent: bool, now: float) -> Turn:
        """Where a destination stands, or would stand: behind what is more urgent, and behind who came before."""
        ...

    def line_up(self, scope: str, destination: str, *, is_urgent: bool, now: float, until: float) -> None:
        """Let a destination wait in the line, where it is passed by others from `until` on."""
        ...

    def report(self, now: float) -> Sequence[BudgetReport]:
        """The windows that were used of late, and the places that are paused by their platform."""
        ...


class Pacing(Protocol):
    """When places and cards are looked at again, and how fast places may be called, shared by all workers."""

    def arrival(self, scope: str) -> tuple[float, float]:
        """When a scope resumes, and the end of its pause; 0 when unused."""
        ...

    def spend(self, scope: str, arrival: float) -> None:
        """Store when a scope resumes."""
        ...

    def pause(self, scope: str, until: float) -> None:
        """Let nothing go in this scope before `until`."""
        ...

    def pauses(self, scopes: Collection[str], since: float) -> Mapping[str, float]:
        """The ends of those scopes' pauses that end, or ended, after `since`."""
        ...

    def release(self, lease: DestinationLease, *, arrival: float, free_at: float | None, reason: str) -> bool:
        """Give a destination back; it is free again at `free_at`, None where it was not called: then as it was before.

        False when the lease was lost.
        """
        ...

    def lease(self, key: str, pace: Budget, now: float, until: float) -> DestinationLease | float:
        """Take a place for an answer, which goes before its cards; else when to come back.

        Until then, and a moment longer, no card is taken there: who answers waits for one call at most. A place that
        is nobody's destination becomes known.
        """
        ...

    def postpone(self, card_id: int, due_at: float, reason: str, *, unless_after: int | None = None) -> None:
        """Look at a card again at `due_at`, unless a revision is wanted that came after that one."""
        ...
