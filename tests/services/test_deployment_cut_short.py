"""A deployment whose run somebody cancels in the CI system half way: people hear of it, and can go back."""

from __future__ import annotations

import pytest
from sqlalchemy import Engine

from bot.domain.builds import BuildStatus
from bot.domain.cards import Notice
from bot.domain.checks import Verdict
from bot.domain.deployments import DeploymentState
from bot.domain.services import RollbackRule
from tests.services.deployment_world import SERVICE, Stage, a_stage
from tests.stores import SqlStore

pytestmark = pytest.mark.one_engine

S = DeploymentState
HALF_WAY = "was stopped half way"


@pytest.fixture
def stage(sqlite_store: SqlStore, sqlite_database: Engine) -> Stage:
    """v1 is in production, and a failure would stay there."""
    stage = a_stage(sqlite_store, sqlite_database, rollback=RollbackRule(is_enabled=False))
    stage.good("v1")
    return stage


def notices(stage: Stage, number: int) -> list[str]:
    """What people were called for about one since it began, in order."""
    stage.world.deliver(5)
    said = [call.title for call in stage.world.messenger.calls if isinstance(call.content, Notice)]
    return [words for words in said if f"{SERVICE}#{number}" in words and "waits for" not in words]


def where_things_stand(stage: Stage) -> str:
    """What `deployments` answers."""
    stage.ask("deployments")
    return str(stage.world.card_answer().sections[0])


def buttons(stage: Stage, number: int) -> list[str]:
    """What can be pressed on the card of one."""
    return [one.id for one in stage.card(number).actions]


def test_a_run_that_is_cancelled_half_way_calls_people(stage: Stage) -> None:
    """Its card says what happened, people are told, and from there they go back."""
    number = stage.carried_out("v2", is_run_ended=False)
    stage.run_ends(BuildStatus.CANCELLED)
    assert (stage.state(number), stage.deployment(number).outcome) == (S.CANCELLED, "cut_short")
    assert "cancelled in the CI system half way" in str(stage.card(number).sections[0])
    assert ["half way" in one for one in notices(stage, number)] == [True]
    assert "rollback_deployment" in buttons(stage, number)
    assert f"v2 {HALF_WAY}" in where_things_stand(stage)
    stage.ask(f"rollback {SERVICE}#{number} in production")
    stage.ask(f"confirm {SERVICE}#{number + 1}")
    stage.go_on(1)
    stage.run_ends()
    stage.go_on(60)
    assert (stage.state(number + 1), stage.deployment(number + 1).version.name) == (S.SUCCEEDED, "v1")
    assert HALF_WAY not in where_things_stand(stage)


def test_a_person_who_stops_it_needs_no_call(stage: Stage) -> None:
    """They know; where it stands is told to whoever asks, and the way back is open."""
    number = stage.carried_out("v2", is_run_ended=False)
    stage.ask(f"abort {SERVICE}#{number}")
    stage.go_on(20)
    assert (stage.state(number), stage.deployment(number).outcome) == (S.CANCELLED, "stopped")
    assert (notices(stage, number), "rollback_deployment" in buttons(stage, number)) == ([], True)
    assert f"v2 {HALF_WAY}" in where_things_stand(stage)


def test_what_failed_before_is_told_as_well(stage: Stage) -> None:
    """A failure that stayed is what runs there, as far as the one that was stopped did not replace it."""
    stage.verification.verdicts["health@v2"] = Verdict.FAILED
    stage.carried_out("v2")
    stage.go_on(60)
    stage.carried_out("v3", is_run_ended=False)
    stage.run_ends(BuildStatus.CANCELLED)
    told = where_things_stand(stage)
    assert (f"v3 {HALF_WAY}" in told, "v2 failed and was not rolled back" in told) == (True, True)


def test_a_stop_that_came_too_late_is_said(stage: Stage) -> None:
    """Its run went well all the same: the card and its thread say who wanted it stopped, before it counts as good."""
    number = stage.carried_out("v2", is_run_ended=False)
    stage.ask(f"abort {SERVICE}#{number}")
    stage.run_ends()
    late = "wanted its run stopped, which came too late"
    assert (stage.state(number), late in str(stage.card(number).sections[0])) == (S.VERIFYING, True)
    stage.go_on(60)
    assert (stage.state(number), late in str(stage.card(number).sections[0])) == (S.SUCCEEDED, True)
    assert [late in one for one in notices(stage, number)] == [True]


def test_a_stop_that_is_under_way_is_said(stage: Stage) -> None:
    """Until its system tells of the end, the card says who wants it."""
    number = stage.carried_out("v2", is_run_ended=False)
    stage.ask(f"abort {SERVICE}#{number}")
    assert "wants its run stopped." in str(stage.card(number).sections[0])
    stage.go_on(20)
    assert "wants its run stopped." not in str(stage.card(number).sections[0])


def test_the_way_back_is_tried_again_from_where_it_was_stopped(stage: Stage) -> None:
    """The first one failed: what is undone is still what was stopped half way, and its card leads back."""
    number = stage.carried_out("v2", is_run_ended=False)
    stage.run_ends(BuildStatus.CANCELLED)
    for again, status in enumerate((BuildStatus.FAILED, BuildStatus.SUCCESS), 1):
        stage.ask(f"rollback {SERVICE}#{number} in production")
        way_back = stage.deployment(number + again)
        assert (way_back.rollback_of, way_back.previous and way_back.previous.name) == (number, "v2")
        stage.ask(f"confirm {SERVICE}#{number + again}")
        stage.go_on(1)
        stage.run_ends(status)
    stage.go_on(60)
    assert (stage.state(number + 2), HALF_WAY in where_things_stand(stage)) == (S.SUCCEEDED, False)


def test_two_steps_back_from_what_was_stopped_undo_what_lies_between(stage: Stage) -> None:
    """From v3, which was stopped half way, to v1: v2 is there no more, and no way leads forward to it again."""
    stage.good("v2")
    number = stage.carried_out("v3", is_run_ended=False)
    stage.run_ends(BuildStatus.CANCELLED)
    stage.went_back(" to v1")
    assert [stage.state(one) for one in (1, 2, number)] == [S.SUCCEEDED, S.ROLLED_BACK, S.CANCELLED]
    assert "Undone by #4, together with #3." in str(stage.card(2).sections)
    assert "no earlier version" in stage.ask(f"rollback {SERVICE} in production")
    assert "never good" in stage.ask(f"rollback {SERVICE} in production to v2")


def test_the_card_of_what_was_stopped_says_what_undid_it(stage: Stage) -> None:
    """As soon as that is so, and not for a way back that came to nothing; nobody is called a second time."""
    number = stage.carried_out("v2", is_run_ended=False)
    stage.run_ends(BuildStatus.CANCELLED)
    stage.ask(f"rollback {SERVICE} in production")
    stage.ask(f"abort {SERVICE}#{number + 1}")
    assert stage.deployment(number).rolled_back_by == 0
    called = notices(stage, number)
    stage.went_back()
    assert stage.deployment(number).rolled_back_by == number + 2
    assert f"Undone by #{number + 2}." in str(stage.card(number).sections[0])
    assert "rollback_deployment" not in buttons(stage, number)
    assert notices(stage, number) == called
