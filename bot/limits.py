"""Settings that bound what is kept, and what is taken from a source."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, field_validator

from bot.durations import per_second_of, seconds_of

REDELIVERY_S = 7 * 86400.0  # senders try again for up to three days, people by hand a little longer


def _is_duration(text: str) -> str:
    seconds_of(text)
    return text


def _is_rate(text: str) -> str:
    per_second_of(text)
    return text


_as_text = BeforeValidator(lambda value: str(value) if isinstance(value, int) else value)  # 30 is no duration, but text
Written = Annotated[str, _as_text]
Duration = Annotated[Written, AfterValidator(_is_duration)]
Rate = Annotated[Written, AfterValidator(_is_rate)]


class RetentionSettings(BaseModel):
    """How long what is over is kept, each a duration or `off`.

    Deliveries are known again by their event, presses by their command, and a card by its subject: these three are kept
    at least as long as something may come twice.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    events: Duration = "30d"
    attempts: Duration = "30d"
    subjects: Duration = "90d"
    last_runs: Duration = "365d"
    dead: Duration = "90d"
    commands: Duration = "90d"

    @field_validator("events", "subjects", "commands")
    @classmethod
    def _outlasts_redelivery(cls, value: str) -> str:
        seconds = seconds_of(value)
        if seconds is not None and seconds < REDELIVERY_S:
            raise ValueError("must be at least 7d: what comes again would be taken for new")
        return value


class SourceFrame(BaseModel):
    """What every source has; the rest is validated by its kind's integration."""

    model_config = ConfigDict(extra="allow", frozen=True)

    kind: str = ""  # which one is missing is said by who knows them all
    rate: Rate = "200/s"

    @property
    def section(self) -> dict[str, Any]:
        """What the integration validates."""
        return {"kind": self.kind, **(self.model_extra or {})}
