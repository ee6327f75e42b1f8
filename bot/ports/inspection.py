"""What those who run Shipmate see of deliveries, and do to the ones that were given up."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from bot.ports.storage import CardRecord

DEAD = "dead:"  # before the reasons of what was given up
_SETTLED = frozenset({"sent", "unchanged", "found", "filtered", "folded"})  # families of reasons


@dataclass(frozen=True, slots=True)
class DeliveryQuery:
    """Which deliveries are meant: all that fit every part that is given.

    `destination` is a place's key or label, `reason` one of dead letters without `dead:`.

    `is_dead` leaves only those that were given up, `is_pending` only those that are wanted, not shown and not given up.
    """

    subject: str | None = None
    destination: str | None = None
    reason: str | None = None
    ids: tuple[int, ...] | None = None
    is_dead: bool = False
    is_pending: bool = False


@dataclass(frozen=True, slots=True)
class DeliveryRecord:
    """A delivery with its place: `place_free_at` and `place_reason` say until when, and why, the whole place waits.

    `last_attempt_at` is the end of its newest attempt, None before there was one. Times are seconds since 1970 (UTC).
    """

    card: CardRecord
    label: str
    opened_at: float
    place_free_at: float
    place_reason: str
    last_attempt_at: float | None

    @property
    def is_pending(self) -> bool:
        """Whether something is wanted there that is not shown and was not given up."""
        return self.card.wanted_revision > self.card.shown_revision and not self.card.is_dead

    @property
    def is_dead_letter(self) -> bool:
        """Whether it was given up, and no operator has let it go."""
        return self.card.is_dead and self.card.reason.startswith(DEAD)

    @property
    def is_missing(self) -> bool:
        """Whether what is wanted there does not stand there: it waits, or was given up."""
        return self.is_pending or self.is_dead_letter

    @property
    def reason(self) -> str:
        """Why it is as it is; where the state before was settled and a newer one waits, that it does."""
        is_new = self.is_pending and self.card.reason.partition(":")[0] in _SETTLED
        return "held:pace" if is_new else self.card.reason

    @property
    def next_try_at(self) -> float | None:
        """When it is looked at next (0: at once), as far as known now; None when nothing is to be done."""
        return max(self.card.due_at, self.place_free_at) if self.is_pending else None


@dataclass(frozen=True, slots=True)
class AttemptRecord:
    """One try; `detail` are the platform's own words on a failure, without secrets."""

    revision: int
    operation: str
    started_at: float
    finished_at: float | None
    outcome: str
    detail: str


class Inspection(Protocol):
    """Deliveries as an operator sees them."""

    def find(self, query: DeliveryQuery, limit: int) -> Sequence[DeliveryRecord]:
        """The deliveries that a query means, newest first; those that are pending, next due first."""
        ...

    def attempts(self, card_id: int, limit: int) -> Sequence[AttemptRecord]:
        """The newest attempts of a delivery, oldest first."""
        ...

    def revive(self, card_ids: Sequence[int]) -> Sequence[int]:
        """Make dead deliveries wanted again, due at once; returns those that were dead."""
        ...

    def drop(self, card_ids: Sequence[int]) -> Sequence[int]:
        """Take deliveries off the list of dead letters for good; returns those that were dead."""
        ...

    def announce(
        self,
        subject: str,
        destination: str,
        options: Mapping[str, Any],
        *,
        at: float,
        after: float,
        after_end: float = ...,
    ) -> bool:
        """Want a notice to the admin as a post of its own; False when one was wanted for this subject since `after`.

        Where what that one tells of is over (see `end`) it counts since `after_end` only. Otherwise it is changed to
        name the new `place` as well, among those in `others`.
        """
        ...

    def end(self, subject: str, destination: str) -> None:
        """Note that what a notice tells of is over: what comes after it is something new."""
        ...
