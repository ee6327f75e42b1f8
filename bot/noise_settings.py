"""The parts of shipmate.yaml that keep a channel quiet."""

from __future__ import annotations

import re
from datetime import time
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from bot.domain.noise import CRITICAL, QuietHours, Threshold
from bot.durations import length_of

_TIME = re.compile(r"([01][0-9]|2[0-3]):[0-5][0-9]")
LONGEST_WINDOW_S = 86_400.0


def _as_time(given: object) -> object:
    """YAML takes 22:00 without quotes for a number to the base of sixty."""
    return f"{given // 60:02}:{given % 60:02}" if type(given) is int else given


def _is_time(text: str) -> str:
    if not _TIME.fullmatch(text):
        raise ValueError('must be a time of day in quotes, such as "22:00"')
    return text


def _is_window(text: str) -> str:
    if not 0 < length_of(text) <= LONGEST_WINDOW_S:
        raise ValueError("must be a length of time up to a day, such as 30s, 1m or 1h")
    return text


TimeOfDay = Annotated[str, AfterValidator(_is_time), BeforeValidator(_as_time)]


class _Frozen(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ThresholdSettings(_Frozen):
    """More than so many within so long."""

    more_than: int = Field(ge=1, le=100)
    per: Annotated[str, AfterValidator(_is_window)]

    @property
    def threshold(self) -> Threshold:
        """The same for the domain."""
        return Threshold(self.more_than, length_of(self.per))


class QuietSettings(_Frozen):
    """Hours of each day in which nothing but what is spared is posted, in the destination's zone."""

    start: TimeOfDay = Field(alias="from")
    end: TimeOfDay = Field(alias="to")
    spared: Annotated[
        tuple[Literal["critical"], ...], BeforeValidator(lambda given: (given,) if isinstance(given, str) else given)
    ] = Field(default=(CRITICAL,), alias="except")

    @model_validator(mode="after")
    def _has_length(self) -> QuietSettings:
        if self.start == self.end:
            raise ValueError("from and to are the same time")
        return self

    @property
    def hours(self) -> QuietHours:
        """The same for the domain."""
        return QuietHours(time.fromisoformat(self.start), time.fromisoformat(self.end), CRITICAL in self.spared)
