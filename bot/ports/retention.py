"""What services ask of the database to let go of what is old."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

Cursor = tuple[float, str]
START: Cursor = (0.0, "")


@dataclass(frozen=True, slots=True)
class Swept:
    """What one step did: how many rows it `dropped`, and `after` which one the next step begins; None at the end."""

    dropped: int
    after: Cursor | None


@dataclass(frozen=True, slots=True)
class SubjectAge:
    """Until when a subject must have rested to be dropped; `last_before` where it is its branch's last, and so on.

    A card that was given up since `dead_before` keeps its subject. Seconds since 1970; 0 drops nothing.
    """

    before: float
    last_before: float
    dead_before: float


class Retention(Protocol):
    """Drops what is old, a step at a time: each looks at up to `limit` rows from `after` on, the oldest first."""

    def events(self, before: float, after: Cursor, limit: int) -> Swept:
        """Events that came before `before`, with what is known of their delivery."""
        ...

    def attempts(self, before: float, after: Cursor, limit: int) -> Swept:
        """Attempts begun before `before`, but for those in doubt and those of cards that were given up."""
        ...

    def commands(self, before: float, after: Cursor, limit: int) -> Swept:
        """Ended commands accepted before `before`, but for those whose subject is there: they keep it from a second."""
        ...

    def subjects(self, age: SubjectAge, after: Cursor, limit: int) -> Swept:
        """Finished subjects with their cards, but for those that something still waits for, or is judged by."""
        ...

    def tracker_tasks(self, before: float, after: Cursor, limit: int) -> Swept:
        """Ended work with trackers from before `before`, but for versions that were released: they come again."""
        ...

    def notices(self, before: float, after: Cursor, limit: int) -> Swept:
        """Notices to the admin from before `before`, sent or given up; their cause is told of anew when it comes."""
        ...

    def budgets(self, before: float, after: Cursor, limit: int) -> Swept:
        """What was counted, paused or waited for before `before`: the line of a branch that flapped, an account."""
        ...
