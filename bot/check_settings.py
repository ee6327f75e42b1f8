"""One post-deploy check as shipmate.yaml writes it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, field_validator, model_validator

from bot.domain.checks import Aggregate, CheckKind, CheckSpec, Policy, Verdict
from bot.domain.templates import DEPLOYMENT_NAMES, fill, names_in
from bot.durations import length_of, seconds_of
from bot.limits import Duration, Written

QUERY_NAMES = DEPLOYMENT_NAMES | {"window"}
MOST_TIME_S = 20.0  # for one measurement with all its tries: a worker's lease is longer
LONGEST_S = 86_400.0
_SAMPLE = dict.fromkeys(DEPLOYMENT_NAMES, "sample")
_HOST = re.compile(r"[A-Za-z0-9._-]{1,250}|[0-9A-Fa-f:.]{2,45}")
_LIMITS = ("max_value", "min_value", "expected_value")
_CHANGES = ("max_ratio", "min_ratio", "max_increase", "max_decrease")
_NEEDS: Mapping[CheckKind, tuple[tuple[str, ...], ...]] = {
    CheckKind.METRIC: (("source",), ("query",), _LIMITS),
    CheckKind.COMPARE: (("source",), ("query",), _CHANGES),
    CheckKind.HTTP: (("url",),),
    CheckKind.TCP: (("host",), ("port",)),
    CheckKind.MONITOR: (("source",), ("monitor",)),
}
_TAKES: Mapping[CheckKind, tuple[str, ...]] = {
    CheckKind.METRIC: ("aggregate", "tolerance", "window"),
    CheckKind.COMPARE: ("aggregate", "window", "baseline_window"),
    CheckKind.HTTP: ("expected_status", "contains", "timeout", "retries"),
    CheckKind.TCP: ("timeout", "retries"),
    CheckKind.MONITOR: ("fail_on_warning",),
}
_LENGTHS = ("window", "baseline_window", "timeout", "delay", "duration", "interval")
_COMMON = ("kind", "delay", "duration", "interval", "failure_limit", "successes", "on")


def _template_of(names: frozenset[str]) -> AfterValidator:
    """A check that a template asks for nothing but these names."""

    def check(text: str) -> str:
        if unknown := names_in(text) - names:
            raise ValueError(f"{{{{{min(unknown)}}}}} is none of {', '.join(sorted(names))}")
        if "{{" in fill(text, dict.fromkeys(names, "")):
            raise ValueError("a {{ does not begin a name such as {{service}}")
        return text

    return AfterValidator(check)


def _is_length(text: str) -> str:
    if not 0 < length_of(text) <= LONGEST_S:
        raise ValueError("must be a length of time up to a day, such as 10s or 5m")
    return text


Length = Annotated[Written, AfterValidator(_is_length)]
Limit = Annotated[float, Field(allow_inf_nan=False)]
QueryText = Annotated[str, _template_of(QUERY_NAMES), Field(max_length=2000)]
Text = Annotated[str, _template_of(DEPLOYMENT_NAMES), Field(max_length=1000)]


class _Frozen(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class OnSettings(_Frozen):
    """What each verdict leads to: rollback, alert, ask or ignore."""

    failed: Policy = Policy.ROLLBACK
    no_data: Policy = Policy.ASK
    error: Policy = Policy.ASK


class MetricsFrame(BaseModel):
    """What every system that measures has; the rest is validated by its kind's integration."""

    model_config = ConfigDict(extra="allow", frozen=True)

    kind: str = ""  # which one is missing is said by who knows them all

    @property
    def section(self) -> dict[str, Any]:
        """What the integration validates."""
        return {"kind": self.kind, **(self.model_extra or {})}


class CheckSettings(_Frozen):
    """One check. Each kind takes its own settings, and refuses those of the others."""

    kind: CheckKind
    source: str = ""
    query: QueryText = ""
    aggregate: Aggregate | None = None
    max_value: Limit | None = None
    min_value: Limit | None = None
    expected_value: Limit | None = None
    tolerance: Annotated[Limit, Field(ge=0)] = 0.0
    max_ratio: Annotated[Limit, Field(gt=0)] | None = None
    min_ratio: Annotated[Limit, Field(ge=0)] | None = None
    max_increase: Annotated[Limit, Field(ge=0)] | None = None
    max_decrease: Annotated[Limit, Field(ge=0)] | None = None
    window: Length = "5m"
    baseline_window: Length = "1h"
    monitor: Text = ""
    fail_on_warning: bool = False
    url: Text = ""
    expected_status: int = Field(default=200, ge=100, le=599)
    contains: Text = ""
    host: Text = ""
    port: int = Field(default=0, ge=1, le=65535)
    timeout: Length = "5s"
    retries: int = Field(default=0, ge=0, le=5)
    delay: Duration = "off"
    duration: Length = "5m"
    interval: Length = "10s"
    failure_limit: int = Field(default=1, ge=1, le=1000)
    successes: int = Field(default=0, ge=0, le=1000)
    on: OnSettings = OnSettings()

    @field_validator("url")
    @classmethod
    def _is_address(cls, url: str) -> str:
        try:
            parts = urlsplit(fill(url, _SAMPLE))
            is_whole = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
        except ValueError:
            is_whole = False
        if not is_whole or re.search(r"\s", url):
            raise ValueError("must be an http or https address such as http://127.0.0.1:9000/health")
        if parts.username or parts.password:
            raise ValueError("must not hold credentials: whoever sees the check would see them")
        return url

    @field_validator("host")
    @classmethod
    def _is_host(cls, host: str) -> str:
        if not _HOST.fullmatch(fill(host, _SAMPLE)):
            raise ValueError("must be a name or an address such as db.example.com")
        return host

    @model_validator(mode="after")
    def _has_what_its_kind_takes(self) -> CheckSettings:
        given, needs = self.model_fields_set, _NEEDS[self.kind]
        fitting = {name for names in needs for name in names} | {*_TAKES[self.kind], *_COMMON}
        if strangers := sorted(given - fitting):
            raise ValueError(f"{strangers[0]} means nothing to a check of kind {self.kind}")
        for names in needs:
            if not any(name in given and getattr(self, name) not in (None, "") for name in names):
                raise ValueError(f"a check of kind {self.kind} needs {' or '.join(names)}")
        return self

    @model_validator(mode="after")
    def _fits_in_its_time(self) -> CheckSettings:
        if _seconds(self.interval) > _seconds(self.duration):
            raise ValueError("interval is longer than duration")
        if _seconds(self.delay) >= _seconds(self.duration):
            raise ValueError("delay leaves nothing of duration")
        if _seconds(self.timeout) * (1 + self.retries) > MOST_TIME_S:
            raise ValueError(f"timeout with all retries is more than {MOST_TIME_S:g}s")
        return self

    def spec(self, name: str) -> CheckSpec:
        """The same for the domain."""
        lengths: dict[str, Any] = {f"{length}_s": _seconds(getattr(self, length)) for length in _LENGTHS}
        same = self.model_dump(exclude={*_LENGTHS, "monitor", "query", "on"})
        policies = {Verdict.PASSED: Policy.IGNORE, **{Verdict(word): policy for word, policy in self.on}}
        return CheckSpec(name=name, query=self.query or self.monitor, on=policies, **same, **lengths)


def _seconds(length: str) -> float:
    return seconds_of(length) or 0.0
