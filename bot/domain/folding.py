"""The merge of a subject's events into one state: any order and any duplication end in the same state.

A state is a join-semilattice. (generation, attempt) is compared first: a higher one replaces the state, a lower one
changes nothing. Within one attempt each fact is a register won by the highest (phase, occurred_at, value's text); the
text breaks ties so that two different facts of the same instant end the same way in both orders.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from bot.domain.builds import Build, BuildFacts, Phase
from bot.domain.events import Event
from bot.domain.subjects import SubjectKey

Rank = tuple[int, float]


@dataclass(frozen=True, slots=True)
class Folded:
    """The state of one subject; `ordered_at` (seconds since 1970) is the earliest instant known of the attempt."""

    generation: int
    attempt: int
    phase: Phase
    ordered_at: float
    values: Mapping[str, Any] = field(default_factory=dict)
    ranks: Mapping[str, Rank] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """JSON values for the database."""
        return {
            "generation": self.generation,
            "attempt": self.attempt,
            "phase": int(self.phase),
            "ordered_at": self.ordered_at,
            "values": dict(self.values),
            "ranks": {name: list(rank) for name, rank in self.ranks.items()},
        }

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> Self:
        """The reverse of `to_json`."""
        return cls(
            stored["generation"],
            stored["attempt"],
            Phase(stored["phase"]),
            stored["ordered_at"],
            stored["values"],
            {name: (rank[0], rank[1]) for name, rank in stored["ranks"].items()},
        )

    @property
    def is_finished(self) -> bool:
        """Whether the source has said that the subject ended."""
        return self.phase is Phase.FINISHED

    @property
    def status(self) -> str | None:
        """The status as it was said, if it was."""
        found: str | None = self.values.get("status")
        return found

    def build(self, key: SubjectKey, *, is_fixed: bool = False) -> Build:
        """The state as a build."""
        return Build(key, self.attempt, self.phase, BuildFacts.from_json(self.values), is_fixed)


def fold(current: Folded | None, event: Event) -> Folded:
    """The state after `event`; the same object when the event adds nothing."""
    epoch = (event.generation, event.attempt)
    if current is None or epoch > (current.generation, current.attempt):
        current = None
    elif epoch < (current.generation, current.attempt):
        return current
    said = event.facts.to_json()
    occurred = event.occurred_at.timestamp()
    ordered_at = said.get("started_at", occurred)
    rank = (int(event.phase), occurred)
    if current is None:
        return Folded(*epoch, event.phase, ordered_at, said, dict.fromkeys(said, rank))
    won = {name: value for name, value in said.items() if _outranks(name, value, rank, current)}
    phase = max(current.phase, event.phase)
    earliest = min(current.ordered_at, ordered_at)
    if not won and phase == current.phase and earliest == current.ordered_at:
        return current
    return Folded(
        current.generation,
        current.attempt,
        phase,
        earliest,
        {**current.values, **won},
        {**current.ranks, **dict.fromkeys(won, rank)},
    )


def _outranks(name: str, value: Any, rank: Rank, current: Folded) -> bool:  # noqa: ANN401 - a JSON value
    if name not in current.ranks:
        return True
    if rank != current.ranks[name]:
        return rank > current.ranks[name]
    return _text(value) > _text(current.values[name])


def _text(value: Any) -> str:  # noqa: ANN401 - a JSON value
    return json.dumps(value, sort_keys=True, ensure_ascii=False)
