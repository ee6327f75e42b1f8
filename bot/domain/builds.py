"""What is known of a build: a pipeline is a build with stages."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from enum import IntEnum, StrEnum
from typing import Any, Self

from bot.domain.subjects import SubjectKey


class BuildStatus(StrEnum):
    """How a build stands."""

    RUNNING = "running"
    SUCCESS = "success"
    FAILED = "failed"
    CANCELLED = "cancelled"
    UNKNOWN = "unknown"


class StageStatus(StrEnum):
    """How one stage of a build stands."""

    PENDING = "pending"
    RUNNING = "running"
    SUCCESS = "success"
    WARNING = "warning"
    FAILED = "failed"
    SKIPPED = "skipped"
    CANCELLED = "cancelled"
    UNKNOWN = "unknown"


class Phase(IntEnum):
    """How far a subject has come; a later phase's facts outrank an earlier one's, whenever they arrive."""

    QUEUED = 0
    RUNNING = 1
    FINISHED = 2


@dataclass(frozen=True, slots=True)
class Stage:
    """One step of a build; `duration_s` is None until it has ended."""

    name: str
    status: StageStatus
    duration_s: float | None = None


@dataclass(frozen=True, slots=True)
class FailedTest:
    """A test that failed, with the first lines of why."""

    name: str
    detail: str = ""


@dataclass(frozen=True, slots=True)
class BuildFacts:
    """What one event says of a build; None means that it says nothing of it."""

    status: BuildStatus | None = None
    branch: str | None = None
    commit: str | None = None
    commit_title: str | None = None
    author: str | None = None
    triggered_by: str | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None
    url: str | None = None
    summary: str | None = None
    stages: tuple[Stage, ...] | None = None
    failed_tests: tuple[FailedTest, ...] | None = None
    log_excerpt: str | None = None
    retried_as: str | None = None
    retried_by: str | None = None
    silent_days: int | None = None

    def to_json(self) -> dict[str, Any]:
        """The facts that are said, as JSON values; times as seconds since 1970 (UTC)."""
        return {name: _plain(value) for name in _NAMES if (value := getattr(self, name)) is not None}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """The reverse of `to_json`; unknown names are ignored, so that newer rows can be read."""
        known = {name: values[name] for name in _NAMES if name in values}
        if "status" in known:
            known["status"] = BuildStatus(known["status"])
        for name in ("started_at", "finished_at"):
            if name in known:
                known[name] = datetime.fromtimestamp(known[name], UTC)
        if "stages" in known:
            known["stages"] = tuple(Stage(s[0], StageStatus(s[1]), s[2]) for s in known["stages"])
        if "failed_tests" in known:
            known["failed_tests"] = tuple(FailedTest(t[0], t[1]) for t in known["failed_tests"])
        return cls(**known)


_NAMES = tuple(field.name for field in fields(BuildFacts))


def _plain(value: Any) -> Any:  # noqa: ANN401 - one of the field types above
    if type(value) is str:  # most of them
        return value
    match value:
        case StrEnum():
            return value.value
        case datetime():
            return value.timestamp()
        case tuple():
            return [_plain(item) for item in value]
        case Stage():
            return [value.name, value.status.value, value.duration_s]
        case FailedTest():
            return [value.name, value.detail]
        case _:
            return value


@dataclass(frozen=True, slots=True)
class Build:
    """A build as all its events together describe it."""

    key: SubjectKey
    attempt: int
    phase: Phase
    facts: BuildFacts
    is_fixed: bool = False

    @property
    def status(self) -> BuildStatus:
        """The build's status; running until something else is known."""
        if self.facts.status is not None:
            return self.facts.status
        return BuildStatus.UNKNOWN if self.phase is Phase.FINISHED else BuildStatus.RUNNING

    @property
    def is_finished(self) -> bool:
        """Whether the source has said that it ended."""
        return self.phase is Phase.FINISHED

    @property
    def duration_s(self) -> float | None:
        """Seconds from start to end, once both are known."""
        if self.facts.started_at is None or self.facts.finished_at is None:
            return None
        return max(0.0, (self.facts.finished_at - self.facts.started_at).total_seconds())
