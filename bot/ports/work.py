"""Work that waits in the database: jobs on builds and sources, and what people asked for."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from bot.domain.commands import Command, CommandState


@dataclass(frozen=True, slots=True)
class JobRecord:
    """A leased piece of work on a subject (`enrich`, `poll`), or on a source (`reconcile`), whose name is `subject`.

    `held_until`: how long the lease surely lasts, by the monotonic clock of the host that took it; 0 is not known.
    """

    key: str
    kind: str
    subject: str
    arguments: Mapping[str, Any]
    tries: int
    fence: int
    created_at: float
    held_until: float = 0.0

    @property
    def source(self) -> str:
        """Which source is asked."""
        return self.subject.partition(":")[2].partition("/")[0] or self.subject


@dataclass(frozen=True, slots=True)
class CommandRecord:
    """A stored command under a lease.

    The command's `tries` are those of which nothing was heard any more (the worker died), this one included; `faults`
    are those that ended in good order and came to nothing. `triggered_at`: since when it may have caused its effect.
    """

    command: Command
    fence: int
    triggered_at: float | None
    result: Mapping[str, Any]
    faults: int = 0
    is_open: bool = True
    held_until: float = 0.0


class Jobs(Protocol):
    """Leased work on subjects."""

    def add(self, key: str, kind: str, subject: str, arguments: Mapping[str, Any], *, due_at: float, at: float) -> None:
        """Add a job; nothing happens when one of that key exists."""
        ...

    def lease(
        self, now: float, until: float, limit: int, take: Callable[[str], bool] | None = None
    ) -> Sequence[JobRecord]:
        """Take due jobs; `take` is asked with each one's source, and once it says no, no more of that are taken."""
        ...

    def settle(
        self, job: JobRecord, *, due_at: float | None, tries: int = 0, arguments: Mapping[str, Any] | None = None
    ) -> bool:
        """End a job (None) or put it off, with other `arguments`; False when the lease was lost."""
        ...

    def next_due_at(self) -> float | None:
        """When the next job is due."""
        ...


class Commands(Protocol):
    """Requests by people."""

    def add(self, command: Command, result: Mapping[str, object] | None = None) -> bool:
        """Store a request, with what is known of it; False when the same press or line is known already."""
        ...

    def lease(
        self, now: float, until: float, limit: int, take: Callable[[str, str], bool] | None = None
    ) -> Sequence[CommandRecord]:
        """Take open commands, oldest first; those whose holders keep dying are held ever longer.

        `take` is asked with what was typed and on which platform, and passes over those of which it says no.
        """
        ...

    def known(self, dedup_key: str) -> CommandRecord | None:
        """The command that was stored under a transport's id, however far it has come."""
        ...

    def claim_effect(
        self, record: CommandRecord, effect_key: str, now: float, noted: Mapping[str, Any] | None = None
    ) -> CommandRecord | None:
        """Make this command the one that causes `effect_key`, with `noted` as its result from then on.

        The other one when there is one already. Raises LeaseLost when another worker has taken the command over.
        """
        ...

    def take_over(self, record: CommandRecord, other: CommandRecord, noted: Mapping[str, Any]) -> bool:
        """Take the effect of an ended command, and when it was triggered, over; False when somebody else did."""
        ...

    def settle(
        self,
        record: CommandRecord,
        state: CommandState,
        result: Mapping[str, Any],
        *,
        is_open: bool,
        due_at: float = 0.0,
        frees_effect: bool = False,
        faults: int | None = None,
    ) -> bool:
        """Store how far the command has come, with `faults` counted anew; False when the lease was lost.

        `frees_effect`: nothing was caused, or it is over; the same may be asked for again.
        """
        ...

    def put_off(
        self, record: CommandRecord, at: float, *, frees_effect: bool = False, noted: Mapping[str, object] | None = None
    ) -> bool:
        """Take a command up again `at` then, as far as it came and as `noted`, one fault more; False: lease lost."""
        ...

    def next_due_at(self) -> float | None:
        """When the next open command can be taken."""
        ...
