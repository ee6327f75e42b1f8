"""Facts from outside systems."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from bot.domain.builds import BuildFacts, Phase
from bot.domain.subjects import SubjectKey


class EventKind(StrEnum):
    """What happened, in the past tense."""

    BUILD_STARTED = "build_started"
    BUILD_PROGRESSED = "build_progressed"
    BUILD_FINISHED = "build_finished"
    BUILD_ENRICHED = "build_enriched"
    BUILD_RETRIED = "build_retried"


@dataclass(frozen=True, slots=True)
class Event:
    """One immutable fact from a source.

    `delivery_key` is equal for every delivery of the same fact (at most 200 characters). `generation` tells apart
    things that share a number (a CI database was reset) and is taken from the start time in seconds; 0 where numbers
    never repeat. `attempt` counts a vendor's re-runs under the same number, from 1. Times are UTC.
    """

    source: str
    delivery_key: str
    kind: EventKind
    subject: SubjectKey
    occurred_at: datetime
    phase: Phase
    facts: BuildFacts
    generation: int = 0
    attempt: int = 1
