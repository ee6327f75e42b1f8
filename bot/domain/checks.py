"""Post-deploy checks: what is measured, how one measurement is judged, and how many of them become a verdict.

Nothing here reads a clock or a network. Times are seconds since 1970, lengths are seconds.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from enum import StrEnum
from typing import Any, Self

LEAST_LATE_S = 5.0  # a busy worker is not one that was away
SHORTEST_WINDOW_S = 60.0  # of less time most systems cannot tell a rate
MOST_BLANKS = 3  # so many in a row at the end, and nobody knows how things stand
LONGEST_HELD_S = 600.0  # a system that wants to be left alone for longer in all has not answered
_EPSILON_S = 1e-6


class Verdict(StrEnum):
    """How a measurement, or a whole check, came out. No data is not health, and an error is not a failure."""

    PASSED = "passed"
    FAILED = "failed"
    NO_DATA = "no_data"
    ERROR = "error"


class Policy(StrEnum):
    """What a verdict leads to."""

    ROLLBACK = "rollback"
    ALERT = "alert"
    ASK = "ask"
    IGNORE = "ignore"


class CheckKind(StrEnum):
    """What a check looks at: a value, a value beside the one before the deployment, an address, a monitor."""

    METRIC = "metric"
    COMPARE = "compare"
    HTTP = "http"
    TCP = "tcp"
    MONITOR = "monitor"


CHARTED = frozenset({CheckKind.METRIC, CheckKind.COMPARE})
"""Kinds that look at a value which has a history."""


class Aggregate(StrEnum):
    """How several series become one value."""

    MAX = "max"
    MIN = "min"
    SUM = "sum"
    AVG = "avg"


class Reason(StrEnum):
    """Why a measurement came out as it did; `Measurement.detail` has the particulars."""

    WITHIN = "within"
    ABOVE = "above"
    BELOW = "below"
    OFF_TARGET = "off_target"
    NO_SERIES = "no_series"
    NOT_A_NUMBER = "not_a_number"
    INFINITE = "infinite"
    SEVERAL_SERIES = "several_series"
    NO_BASELINE = "no_baseline"
    NO_ANSWER = "no_answer"
    WRONG_STATUS = "wrong_status"
    WRONG_TEXT = "wrong_text"
    MONITOR_ALERT = "monitor_alert"
    MONITOR_WARN = "monitor_warn"
    MONITOR_SILENT = "monitor_silent"
    UNASKED = "unasked"  # the system that knows could not be asked
    PARTIAL = "partial"  # the system could not read all that it would have reckoned with
    NOT_CONFIGURED = "not_configured"  # it was taken out of the configuration meanwhile


DEFAULT_POLICIES: Mapping[Verdict, Policy] = {
    Verdict.PASSED: Policy.IGNORE,
    Verdict.FAILED: Policy.ROLLBACK,
    Verdict.NO_DATA: Policy.ASK,
    Verdict.ERROR: Policy.ASK,
}


@dataclass(frozen=True, slots=True)
class CheckSpec:
    """One check as configured; what its kind has no use for is left alone.

    `query` is a template (the monitor's id for a monitor), as are `url`, `contains` and `host`. A value is within
    limits that are equal to it. `compare` allows the larger of baseline times `max_ratio` and baseline plus
    `max_increase`, and likewise downwards. `failure_limit` failed measurements end the check, `successes` passed ones
    in a row end it early (0: never). The first measurement is made after `delay_s`, a value's not before `settles_s`.
    """

    name: str
    kind: CheckKind
    source: str = ""
    query: str = ""
    aggregate: Aggregate | None = None
    max_value: float | None = None
    min_value: float | None = None
    expected_value: float | None = None
    tolerance: float = 0.0
    max_ratio: float | None = None
    min_ratio: float | None = None
    max_increase: float | None = None
    max_decrease: float | None = None
    window_s: float = 300.0
    baseline_window_s: float = 3600.0
    url: str = ""
    expected_status: int = 200
    contains: str = ""
    host: str = ""
    port: int = 0
    timeout_s: float = 5.0
    retries: int = 0
    fail_on_warning: bool = False
    delay_s: float = 0.0
    duration_s: float = 300.0
    interval_s: float = 10.0
    failure_limit: int = 1
    successes: int = 0
    on: Mapping[Verdict, Policy] = field(default_factory=lambda: DEFAULT_POLICIES)

    def policy(self, verdict: Verdict) -> Policy:
        """What a verdict of this check leads to."""
        return self.on.get(verdict, DEFAULT_POLICIES[verdict])

    @property
    def settles_s(self) -> float:
        """How long a version must have been there before a value can be its own alone: values are about some time."""
        return min(self.window_s, SHORTEST_WINDOW_S) if self.kind in CHARTED else 0.0

    @property
    def bounds(self) -> tuple[float | None, float | None]:
        """The least and the greatest value that a metric check allows; of a comparison they are not known before."""
        if self.kind is not CheckKind.METRIC:
            return None, None
        if self.expected_value is None:
            return self.min_value, self.max_value
        lowest, highest = self.expected_value - self.tolerance, self.expected_value + self.tolerance
        least = max(value for value in (lowest, self.min_value) if value is not None)
        most = min(value for value in (highest, self.max_value) if value is not None)
        return least, most

    @property
    def limit(self) -> str:
        """What is expected, in signs that need no translation: `≤ 0.01`, `200 ± 5`, `HTTP 200`."""
        match self.kind:
            case CheckKind.HTTP:
                return f"HTTP {self.expected_status}" + (f", “{self.contains}”" if self.contains else "")
            case CheckKind.TCP:
                return f"TCP {self.port}"
            case CheckKind.MONITOR:
                return "OK"
            case CheckKind.COMPARE:
                return _joined(
                    ("≤ {}×", self.max_ratio),
                    ("≤ +{}", self.max_increase),
                    ("≥ {}×", self.min_ratio),
                    ("≥ −{}", self.max_decrease),
                )
            case CheckKind.METRIC:
                target = f"{{}} ± {self.tolerance:g}" if self.tolerance else "= {}"
                return _joined(("≤ {}", self.max_value), ("≥ {}", self.min_value), (target, self.expected_value))


def _joined(*limits: tuple[str, float | None]) -> str:
    return ", ".join(text.format(f"{value:g}") for text, value in limits if value is not None)


@dataclass(frozen=True, slots=True)
class Measurement:
    """One look, begun `at` and done `took_s` later. `warnings` are what the system said beside its answer.

    The system wants to be left alone for `pause_s` more.
    """

    at: float
    verdict: Verdict
    value: float | None = None
    detail: str = ""
    warnings: tuple[str, ...] = ()
    reason: Reason = Reason.WITHIN
    took_s: float = 0.0
    pause_s: float = 0.0


@dataclass(frozen=True, slots=True)
class CheckProgress:
    """How far a check has come; `verdict` is None while it runs, and it is to be measured at `next_at`.

    `measured` counts what counted: passed and failed measurements and blanks (no data, errors). `streak` are the passed
    ones in a row, `blanks` the blanks in a row. `last_…` tell of the newest look, which may not have counted.
    `is_charted`: there is a history of its value. It was held for `held_s` in all.
    """

    name: str
    verdict: Verdict | None = None
    began_at: float = 0.0
    ends_at: float = 0.0
    next_at: float = 0.0
    measured: int = 0
    passes: int = 0
    failures: int = 0
    errors: int = 0
    streak: int = 0
    blanks: int = 0
    limit: str = ""
    last_at: float | None = None
    last_verdict: Verdict | None = None
    last_value: float | None = None
    last_reason: Reason | None = None
    last_detail: str = ""
    warnings: tuple[str, ...] = ()
    is_charted: bool = False
    held_s: float = 0.0

    @property
    def is_running(self) -> bool:
        """Whether there is more to measure."""
        return self.verdict is None

    def to_json(self) -> dict[str, Any]:
        """JSON values for the database."""
        plain = {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()}
        value = self.last_value
        if value is not None and not math.isfinite(value):
            plain["last_value"] = str(value)  # JSON has no number for it, and PostgreSQL takes none
        return plain

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> Self:
        """The reverse of `to_json`; unknown names are ignored, so that newer rows can be read."""
        known = {name: stored[name] for name in _PROGRESS if name in stored}
        for name in ("verdict", "last_verdict"):
            known[name] = Verdict(known[name]) if known.get(name) else None
        known["last_reason"] = Reason(known["last_reason"]) if known.get("last_reason") in _REASONS else None
        known["warnings"] = tuple(known.get("warnings", ()))
        known["last_value"] = None if known.get("last_value") is None else float(known["last_value"])
        return cls(**known)


_PROGRESS = tuple(one.name for one in fields(CheckProgress))
_REASONS = frozenset(Reason)


def begin(spec: CheckSpec, at: float) -> CheckProgress:
    """A check that runs from now on and has measured nothing yet; it lasts until its first look at least."""
    first = at + max(min(spec.delay_s, spec.duration_s), spec.settles_s)
    return CheckProgress(
        spec.name,
        began_at=at,
        ends_at=max(at + spec.duration_s, first),
        next_at=first,
        limit=spec.limit,
        is_charted=spec.kind in CHARTED,
    )


def advance(spec: CheckSpec, progress: CheckProgress, measurement: Measurement) -> CheckProgress:
    """The check after one more measurement. One that comes before its time, or after the end, changes nothing.

    Where nobody looked for a whole interval or longer (no worker was there), the end moves by as much: the check ends
    only when it has watched for its whole duration. The look after such a gap can fail the check but not help it pass,
    for it says nothing about the time before, and it begins a new streak. Where it would have been the only one,
    another one follows at once.
    """
    if not progress.is_running or measurement.at < progress.next_at:
        return progress
    gap_s = measurement.at - progress.next_at
    was_away = gap_s >= max(spec.interval_s, LEAST_LATE_S)
    ends_at = progress.ends_at + (gap_s if was_away else 0.0)
    seen = replace(
        _counted(progress, measurement, was_away=was_away),
        ends_at=ends_at,
        next_at=_next_at(spec, ends_at, measurement.at if was_away else progress.next_at, measurement),
        last_at=measurement.at,
        last_verdict=measurement.verdict,
        last_value=measurement.value,
        last_reason=measurement.reason,
        last_detail=measurement.detail,
        warnings=measurement.warnings,
    )
    if seen.failures >= spec.failure_limit:
        return replace(seen, verdict=Verdict.FAILED)
    if 0 < spec.successes <= seen.streak:
        return replace(seen, verdict=Verdict.PASSED)
    told_nothing = not seen.measured and progress.last_verdict is not Verdict.PASSED  # so one more look is made
    return conclude(seen) if measurement.at >= ends_at - _EPSILON_S and not told_nothing else seen


def hold(spec: CheckSpec, progress: CheckProgress, refused: Measurement) -> CheckProgress:
    """The check while its system wants to be left alone (`pause_s`): that is no look, and it ends later by as long.

    Only what lasts is an error: more than ten minutes in all.
    """
    next_at = refused.at + refused.took_s + refused.pause_s
    held_s = progress.held_s + next_at - refused.at
    if held_s > LONGEST_HELD_S:
        return advance(spec, progress, refused)
    return replace(
        progress,
        next_at=next_at,
        ends_at=progress.ends_at + next_at - progress.next_at,
        held_s=held_s,
        last_at=refused.at,
        last_verdict=refused.verdict,
        last_value=None,
        last_reason=refused.reason,
        last_detail=refused.detail,
    )


def turned_back(checks: Sequence[CheckProgress], now: float) -> tuple[CheckProgress, ...]:
    """The checks as they are by a clock that was set back: what happened lies in its future."""
    running = [one for one in checks if one.is_running]
    happened = [one.began_at if one.last_at is None else one.last_at for one in running]
    back_s = max(happened, default=now) - now
    return tuple(_earlier(one, back_s) for one in checks) if back_s > 0 else tuple(checks)


def conclude(progress: CheckProgress) -> CheckProgress:
    """The check at its end, with the verdict that its measurements add up to.

    It passed when at least half of them did and the last ones, three or more than a third, were not blank; else it is
    what the last one was. Where fewer passed it is what most of the others were; a check that never measured anything
    is no data.
    """
    if not progress.is_running:
        return progress
    silent = progress.measured - progress.passes - progress.failures - progress.errors
    others = ((progress.failures, Verdict.FAILED), (progress.errors, Verdict.ERROR), (silent, Verdict.NO_DATA))
    count, verdict = max(others, key=lambda one: one[0])  # the first of equals: failed before error before no data
    if not count:
        verdict = Verdict.NO_DATA
    is_blind = progress.blanks >= MOST_BLANKS or 3 * progress.blanks > progress.measured
    if progress.passes and 2 * progress.passes >= progress.measured:
        verdict = (progress.last_verdict or Verdict.ERROR) if is_blind else Verdict.PASSED
    return replace(progress, verdict=verdict)


def drop(progress: CheckProgress) -> CheckProgress:
    """The check after it was taken out of the configuration: nobody looks any more, and nothing follows from it."""
    if not progress.is_running:
        return progress
    silent = Verdict.NO_DATA
    return replace(progress, verdict=silent, last_verdict=silent, last_reason=Reason.NOT_CONFIGURED, last_detail="")


def _counted(progress: CheckProgress, measurement: Measurement, *, was_away: bool) -> CheckProgress:
    measured = progress.measured + 1
    match measurement.verdict:
        case Verdict.PASSED if was_away:
            return replace(progress, streak=0, blanks=0)
        case Verdict.PASSED:
            streak = 1 + progress.streak
            return replace(progress, measured=measured, passes=progress.passes + 1, streak=streak, blanks=0)
        case Verdict.FAILED:
            return replace(progress, measured=measured, failures=progress.failures + 1, streak=0, blanks=0)
        case Verdict.ERROR | Verdict.NO_DATA:
            errors = progress.errors + (measurement.verdict is Verdict.ERROR)
            return replace(progress, measured=measured, errors=errors, streak=0, blanks=progress.blanks + 1)


def _earlier(progress: CheckProgress, by_s: float) -> CheckProgress:
    return replace(
        progress,
        began_at=progress.began_at - by_s,
        ends_at=progress.ends_at - by_s,
        next_at=progress.next_at - by_s,
        last_at=None if progress.last_at is None else progress.last_at - by_s,
    )


def _next_at(spec: CheckSpec, ends_at: float, planned: float, measurement: Measurement) -> float:
    """The next instant of the grid that is not over yet; the last one is the end itself."""
    done_at = measurement.at + measurement.took_s + measurement.pause_s
    steps = max(1, -int(-(done_at - planned) // spec.interval_s))
    return max(done_at, min(planned + steps * spec.interval_s, ends_at))
