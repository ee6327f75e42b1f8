"""Windows and freezes while deployments run: what is approved waits for its hour, and what must not wait does not."""

from __future__ import annotations

from datetime import date, time

import pytest
from sqlalchemy import Engine

from bot.domain.builds import BuildStatus
from bot.domain.cards import Lines
from bot.domain.deployments import DeploymentState
from bot.domain.services import ApprovalRule
from bot.domain.windows import Freeze, Window
from tests.services.deployment_world import SERVICE, Stage, a_stage
from tests.stores import SqlStore

pytestmark = pytest.mark.one_engine

S = DeploymentState
HOUR_S = 3600.0
# The clock of these tests begins on Saturday, the 21st of November 2026, at 04:00 UTC, which is five in Berlin.
SATURDAY = Window(frozenset({5}), time(9), time(17), "Europe/Berlin")
EARLY = Window(frozenset({5}), time(4), time(5))
FREEZE = Freeze(date(2026, 11, 20), date(2026, 11, 21), "the shop's birthday", "Europe/Berlin")


def approved(stage: Stage, version: str, number: int, more: str = "") -> None:
    """One to production that was built, asked for, confirmed and approved."""
    stage.build(version)
    stage.ask(f"deploy {SERVICE} {version} to production{more}")
    stage.ask(f"confirm {SERVICE}#{number}")
    stage.ask(f"approve {SERVICE}#{number}", "U2")
    stage.ask(f"approve {SERVICE}#{number}", "U3")
    stage.go_on(1)


def said(stage: Stage) -> str:
    """The lines of the last answer's card."""
    lines = [
        item for section in stage.world.card_answer().sections if isinstance(section, Lines) for item in section.items
    ]
    return "\n".join("".join(getattr(part, "text", "") for part in line) for line in lines)


@pytest.mark.parametrize(
    ("changed", "reason", "detail", "sentence", "hours"),
    [
        ({"windows": (SATURDAY,)}, "window", "2026-11-21 09:00 CET", "It waits for its deploy window:", 4),
        ({"freezes": (FREEZE,)}, "freeze", "the shop's birthday → 2026-11-22 00:00 CET", "A freeze is on:", 19),
    ],
)
def test_what_is_approved_begins_by_itself_at_its_hour(
    store: SqlStore, database: Engine, changed: dict[str, object], reason: str, detail: str, sentence: str, hours: int
) -> None:
    """Queued with the reason on its card until the moment when it may, and not a second before."""
    stage = a_stage(store, database, **changed)
    opens = stage.world.clock.now().timestamp() + hours * HOUR_S
    approved(stage, "v1", 1)
    waiting = stage.deployment()
    assert (waiting.state, waiting.outcome, waiting.detail) == (S.QUEUED, reason, detail)
    assert sentence in str(stage.card())
    stage.go_on(opens - stage.world.clock.now().timestamp() - 1)
    assert (stage.state(), stage.runs()) == (S.QUEUED, [])
    stage.go_on(2)
    assert (stage.state(), len(stage.runs())) == (S.DEPLOYING, 1)
    assert 0 <= stage.deployment().started_at - opens < 1
    stage.run_ends()
    stage.go_on(60)
    assert stage.state() is S.SUCCEEDED


def test_the_preview_tells_what_it_would_have_to_wait_for(store: SqlStore, database: Engine) -> None:
    """The calendar, a lock: who confirms knows that nothing happens at once."""
    stage = a_stage(store, database, windows=(SATURDAY,))
    stage.build("v1")
    stage.ask(f"deploy {SERVICE} v1 to production")
    assert "Now it would have to wait. It waits for its deploy window: 2026-11-21 09:00 CET" in said(stage)
    stage.ask(f"lock {SERVICE} in production because load test")
    stage.ask(f"deploy {SERVICE} v1 to production")
    assert "Now it would have to wait. Locked by U1: load test" in said(stage)


@pytest.mark.parametrize("changed", [{"windows": (SATURDAY,)}, {"freezes": (FREEZE,)}])
def test_break_glass_waits_for_no_hour(store: SqlStore, database: Engine, changed: dict[str, object]) -> None:
    """Whoever may, and says why, deploys at once."""
    stage = a_stage(store, database, break_glass=("sre",), **changed)
    stage.build("v1")
    stage.ask(f"deploy {SERVICE} v1 to production break-glass because the shop is down")
    stage.ask(f"confirm {SERVICE}#1")
    stage.go_on(1)
    assert (stage.state(), len(stage.runs())) == (S.DEPLOYING, 1)


def test_another_environment_has_hours_of_its_own(store: SqlStore, database: Engine) -> None:
    """Production is shut, staging is not."""
    stage = a_stage(store, database, windows=(SATURDAY,), freezes=(FREEZE,))
    stage.build("v1")
    stage.ask(f"deploy {SERVICE} v1 to staging")
    stage.go_on(1)
    assert stage.state() is S.DEPLOYING


def test_a_person_goes_back_at_any_hour(store: SqlStore, database: Engine) -> None:
    """The window shut an hour ago: what is to be deployed waits, the way back does not."""
    stage = a_stage(store, database, windows=(EARLY,))
    stage.good("v1")
    stage.good("v2")
    stage.world.clock.advance(HOUR_S)
    approved(stage, "v3", 3)
    assert (stage.state(3), stage.deployment(3).outcome) == (S.QUEUED, "window")
    stage.ask(f"rollback {SERVICE} in production")
    stage.ask(f"confirm {SERVICE}#4")
    stage.go_on(1)
    assert (stage.state(4), stage.runs()[-1]["version"]) == (S.DEPLOYING, "v1")


def test_what_fails_after_hours_is_rolled_back_at_once(store: SqlStore, database: Engine) -> None:
    """It began in its window and failed outside of it: nobody waits a week for the version before."""
    stage = a_stage(store, database, windows=(EARLY,))
    stage.good("v1")
    approved(stage, "v2", 2)
    stage.world.clock.advance(HOUR_S)
    stage.run_ends(BuildStatus.FAILED)
    stage.go_on(1)
    assert (stage.state(2), stage.state(3), len(stage.runs())) == (S.ROLLING_BACK, S.DEPLOYING, 3)


def test_a_window_that_shuts_before_its_turn_holds_it(store: SqlStore, database: Engine) -> None:
    """It was approved in time and waited for another one too long: the hour counts when it would begin."""
    stage = a_stage(store, database, windows=(EARLY,))
    approved(stage, "v1", 1)
    approved(stage, "v2", 2)
    assert (stage.state(1), stage.deployment(2).outcome) == (S.DEPLOYING, "busy")
    stage.world.clock.advance(HOUR_S)
    stage.run_ends()
    stage.go_on(60)
    assert stage.state(1) is S.SUCCEEDED
    assert (stage.state(2), stage.deployment(2).outcome) == (S.QUEUED, "window")
    assert len(stage.runs()) == 1


def test_a_long_freeze_ends_nothing_that_waits_for_it(store: SqlStore, database: Engine) -> None:
    """What the calendar holds back begins when it may, however long that takes; only approvals get too old."""
    freeze = Freeze(date(2026, 11, 20), date(2026, 12, 2), "the year's end", "Europe/Berlin")
    stage = a_stage(store, database, freezes=(freeze,))
    approved(stage, "v1", 1)
    for _ in range(11):
        stage.world.clock.advance(24 * HOUR_S)
        stage.go_on(1)
        assert (stage.state(), stage.deployment().outcome) == (S.QUEUED, "freeze")
    stage.world.clock.advance(24 * HOUR_S)
    stage.go_on(1)
    waiting = stage.deployment()
    assert (waiting.state, [one.reason for one in waiting.struck]) == (S.AWAITING_APPROVAL, ["too_old", "too_old"])
    stage.ask(f"approve {SERVICE}#1", "U2")
    stage.world.clock.advance(HOUR_S)
    stage.ask(f"approve {SERVICE}#1", "U3")
    stage.go_on(1)
    assert stage.state() is S.DEPLOYING


def test_an_approval_of_this_week_counts_after_a_freeze(store: SqlStore, database: Engine) -> None:
    """Given on Friday for Monday: nobody is asked twice."""
    freeze = Freeze(date(2026, 11, 20), date(2026, 11, 25), "a fair", "Europe/Berlin")
    stage = a_stage(store, database, freezes=(freeze,))
    approved(stage, "v1", 1)
    while stage.deployment().outcome == "freeze":
        stage.world.clock.advance(6 * HOUR_S)
        stage.go_on(1)
    assert (stage.state(), stage.deployment().struck) == (S.DEPLOYING, ())


def test_what_has_its_turn_after_a_long_freeze_has_a_week_for_it(store: SqlStore, database: Engine) -> None:
    """Two waited for the end of the freeze: the second one waits for the first one then, and is not too late."""
    freeze = Freeze(date(2026, 11, 20), date(2026, 12, 2), "the year's end", "Europe/Berlin")
    stage = a_stage(store, database, freezes=(freeze,), approvals=ApprovalRule())
    for number, version in ((1, "v1"), (2, "v2")):
        stage.build(version)
        stage.ask(f"deploy {SERVICE} {version} to production")
        stage.ask(f"confirm {SERVICE}#{number}")
    stage.go_on(1)
    while stage.deployment(1).state is S.QUEUED:
        stage.world.clock.advance(12 * HOUR_S)
        stage.go_on(1)
    stage.go_on(60)
    assert (stage.state(1), stage.state(2), stage.deployment(2).outcome) == (S.DEPLOYING, S.QUEUED, "busy")
    stage.run_ends()
    stage.go_on(60)
    assert (stage.state(1), stage.state(2)) == (S.SUCCEEDED, S.DEPLOYING)
