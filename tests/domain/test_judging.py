"""One look at a time: values within limits, beyond them, and those that are none."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.domain.checks import Aggregate, CheckKind, CheckSpec, Reason, Verdict
from bot.domain.judging import MonitorStatus, Outcome, allowed, judge, judge_monitor, judge_reply

PASSED, FAILED, NO_DATA, ERROR = Verdict.PASSED, Verdict.FAILED, Verdict.NO_DATA, Verdict.ERROR
METRIC = CheckSpec("errors", CheckKind.METRIC, max_value=0.3)
COMPARE = CheckSpec("latency", CheckKind.COMPARE, max_ratio=1.5)
NAN, INF = math.nan, math.inf


@pytest.mark.parametrize(
    ("limits", "value", "verdict", "reason"),
    [
        ({"max_value": 0.3}, 0.3, PASSED, Reason.WITHIN),
        ({"max_value": 0.3}, 0.1 + 0.2, PASSED, Reason.WITHIN),
        ({"max_value": 0.3}, 0.3001, FAILED, Reason.ABOVE),
        ({"max_value": 0.0}, 0.0, PASSED, Reason.WITHIN),
        ({"max_value": 0.0}, 1e-12, FAILED, Reason.ABOVE),
        ({"max_value": None, "min_value": 99.9}, 99.9, PASSED, Reason.WITHIN),
        ({"max_value": None, "min_value": 99.9}, 99.8, FAILED, Reason.BELOW),
        ({"max_value": 5, "min_value": 2}, 1, FAILED, Reason.BELOW),
        ({"max_value": None, "expected_value": 200, "tolerance": 5}, 205, PASSED, Reason.WITHIN),
        ({"max_value": None, "expected_value": 200, "tolerance": 5}, 194.9, FAILED, Reason.OFF_TARGET),
        ({"max_value": None, "expected_value": 0.3}, 0.1 + 0.2, PASSED, Reason.WITHIN),
        ({"max_value": None, "expected_value": 1e-12, "tolerance": 1e-13}, 2e-12, FAILED, Reason.OFF_TARGET),
        ({"max_value": 0.3}, NAN, NO_DATA, Reason.NOT_A_NUMBER),
        ({"max_value": 0.3}, INF, FAILED, Reason.ABOVE),
        ({"max_value": 0.3}, -INF, ERROR, Reason.INFINITE),
        ({"max_value": None, "min_value": 1}, -INF, FAILED, Reason.BELOW),
        ({"max_value": None, "min_value": 1}, INF, ERROR, Reason.INFINITE),
        ({"max_value": None, "expected_value": 1, "tolerance": 5}, INF, FAILED, Reason.OFF_TARGET),
    ],
)
def test_a_value_is_held_against_its_limits(
    limits: dict[str, float], value: float, verdict: Verdict, reason: Reason
) -> None:
    """Limits belong to what they allow; what is no number is no data, an infinity never passes."""
    outcome = judge(replace(METRIC, **limits), {"{}": value})
    assert (outcome.verdict, outcome.reason) == (verdict, reason)


def test_nothing_found_is_no_data() -> None:
    """An empty answer is not health."""
    assert judge(METRIC, {}) == Outcome(NO_DATA, Reason.NO_SERIES, detail="[]")


def test_two_series_are_an_error_that_names_them() -> None:
    """Which of them was meant is for the configuration to say."""
    assert judge(METRIC, {'{pod="b"}': 0.1, '{pod="a"}': 9.0}) == Outcome(
        ERROR, Reason.SEVERAL_SERIES, detail='2: {pod="a"}, {pod="b"}'
    )
    assert judge(METRIC, {str(number): 0.0 for number in range(1000)}).detail == "1000: 0, 1, 10, …"


@pytest.mark.parametrize(
    ("aggregate", "value"), [(Aggregate.MAX, 0.6), (Aggregate.MIN, 0.2), (Aggregate.SUM, 0.8), (Aggregate.AVG, 0.4)]
)
def test_several_series_become_one_value_where_the_check_says_how(aggregate: Aggregate, value: float) -> None:
    """Those without a number are left out, and counted."""
    outcome = judge(replace(METRIC, aggregate=aggregate), {"a": 0.2, "b": 0.6, "c": NAN})
    assert outcome.value == pytest.approx(value)
    assert outcome.verdict is (PASSED if value <= 0.3 else FAILED)
    assert outcome.detail == ("2/3" if value <= 0.3 else f"{value:g} > 0.3 2/3")
    assert judge(replace(METRIC, aggregate=aggregate), {"a": NAN, "b": NAN}).verdict is NO_DATA


@given(
    value=st.floats(allow_nan=True, allow_infinity=True),
    highest=st.one_of(st.none(), st.floats(-1e9, 1e9)),
    lowest=st.one_of(st.none(), st.floats(-1e9, 1e9)),
)
def test_only_a_finite_value_within_all_limits_passes(
    value: float, highest: float | None, lowest: float | None
) -> None:
    """Whatever number a system sends."""
    spec = replace(METRIC, max_value=highest, min_value=lowest)
    if judge(spec, {"": value}).verdict is PASSED:
        assert math.isfinite(value)
        assert highest is None or value <= highest or math.isclose(value, highest)
        assert lowest is None or value >= lowest or math.isclose(value, lowest)


@pytest.mark.parametrize(
    ("limits", "before", "now", "verdict"),
    [
        ({}, 100, 150, PASSED),
        ({}, 100, 151, FAILED),
        ({}, 100, 0, PASSED),
        ({}, 0, 0, PASSED),
        ({}, 0, 0.001, FAILED),
        ({"max_increase": 0.01}, 0, 0.001, PASSED),
        ({"max_increase": 0.01}, 0, 0.011, FAILED),
        ({"max_increase": 10}, 100, 149, PASSED),
        ({"max_ratio": None, "max_increase": 10}, 100, 111, FAILED),
        ({"max_ratio": None, "min_ratio": 0.9}, 100, 90, PASSED),
        ({"max_ratio": None, "min_ratio": 0.9}, 100, 89, FAILED),
        ({"max_ratio": None, "min_ratio": 0.9, "max_decrease": 20}, 100, 80, PASSED),
        ({}, -100, -50, PASSED),
        ({}, -100, -49, FAILED),
        ({}, 100, NAN, NO_DATA),
        ({}, NAN, 100, NO_DATA),
        ({}, INF, 100, ERROR),
    ],
)
def test_a_value_is_compared_with_the_one_before(
    limits: dict[str, float], before: float, now: float, verdict: Verdict
) -> None:
    """By ratio or by difference, whichever allows more; without a value before there is nothing to say."""
    assert judge(replace(COMPARE, **limits), {"": now}, {"": before}).verdict is verdict


def test_a_comparison_says_what_was_before() -> None:
    """The baseline stands beside the value; without one that is the reason."""
    assert judge(COMPARE, {"": 200.0}, {"": 100.0}) == Outcome(FAILED, Reason.ABOVE, 200.0, "200 > 150 ← 100")
    assert judge(COMPARE, {"": 120.0}, {"": 100.0}) == Outcome(PASSED, Reason.WITHIN, 120.0, "← 100")
    assert judge(COMPARE, {"": 200.0}, {}) == Outcome(NO_DATA, Reason.NO_BASELINE, 200.0)
    assert judge(COMPARE, {"": 1.0}, {"a": 1.0, "b": 1.0}) == Outcome(ERROR, Reason.SEVERAL_SERIES, 1.0, "2: a, b")


@given(baseline=st.floats(-1e6, 1e6), ratio=st.floats(1, 10), increase=st.floats(0, 1e6))
def test_what_was_before_is_always_allowed(baseline: float, ratio: float, increase: float) -> None:
    """A value that did not change has not become worse."""
    lowest, highest = allowed(replace(COMPARE, max_ratio=ratio, max_increase=increase), baseline)
    assert lowest is None
    assert highest is not None
    assert highest >= baseline


@pytest.mark.parametrize(
    ("status", "text", "verdict", "reason"),
    [
        (200, "all is ok", PASSED, Reason.WITHIN),
        (204, "all is ok", FAILED, Reason.WRONG_STATUS),
        (302, "", FAILED, Reason.WRONG_STATUS),
        (200, "OK", FAILED, Reason.WRONG_TEXT),
    ],
)
def test_an_http_answer_is_judged_by_status_and_text(status: int, text: str, verdict: Verdict, reason: Reason) -> None:
    """Both as expected; what came is told."""
    spec = CheckSpec("health", CheckKind.HTTP)
    assert judge_reply(spec, status, text, "ok") == Outcome(verdict, reason, float(status), str(status))


def test_a_monitor_is_taken_at_its_word() -> None:
    """Well, alerting, silent; a warning fails only where that is asked for."""
    spec = CheckSpec("slo", CheckKind.MONITOR)
    verdicts = {status: judge_monitor(spec, status, "").verdict for status in MonitorStatus}
    assert verdicts == {
        MonitorStatus.OK: PASSED,
        MonitorStatus.WARN: PASSED,
        MonitorStatus.ALERT: FAILED,
        MonitorStatus.SILENT: NO_DATA,
    }
    assert judge_monitor(replace(spec, fail_on_warning=True), MonitorStatus.WARN, "5xx").verdict is FAILED
