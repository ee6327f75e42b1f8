"""From single looks to a verdict: limits of failures, streaks, blanks, gaps in which nobody looked."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.domain.checks import (
    LEAST_LATE_S,
    CheckKind,
    CheckProgress,
    CheckSpec,
    Measurement,
    Policy,
    Reason,
    Verdict,
    advance,
    begin,
    conclude,
    hold,
    turned_back,
)

PASSED, FAILED, NO_DATA, ERROR = Verdict.PASSED, Verdict.FAILED, Verdict.NO_DATA, Verdict.ERROR
WORDS = {"p": PASSED, "f": FAILED, "n": NO_DATA, "e": ERROR}
T0 = 1_795_000_000.0
SPEC = CheckSpec("errors", CheckKind.METRIC, max_value=0.01, window_s=0, duration_s=100, interval_s=10)


def run(spec: CheckSpec, looks: str, progress: CheckProgress | None = None) -> CheckProgress:
    """The check after looks on time: p(assed), f(ailed), n(o data), e(rror)."""
    progress = progress or begin(spec, T0)
    for look in looks:
        progress = advance(spec, progress, Measurement(progress.next_at, WORDS[look], 0.5, detail=look))
    return progress


def test_a_check_measures_from_its_beginning_to_its_end() -> None:
    """At once, then each interval, the last time at the end; it runs until then."""
    progress, times = begin(SPEC, T0), []
    while progress.is_running:
        times.append(progress.next_at - T0)
        progress = advance(SPEC, progress, Measurement(progress.next_at, PASSED, 0.0))
    assert times == [0, 10, 20, 30, 40, 50, 60, 70, 80, 90, 100]
    assert (progress.verdict, progress.measured, progress.passes) == (PASSED, 11, 11)


def test_the_first_look_can_wait_and_the_last_is_at_the_end() -> None:
    """A service needs a while to start; a length that is no multiple of the interval is watched whole."""
    spec = replace(SPEC, delay_s=15, duration_s=40)
    progress, times = begin(spec, T0), []
    while progress.is_running:
        times.append(progress.next_at - T0)
        progress = advance(spec, progress, Measurement(progress.next_at, PASSED))
    assert times == [15, 25, 35, 40]


@pytest.mark.parametrize(
    ("changed", "times"),
    [
        ({"window_s": 300}, [60, 70, 80, 90, 100]),
        ({"window_s": 25}, [25, 35, 45, 55, 65, 75, 85, 95, 100]),
        ({"window_s": 25, "delay_s": 80}, [80, 90, 100]),
        ({"window_s": 300, "duration_s": 30}, [60]),
        ({"kind": CheckKind.COMPARE, "window_s": 300, "duration_s": 75}, [60, 70, 75]),
        ({"kind": CheckKind.HTTP, "window_s": 300, "duration_s": 30}, [0, 10, 20, 30]),
    ],
)
def test_a_value_is_looked_at_once_it_can_be_the_new_version_s_alone(
    changed: dict[str, object], times: list[float]
) -> None:
    """After a minute, or its window if that is less: before, it would tell of the version before as well."""
    spec = replace(SPEC, **changed)
    progress, looked_at = begin(spec, T0), []
    while progress.is_running:
        looked_at.append(progress.next_at - T0)
        progress = advance(spec, progress, Measurement(progress.next_at, PASSED, 0.0))
    assert looked_at == times


@pytest.mark.parametrize(
    ("looks", "verdict"),
    [
        ("ppppppppppp", PASSED),
        ("pf", FAILED),
        ("nnnnnnnnnnn", NO_DATA),
        ("eeeeeeeeeee", ERROR),
        ("ppppppppeee", ERROR),  # down at the end: nobody knows how it stands
        ("ppppppppnnn", NO_DATA),
        ("eeeeepppppp", PASSED),  # was down, came back
        ("eeeeeeppppp", ERROR),
        ("nnnnnnppppp", NO_DATA),
        ("pppppppppee", PASSED),
        ("nenenenenen", NO_DATA),
    ],
)
def test_looks_add_up_to_a_verdict(looks: str, verdict: Verdict) -> None:
    """Half of them must have passed, and the last ones must tell something."""
    assert run(SPEC, looks[:-1]).is_running
    assert run(SPEC, looks).verdict is verdict


@pytest.mark.parametrize(
    ("looks", "verdict"),
    [("pe", ERROR), ("ppe", PASSED), ("ppee", ERROR), ("pppnn", NO_DATA), ("pppppee", PASSED), ("eepp", PASSED)],
)
def test_a_short_check_is_blind_by_fewer_looks(looks: str, verdict: Verdict) -> None:
    """More than a third of it, at its end."""
    assert run(replace(SPEC, duration_s=10.0 * (len(looks) - 1)), looks).verdict is verdict


@pytest.mark.parametrize(
    ("looks", "verdict"),
    [("fe", FAILED), ("fffee", FAILED), ("ffffffeee", FAILED), ("feeen", ERROR), ("nnneee", ERROR)],
)
def test_a_blind_end_takes_no_failure_back(looks: str, verdict: Verdict) -> None:
    """It keeps a check from passing; what did not pass is what most of its other looks were."""
    spec = replace(SPEC, failure_limit=9, duration_s=10.0 * (len(looks) - 1))
    assert run(spec, looks).verdict is verdict


def test_failures_end_a_check_at_their_limit() -> None:
    """Not in a row; those below the limit are borne."""
    spec = replace(SPEC, failure_limit=3)
    assert run(spec, "fpfp").is_running
    assert run(spec, "fpfpf").verdict is FAILED
    assert run(spec, "fpfpppppppp").verdict is PASSED
    assert run(replace(SPEC, failure_limit=100), "fffffffffpp").verdict is FAILED


def test_successes_in_a_row_end_a_check_early() -> None:
    """Anything else between them begins a new row."""
    spec = replace(SPEC, successes=3, failure_limit=2)
    assert run(spec, "ppp").verdict is PASSED
    for between in "fen":
        assert run(spec, f"pp{between}pp").is_running
        assert run(spec, f"pp{between}ppp").verdict is PASSED


def test_a_look_before_its_time_or_after_the_end_changes_nothing() -> None:
    """The same look handed in twice counts once."""
    progress = run(SPEC, "p")
    assert advance(SPEC, progress, Measurement(T0, FAILED)) == progress
    assert advance(SPEC, progress, Measurement(progress.next_at - 0.1, PASSED)) == progress
    ended = run(SPEC, "f")
    assert advance(SPEC, ended, Measurement(T0 + 1000, PASSED)) == ended
    assert conclude(ended) == ended


def test_a_gap_in_which_nobody_looked_is_watched_later() -> None:
    """The end moves by the gap, the look after it does not help to pass, and a row begins anew."""
    spec = replace(SPEC, successes=3)
    before = run(spec, "pp")
    after = advance(spec, before, Measurement(before.next_at + 500, PASSED, 0.0))
    assert after.ends_at == before.ends_at + 500
    assert (after.passes, after.measured, after.streak) == (2, 2, 0)
    assert after.next_at == before.next_at + 510
    assert after.last_at == before.next_at + 500
    assert run(spec, "ppp", after).verdict is PASSED


def test_a_failure_after_a_gap_counts() -> None:
    """What is broken now needs no history."""
    before = run(SPEC, "pp")
    assert advance(SPEC, before, Measurement(before.next_at + 5000, FAILED)).verdict is FAILED


def test_a_gap_over_the_end_ends_nothing() -> None:
    """Away from before the end until after it: the check goes on where it was."""
    before = run(SPEC, "p")
    after = advance(SPEC, before, Measurement(T0 + 10_000, PASSED))
    assert after.is_running
    assert after.ends_at - (T0 + 10_000) == 90
    assert run(SPEC, "p" * 9, after).verdict is PASSED


def test_the_only_look_of_a_check_is_made_again_after_a_gap() -> None:
    """It does not help to pass, and is no reason to say that nothing was seen: another one follows at once."""
    spec = replace(SPEC, window_s=300, duration_s=30)  # one look, after a minute
    before = begin(spec, T0)
    late = advance(spec, before, Measurement(before.next_at + 15, PASSED, took_s=0.5))
    assert (late.is_running, late.measured, late.next_at) == (True, 0, before.next_at + 15.5)
    assert run(spec, "p", late).verdict is PASSED
    assert run(spec, "n", late).verdict is NO_DATA
    assert advance(spec, late, Measurement(late.next_at + 15, PASSED)).verdict is NO_DATA
    assert advance(spec, before, Measurement(before.next_at + 15, FAILED)).verdict is FAILED


def test_a_slow_look_is_no_gap() -> None:
    """A look that takes longer than the interval puts the next one off, and does not discount it."""
    spec = replace(SPEC, interval_s=2, duration_s=20)
    progress = begin(spec, T0)
    while progress.is_running:
        progress = advance(spec, progress, Measurement(progress.next_at + 0.5, PASSED, took_s=7.5))
    assert (progress.verdict, progress.passes) == (PASSED, 4)
    assert progress.ends_at == T0 + 20


def test_a_check_that_never_measured_is_no_data() -> None:
    """Ended before its first look, it is not taken for well."""
    assert conclude(begin(SPEC, T0)).verdict is NO_DATA


def test_policies_have_sensible_defaults() -> None:
    """Failed rolls back, what is not known is asked; each can be set alone."""
    assert {verdict: SPEC.policy(verdict) for verdict in Verdict} == {
        PASSED: Policy.IGNORE,
        FAILED: Policy.ROLLBACK,
        NO_DATA: Policy.ASK,
        ERROR: Policy.ASK,
    }
    spec = replace(SPEC, on={ERROR: Policy.ALERT})
    assert (spec.policy(ERROR), spec.policy(FAILED)) == (Policy.ALERT, Policy.ROLLBACK)


@pytest.mark.parametrize(
    ("given_settings", "limit"),
    [
        ({"max_value": 0.01}, "≤ 0.01"),
        ({"max_value": 5.0, "min_value": 1}, "≤ 5, ≥ 1"),
        ({"expected_value": 200, "tolerance": 5}, "200 ± 5"),
        ({"expected_value": 200}, "= 200"),
        ({"kind": CheckKind.COMPARE, "max_ratio": 1.2, "max_increase": 0.05}, "≤ 1.2×, ≤ +0.05"),
        ({"kind": CheckKind.COMPARE, "min_ratio": 0.9, "max_decrease": 3}, "≥ 0.9×, ≥ −3"),
        ({"kind": CheckKind.HTTP, "contains": "ok"}, "HTTP 200, “ok”"),
        ({"kind": CheckKind.TCP, "port": 5432}, "TCP 5432"),
        ({"kind": CheckKind.MONITOR}, "OK"),
    ],
)
def test_a_limit_reads_the_same_in_every_language(given_settings: dict[str, object], limit: str) -> None:
    """Signs and numbers, as the card shows them beside the last value."""
    spec = replace(CheckSpec("check", CheckKind.METRIC), **given_settings)
    assert begin(spec, T0).limit == limit


def test_progress_survives_the_database() -> None:
    """As JSON and back; names of a newer version are passed over, old rows have what they had."""
    progress = advance(
        SPEC, run(SPEC, "p"), Measurement(T0 + 10, ERROR, None, "http_503", ("a warning",), Reason.UNASKED)
    )
    stored = json.loads(json.dumps(progress.to_json()))
    assert CheckProgress.from_json(stored) == progress
    assert CheckProgress.from_json({**stored, "invented_later": 1, "last_reason": "invented"}).last_reason is None
    assert CheckProgress.from_json({"name": "errors"}) == CheckProgress("errors")


looks = st.tuples(
    st.sampled_from(list(Verdict)),
    st.one_of(st.floats(0, 3), st.floats(0, 2000)),  # late by
    st.floats(0, 30),  # takes
)
specs = st.builds(
    CheckSpec,
    name=st.just("check"),
    kind=st.just(CheckKind.METRIC),
    delay_s=st.floats(0, 20),
    duration_s=st.floats(20, 600),
    interval_s=st.floats(0.5, 20),
    failure_limit=st.integers(1, 5),
    successes=st.integers(0, 5),
)


@given(spec=specs, taken=st.lists(looks, max_size=60), restarts=st.sets(st.integers(0, 60)))
def test_any_course_of_looks_keeps_the_rules(
    spec: CheckSpec, taken: list[tuple[Verdict, float, float]], restarts: set[int]
) -> None:
    """Whatever comes, however late, and read back from the database at any point."""
    progress = begin(spec, T0)
    watched_s, passes = 0.0, 0
    for index, (verdict, late_s, took_s) in enumerate(taken):
        if index in restarts:
            progress = CheckProgress.from_json(json.loads(json.dumps(progress.to_json())))
        look = Measurement(progress.next_at + late_s, verdict, took_s=took_s)
        was_away = look.at - progress.next_at >= max(spec.interval_s, LEAST_LATE_S)
        before, progress = progress, advance(spec, progress, look)
        if not before.is_running:
            assert progress == before
            continue
        passes += verdict is PASSED and not was_away
        assert progress.passes == passes
        assert progress.next_at >= look.at + took_s
        assert progress.ends_at - before.ends_at == pytest.approx(look.at - before.next_at if was_away else 0, abs=1e-5)
        watched_s = look.at - T0 - (progress.ends_at - T0 - spec.duration_s)
    if progress.verdict is PASSED:
        assert progress.passes > 0
        assert progress.failures < spec.failure_limit
        assert progress.streak >= spec.successes > 0 or watched_s >= spec.duration_s - 1e-3
    if not progress.passes:
        assert progress.verdict is not PASSED
    if progress.verdict is FAILED:
        assert progress.failures > 0


@given(spec=specs, late_s=st.floats(0, 100), verdict=st.sampled_from(list(Verdict)))
def test_every_check_ends(spec: CheckSpec, late_s: float, verdict: Verdict) -> None:
    """However late each look comes, there are only so many."""
    progress = begin(spec, T0)
    for _ in range(math.ceil(spec.duration_s / spec.interval_s) + 2):
        progress = advance(spec, progress, Measurement(progress.next_at + late_s, verdict))
    assert not progress.is_running
    assert progress.verdict is verdict or progress.passes == 0


def test_a_clock_that_is_set_back_takes_the_checks_with_it() -> None:
    """What happened lies in the future then: what is planned moves by as much, and what is over stays beside it."""
    going, over = run(SPEC, "pp"), run(replace(SPEC, name="other", failure_limit=1), "f")
    by_s = 3600.0
    now = T0 + 10 - by_s
    turned = turned_back([going, over], now)
    assert [one.began_at for one in turned] == [T0 - by_s] * 2
    assert (turned[0].next_at, turned[0].ends_at, turned[0].last_at) == (now + 10, T0 + 100 - by_s, now)
    assert run(SPEC, "p" * 9, turned[0]).verdict is PASSED
    assert turned_back([going, over], T0 + 10) == (going, over)
    assert turned_back([begin(SPEC, T0)], T0 - 5) == (begin(SPEC, T0 - 5),)
    assert turned_back([over], now) == (over,)


def test_what_is_held_is_no_look_until_it_lasts() -> None:
    """A refusal moves the next look and the end; after ten minutes in all it counts like any other error."""
    refused = Measurement(T0 + 10, ERROR, pause_s=240.0, reason=Reason.UNASKED)
    before = run(SPEC, "p")
    held = hold(SPEC, before, refused)
    assert (held.next_at, held.ends_at, held.held_s) == (T0 + 250, before.ends_at + 240, 240)
    assert (held.measured, held.errors, held.last_reason) == (1, 0, Reason.UNASKED)
    again = hold(SPEC, held, replace(refused, at=held.next_at))
    lasting = hold(SPEC, again, replace(refused, at=again.next_at))
    assert (lasting.measured, lasting.errors, lasting.held_s) == (2, 1, 480)
    assert lasting.ends_at == again.ends_at
