"""The generic door: build events from any system that can send a signed JSON body.

Signatures follow Standard Webhooks (https://github.com/standard-webhooks/standard-webhooks, spec/standard-webhooks.md):
`webhook-signature: v1,<base64 HMAC-SHA256 of id.timestamp.body>`, within five minutes of `webhook-timestamp`. A
delivery is known by its `webhook-id`, so that a sender may repeat it until it gets a 2xx. The body is described by
generic.schema.json beside this file (made from the models below, `python -m integrations.generic`) and in
docs/sources/generic.md.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import requests
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainValidator,
    ValidationError,
    WithJsonSchema,
    model_validator,
)

from bot.domain.builds import BuildFacts, BuildStatus, FailedTest, Phase, Stage, StageStatus
from bot.domain.events import Event, EventKind
from bot.domain.subjects import SubjectKey, SubjectKind
from bot.errors import PayloadInvalid
from bot.ports import Clock, Received
from bot.signatures import Secrets, key_of, verify
from integrations.logs import EXCERPT_LINES, MAX_EXCERPT, mask_secrets, plain_lines, tail
from integrations.spec import Source, SourceSpec
from integrations.texts import MAX_URL, clean_line, clean_url

SCHEMA_FILE = Path(__file__).with_name("generic.schema.json")
MAX_ITEMS = 100
MAX_BRANCH = 250
MAX_NAME = 200
MAX_DETAIL = 300
_NUMBER = r"^[^\s\x00-\x1f#@]{1,60}$"
_RFC3339 = re.compile(
    r"^[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt][0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,9})?([Zz]|[+-][0-9]{2}:[0-9]{2})$"
)
_EARLIEST, _LATEST = datetime(1970, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC)


# --- configuration


class Config(BaseModel):
    """The source's section. `secrets` are those that may sign now: while one is being replaced, the new and the old.

    Each is `whsec_` and base64, as Standard Webhooks writes them, or any text of at least 16 characters.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Literal["generic"] = "generic"
    secrets: Secrets


# --- the body


class EventName(StrEnum):
    """What happened to the build."""

    STARTED = "build.started"
    PROGRESSED = "build.progressed"
    FINISHED = "build.finished"


def _number_as_text(value: object) -> object:
    return str(value) if type(value) is int and value >= 0 else value


def _instant(value: object) -> datetime:
    """The instant that an RFC 3339 text names; other spellings of a time are not guessed at."""
    if not isinstance(value, str) or not _RFC3339.fullmatch(value):
        raise ValueError("must be a time with its offset, such as 2026-11-21T04:07:52Z (RFC 3339)")
    try:
        instant = datetime.fromisoformat(value.upper())
    except ValueError:
        raise ValueError("is no time that exists") from None
    if not _EARLIEST <= instant <= _LATEST:
        raise ValueError("must lie between 1970 and 2100")
    return instant.astimezone(UTC)


Name = Annotated[str, Field(min_length=1, max_length=10_000)]
Instant = Annotated[
    datetime,
    PlainValidator(_instant),
    WithJsonSchema({"type": "string", "format": "date-time", "pattern": _RFC3339.pattern}),
]
Number = Annotated[
    str,
    BeforeValidator(_number_as_text),
    Field(pattern=_NUMBER),
    WithJsonSchema({"anyOf": [{"type": "integer", "minimum": 0}, {"type": "string", "pattern": _NUMBER}]}),
]


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class StageBody(_Body):
    """One stage of a build, in the order in which they run."""

    name: Name
    status: StageStatus
    duration_s: float | None = Field(default=None, ge=0, le=1e9, allow_inf_nan=False)


class FailedTestBody(_Body):
    """A test that failed; `detail` is why, in a line or two."""

    name: Name
    detail: str = ""


class BuildBody(_Body):
    """What happened to one build. Fields that are left out or null say nothing; what was said before stays."""

    event: EventName
    project: str = Field(pattern=r"^[^\s\x00-\x1f#:@]{1,100}$", description="As people write it in `project#number`.")
    number: Number = Field(description="The build's number or id; never used twice within a project.")
    attempt: int = Field(default=1, ge=1, le=10_000, description="Counts the re-runs of one number, from 1.")
    occurred_at: Instant | None = Field(
        default=None,
        description="When this became true; orders events. Otherwise finished_at, started_at or the header.",
    )
    status: BuildStatus | None = Field(
        default=None, description="How it ended: required with build.finished; running, or left out, before."
    )
    branch: Name | None = None
    commit: Name | None = Field(default=None, description="The full hash.")
    commit_title: Name | None = None
    author: Name | None = None
    triggered_by: Name | None = None
    started_at: Instant | None = None
    finished_at: Instant | None = None
    url: str | None = Field(default=None, pattern=r"^https?://\S+$", max_length=MAX_URL)
    summary: str | None = Field(default=None, description="How it ended, in a sentence.")
    stages: list[StageBody] | None = Field(default=None, max_length=1000, description="All stages, as far as known.")
    failed_tests: list[FailedTestBody] | None = Field(default=None, max_length=1000)
    log_excerpt: str | None = Field(default=None, description="The lines that tell most; the last 20 are shown.")

    @model_validator(mode="after")
    def _has_fitting_status(self) -> Self:
        if self.event is EventName.FINISHED:
            if self.status is None or self.status is BuildStatus.RUNNING:
                raise ValueError("status: build.finished needs success, failed, cancelled or unknown")
        elif self.status not in (None, BuildStatus.RUNNING):
            raise ValueError(f"status: {self.event} goes with running, or none")
        return self


def schema() -> dict[str, Any]:
    """The body as JSON Schema (draft 2020-12), with the rules that join fields."""
    ended = [status.value for status in BuildStatus if status is not BuildStatus.RUNNING]
    finished = {"properties": {"event": {"const": EventName.FINISHED.value}}}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **BuildBody.model_json_schema(),
        "title": "Build event",
        "if": finished,
        "then": {"required": ["status"], "properties": {"status": {"enum": ended}}},
        "else": {"properties": {"status": {"enum": [BuildStatus.RUNNING.value, None]}}},
    }


# --- the door


class GenericWebhook:
    """Understands the events that one sender posts."""

    def __init__(self, source: str, config: Config) -> None:
        self._source = source
        self._keys = tuple(key_of(secret.get_secret_value()) for secret in config.secrets)

    def receive(self, headers: Mapping[str, str], body: bytes, now: datetime) -> Received:
        """The event that a body tells; see `WebhookSource`."""
        delivery = verify(self._keys, headers, body, now)
        return parse(self._source, delivery.key, body, delivery.sent_at)


def parse(source: str, delivery_key: str, body: bytes, sent_at: int) -> Received:
    """The event that a body tells, sent at `sent_at` (seconds since 1970); PayloadInvalid names what is wrong."""
    try:
        build = BuildBody.model_validate_json(body)
    except ValidationError as problem:
        if _is_of_another_kind(body):
            return Received((), "unknown:event")
        raise PayloadInvalid(_explain(problem)) from None
    return Received((_event(source, delivery_key, build, sent_at),))


def _is_of_another_kind(body: bytes) -> bool:
    """Whether a body that is no build event names an event that we do not know."""
    try:
        event = json.loads(body)["event"]
    except (ValueError, LookupError, TypeError, RecursionError):
        return False
    return isinstance(event, str) and event not in [name.value for name in EventName]


def _explain(problem: ValidationError) -> str:
    """Up to three of the errors, each with its place in the body; never the value, which may be secret."""
    words = []
    errors = problem.errors(include_url=False, include_context=False, include_input=False)
    for error in errors[:3]:
        place = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in error["loc"]).lstrip(".")
        reason = error["msg"].removeprefix("Value error, ")
        words.append(f"{place}: {reason}" if place else reason)
    if len(errors) > 3:
        words.append(f"and {len(errors) - 3} more")
    return "; ".join(words)


# --- body to event

_KINDS = {
    EventName.STARTED: (EventKind.BUILD_STARTED, Phase.RUNNING),
    EventName.PROGRESSED: (EventKind.BUILD_PROGRESSED, Phase.RUNNING),
    EventName.FINISHED: (EventKind.BUILD_FINISHED, Phase.FINISHED),
}


def _event(source: str, delivery_key: str, build: BuildBody, sent_at: int) -> Event:
    kind, phase = _KINDS[build.event]
    is_end = build.event is EventName.FINISHED
    own_time = build.finished_at if is_end else build.started_at if build.event is EventName.STARTED else None
    occurred_at = build.occurred_at or own_time or datetime.fromtimestamp(sent_at, UTC)
    is_start = build.event is EventName.STARTED
    return Event(
        source=source,
        delivery_key=delivery_key,
        kind=kind,
        subject=SubjectKey(SubjectKind.BUILD, source, build.project, build.number),
        occurred_at=occurred_at,
        phase=phase,
        facts=_facts(build, occurred_at if is_start else None, occurred_at if is_end else None),
        attempt=build.attempt,
    )


def _facts(build: BuildBody, started_at: datetime | None, finished_at: datetime | None) -> BuildFacts:
    """The body's facts, bounded and cleaned; the given times stand in for those that it leaves out."""
    return BuildFacts(
        status=build.status if build.event is EventName.FINISHED else BuildStatus.RUNNING,
        branch=_line(build.branch, MAX_BRANCH),
        commit=_line(build.commit, 64),
        commit_title=_line(build.commit_title, MAX_NAME),
        author=_line(build.author, 100),
        triggered_by=_line(build.triggered_by, 100),
        started_at=build.started_at or started_at,
        finished_at=build.finished_at or finished_at,
        url=clean_url(build.url) if build.url else None,
        summary=_line(build.summary, 300),
        stages=_stages(build.stages),
        failed_tests=_failed_tests(build.failed_tests),
        log_excerpt=_log_excerpt(build.log_excerpt),
    )


def _line(text: str | None, limit: int) -> str | None:
    return clean_line(text, limit) or None if text is not None else None


def _log_excerpt(text: str | None) -> str | None:
    """The end of what the sender chose."""
    if not text:
        return None
    return tail(plain_lines(text[-20_000:].split("\n")), most=EXCERPT_LINES, limit=MAX_EXCERPT) or None


def _stages(stages: Sequence[StageBody] | None) -> tuple[Stage, ...] | None:
    if stages is None:
        return None
    return tuple(
        Stage(clean_line(stage.name, 100) or "?", stage.status, stage.duration_s) for stage in stages[:MAX_ITEMS]
    )


def _failed_tests(tests: Sequence[FailedTestBody] | None) -> tuple[FailedTest, ...] | None:
    if tests is None:
        return None
    return tuple(
        FailedTest(clean_line(test.name, MAX_NAME) or "?", mask_secrets(clean_line(test.detail, MAX_DETAIL)))
        for test in tests[:MAX_ITEMS]
    )


def build_source(name: str, config: Config, _session: requests.Session, _clock: Clock) -> Source:
    """The source `name`; it can only be listened to."""
    return Source(webhook=GenericWebhook(name, config))


SPEC = SourceSpec("generic", Config, build_source)

if __name__ == "__main__":
    SCHEMA_FILE.write_text(json.dumps(schema(), indent=2) + "\n", encoding="utf-8")
