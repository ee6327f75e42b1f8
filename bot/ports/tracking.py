"""What services ask of the database to work with trackers: what they told, what is to be said there, their tokens."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from bot.ports.trackers import StoredToken

ORIGIN = "origin"  # the kind under which it is remembered what started a deployment, as long as that is kept


class Tokens(Protocol):
    """The tokens, encrypted; as `TokenStore`, within a transaction."""

    def read(self, name: str) -> StoredToken | None:
        """The token of that name."""
        ...

    def hold(self, name: str, now: float, until: float) -> StoredToken | None:
        """Take a token for renewal until then; None when somebody else has it."""
        ...

    def replace(self, name: str, held: StoredToken, value: str, expires_at: float) -> bool:
        """Store its successor and let go; False when somebody else took it meanwhile."""
        ...


@dataclass(frozen=True, slots=True)
class TrackerTask:
    """A leased piece of work with a tracker: a change to act on, or something to say or do at an issue."""

    id: int
    tracker: str
    key: str
    kind: str
    body: Mapping[str, Any]
    tries: int
    fence: int
    created_at: float
    held_until: float = 0.0


class TrackerTasks(Protocol):
    """Work with trackers, in and out; what is done is remembered for a while, so that nothing is done twice."""

    def add(
        self, tracker: str, key: str, kind: str, body: Mapping[str, Any], *, due_at: float | None, at: float
    ) -> bool:
        """Store a piece of work (None: only to be remembered); False when its key is known."""
        ...

    def get(self, tracker: str, key: str) -> Mapping[str, Any] | None:
        """What is remembered under a key."""
        ...

    def known(self, tracker: str, keys: Sequence[str]) -> frozenset[str]:
        """Those of the keys under which something is stored, done or not."""
        ...

    def of_kind(self, tracker: str, kind: str, since: float) -> Sequence[Mapping[str, Any]]:
        """What was stored of one kind since then, done or not."""
        ...

    def lease(
        self, now: float, until: float, limit: int, take: Callable[[str], bool] | None = None
    ) -> Sequence[TrackerTask]:
        """Take due work, the longest waiting first; `take` is asked with each one's tracker, as for jobs."""
        ...

    def settle(self, task: TrackerTask, outcome: str, *, due_at: float | None = None, tries: int = 0) -> bool:
        """End a piece of work, or put it off to `due_at`; False when the lease was lost."""
        ...

    def amend(self, task: TrackerTask, body: Mapping[str, Any]) -> bool:
        """Replace what a leased piece of work says, for whoever tries it again; False when the lease was lost."""
        ...

    def next_due_at(self) -> float | None:
        """When the next piece of work can be taken."""
        ...


class Polls(Protocol):
    """How far each tracker was asked for changes."""

    def get(self, tracker: str) -> tuple[float, float] | None:
        """Since when it is asked without a gap, and when it was asked last (seconds since 1970)."""
        ...

    def put(self, tracker: str, begun_at: float, polled_at: float) -> None:
        """Remember both."""
        ...
