"""What was seen, held against what a check expects: one look, one outcome."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum

from bot.domain.checks import Aggregate, CheckKind, CheckSpec, Reason, Verdict

_NAMED = 3  # series that are named where there are too many
_SLACK = 1e-9  # 0.1 + 0.2 is within 0.3


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one look comes to; `detail` are the particulars, in no language: `0.3 > 0.2 ← 0.1`, labels, an HTTP status.

    After the arrow stands what was before the deployment; `2/3` are the series that had a number.
    """

    verdict: Verdict
    reason: Reason
    value: float | None = None
    detail: str = ""


class MonitorStatus(StrEnum):
    """How a monitor of a monitoring system stands."""

    OK = "ok"
    WARN = "warn"
    ALERT = "alert"
    SILENT = "silent"  # no data, skipped, unknown: it tells nothing of the service


def judge(spec: CheckSpec, values: Mapping[str, float], baseline: Mapping[str, float] | None = None) -> Outcome:
    """A value within its limits passes. `values` are the series by their labels, `baseline` those from before.

    No series, or no number, is no data. An infinite value fails where it is beyond a limit and is an error where it is
    not. Several series are an error unless the check says how they become one value.
    """
    now = _single(spec, values)
    if now.verdict is not Verdict.PASSED:
        return now
    assert now.value is not None
    if spec.kind is not CheckKind.COMPARE:
        seen = _within(now.value, spec.min_value, spec.max_value, spec.expected_value, spec.tolerance)
        return replace(seen, detail=" ".join(filter(None, (seen.detail, now.detail))))
    before = _single(spec, baseline or {})
    if before.verdict is Verdict.NO_DATA:
        return Outcome(Verdict.NO_DATA, Reason.NO_BASELINE, now.value)
    if before.value is None or not math.isfinite(before.value):
        return Outcome(Verdict.ERROR, before.reason, now.value, before.detail or f"{before.value:g}")
    seen = _within(now.value, *allowed(spec, before.value))
    return replace(seen, detail=f"{seen.detail} ← {before.value:g}".strip())


def allowed(spec: CheckSpec, baseline: float) -> tuple[float | None, float | None]:
    """The least and the greatest value that a comparison with `baseline` allows; None without a limit."""
    size = abs(baseline)  # a ratio of what is below zero would turn round
    raised = [size * (spec.max_ratio - 1)] if spec.max_ratio is not None else []
    raised += [spec.max_increase] if spec.max_increase is not None else []
    lowered = [size * (1 - spec.min_ratio)] if spec.min_ratio is not None else []
    lowered += [spec.max_decrease] if spec.max_decrease is not None else []
    return (baseline - max(lowered) if lowered else None), (baseline + max(raised) if raised else None)


def judge_reply(spec: CheckSpec, status: int, text: str, contains: str) -> Outcome:
    """An HTTP answer passes when its status is as expected and `contains`, the filled template, is in its text."""
    if status != spec.expected_status:
        return Outcome(Verdict.FAILED, Reason.WRONG_STATUS, float(status), str(status))
    if contains not in text:
        return Outcome(Verdict.FAILED, Reason.WRONG_TEXT, float(status), str(status))
    return Outcome(Verdict.PASSED, Reason.WITHIN, float(status), str(status))


def judge_monitor(spec: CheckSpec, status: MonitorStatus, words: str) -> Outcome:
    """A monitor passes when it is well; a warning passes unless the check says otherwise, silence is no data."""
    match status:
        case MonitorStatus.OK:
            return Outcome(Verdict.PASSED, Reason.WITHIN, detail=words)
        case MonitorStatus.WARN:
            verdict = Verdict.FAILED if spec.fail_on_warning else Verdict.PASSED
            return Outcome(verdict, Reason.MONITOR_WARN, detail=words)
        case MonitorStatus.ALERT:
            return Outcome(Verdict.FAILED, Reason.MONITOR_ALERT, detail=words)
        case MonitorStatus.SILENT:
            return Outcome(Verdict.NO_DATA, Reason.MONITOR_SILENT, detail=words)


def _single(spec: CheckSpec, values: Mapping[str, float]) -> Outcome:
    """The one value of several series; series without a number are left out of an aggregate, and counted in words."""
    if not values:
        return Outcome(Verdict.NO_DATA, Reason.NO_SERIES, detail="[]")
    if len(values) > 1 and spec.aggregate is None:
        named = ", ".join(sorted(values)[:_NAMED]) + (", …" if len(values) > _NAMED else "")
        return Outcome(Verdict.ERROR, Reason.SEVERAL_SERIES, detail=f"{len(values)}: {named}")
    numbers = [value for value in values.values() if not math.isnan(value)]
    value = _aggregated(spec.aggregate, numbers) if numbers else math.nan
    if math.isnan(value):
        return Outcome(Verdict.NO_DATA, Reason.NOT_A_NUMBER, detail="NaN")
    detail = f"{len(numbers)}/{len(values)}" if len(numbers) < len(values) else ""
    return Outcome(Verdict.PASSED, Reason.WITHIN, value, detail)


def _aggregated(aggregate: Aggregate | None, numbers: list[float]) -> float:
    match aggregate:
        case None:
            return numbers[0]
        case Aggregate.MAX:
            return max(numbers)
        case Aggregate.MIN:
            return min(numbers)
        case Aggregate.SUM:
            return sum(numbers)
        case Aggregate.AVG:
            return sum(numbers) / len(numbers)


def _within(
    value: float,
    lowest: float | None,
    highest: float | None,
    expected: float | None = None,
    tolerance: float = 0.0,
) -> Outcome:
    if highest is not None and value > highest and not _is_near(value, highest):
        return Outcome(Verdict.FAILED, Reason.ABOVE, value, f"{value:g} > {highest:g}")
    if lowest is not None and value < lowest and not _is_near(value, lowest):
        return Outcome(Verdict.FAILED, Reason.BELOW, value, f"{value:g} < {lowest:g}")
    if expected is not None and abs(value - expected) > tolerance + _SLACK * max(abs(expected), tolerance):
        return Outcome(Verdict.FAILED, Reason.OFF_TARGET, value, f"{value:g} ≠ {expected:g} ± {tolerance:g}")
    if math.isinf(value):
        return Outcome(Verdict.ERROR, Reason.INFINITE, value, f"{value:+g}")
    return Outcome(Verdict.PASSED, Reason.WITHIN, value)


def _is_near(value: float, limit: float) -> bool:
    return math.isclose(value, limit, rel_tol=_SLACK)
