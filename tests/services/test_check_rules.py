"""How checks and deployments go together: what is measured when, who answers for what, what is taken out meanwhile."""

from __future__ import annotations

from dataclasses import replace

import pytest
from sqlalchemy import Engine

from bot.domain.cards import Notice, Paragraph
from bot.domain.checks import CheckKind, CheckProgress, CheckSpec, Reason, Verdict
from bot.domain.deployments import Deployment, DeploymentState, Requester, Version
from bot.domain.routing import Match, Route
from bot.services.verification import Verification
from tests.metric_fakes import FakeMetricSource
from tests.services.deployment_world import CHECK, SERVICE, Stage, a_stage
from tests.services.tracker_world import words_of
from tests.stores import SqlStore

pytestmark = pytest.mark.one_engine

S = DeploymentState
RATE = CheckSpec("errors", CheckKind.METRIC, source="prometheus", query="e[{{window}}]", max_value=0.01, successes=1)
TWO = (CHECK, replace(CHECK, name="errors"))
LATER = replace(CHECK, name="errors", duration_s=75.0)


@pytest.mark.parametrize("before", [0.0, 0.5], ids=["well", "ill"])
def test_a_value_from_before_the_end_of_a_long_run_is_never_asked_for(
    store: SqlStore, database: Engine, before: float
) -> None:
    """A pipeline of ten minutes: neither the old version's health nor its errors speak for the new one."""
    source = FakeMetricSource({"e[60s]": {"": 0.5 - before}, "e[300s]": {"": before}})
    stage = a_stage(store, database, checks=(RATE,))
    stage.world.deployments = stage.world.house.worker(Verification({"prometheus": source}))
    number = _deploying(stage)
    stage.go_on(600)
    stage.run_ends()
    stage.go_on(15)  # it is looked at less often by then
    there_since = stage.deployment(number).checks[0].began_at
    stage.go_on(61)
    times = [(query, round(start - there_since), round(end - there_since)) for query, start, end in source.asked]
    assert times == [("e[60s]", 0, 60)]
    assert stage.state(number) is (S.SUCCEEDED if before else S.FAILED)


def test_a_check_taken_out_of_the_configuration_holds_nothing_up(store: SqlStore, database: Engine) -> None:
    """The bot was started anew without it: nobody looks, nothing follows from it, and the others decide."""
    stage = a_stage(store, database, checks=TWO)
    _carried_out(stage)
    stage = restarted(stage, store, database, checks=(CHECK,))
    stage.go_on(60)
    after = stage.deployment(1)
    assert (after.state, after.outcome) == (S.SUCCEEDED, "")
    assert [(one.verdict, one.last_reason) for one in after.checks] == [
        (Verdict.PASSED, Reason.WITHIN),
        (Verdict.NO_DATA, Reason.NOT_CONFIGURED),
    ]
    assert "no data · taken out of the configuration" in words_of(stage.card().sections)


def test_a_question_about_a_check_that_was_taken_out_needs_no_answer(store: SqlStore, database: Engine) -> None:
    """It was asked about when the bot was started anew without it."""
    stage = a_stage(store, database, checks=TWO)
    stage.verification.verdicts["errors"] = Verdict.NO_DATA
    _carried_out(stage)
    stage.go_on(33)
    assert stage.deployment(1).asked_about == ("errors",)
    stage = restarted(stage, store, database, checks=(CHECK,))
    stage.go_on(60)
    assert stage.state(1) is S.SUCCEEDED


def test_what_everybody_sees_burn_is_rolled_back_at_once(store: SqlStore, database: Engine) -> None:
    """While its checks still look and nothing is asked, `abort` and the button bring the version before back."""
    stage = a_stage(store, database)
    stage.good("v1")
    number = stage.carried_out("v2")
    assert stage.state(number) is S.VERIFYING
    [press] = [action for action in stage.card(number).actions if action.id == "abort"]
    assert (press.command, press.confirm is None) == (f"abort {SERVICE}#{number}", False)
    assert "is not kept" in stage.ask(press.command)
    after = stage.deployment(number)
    assert (after.state, after.outcome, after.detail) == (S.ROLLING_BACK, "not_kept", "U1")
    stage.go_on(1)
    assert stage.runs()[-1]["version"] == "v1"


@pytest.mark.parametrize("later", [Verdict.NO_DATA, Verdict.ERROR])
def test_an_answer_is_for_what_was_asked(store: SqlStore, database: Engine, later: Verdict) -> None:
    """A check that cannot tell after another one was kept is asked about, and people are called again."""
    stage = a_stage(store, database, checks=(CHECK, LATER))
    stage.verification.verdicts["health"] = Verdict.NO_DATA
    _carried_out(stage)
    stage.go_on(33)
    stage.ask(f"keep {SERVICE}#1")
    assert (stage.deployment().kept, stage.deployment().question) == (("health",), "")
    stage.verification.verdicts["errors"] = later
    stage.go_on(60)
    assert (stage.state(), stage.deployment().asked_about) == (S.VERIFYING, ("errors",))
    stage.world.deliver(5)
    asked = [call for call in stage.world.messenger.calls if isinstance(call.content, Notice)]
    assert ["cannot tell" in str(call.content) for call in asked].count(True) == 2
    stage.ask(f"keep {SERVICE}#1")
    stage.go_on(1)
    assert (stage.state(), stage.deployment().outcome) == (S.SUCCEEDED, "with_alerts")


def test_a_press_answers_for_what_its_card_showed(store: SqlStore, database: Engine) -> None:
    """The card asked about one check; by the time of the press it is two, and the other one is still asked about."""
    stage = a_stage(store, database, checks=(CHECK, LATER))
    stage.verification.verdicts = {"health": Verdict.NO_DATA, "errors": Verdict.NO_DATA}
    _carried_out(stage)
    stage.go_on(33)
    old = next(action.command for action in stage.card().actions if action.id == "keep")
    stage.go_on(60)
    assert stage.deployment().asked_about == ("health", "errors")
    stage.ask(old)
    assert (stage.state(), stage.deployment().asked_about) == (S.VERIFYING, ("errors",))
    stage.ask(old)
    assert (stage.state(), stage.deployment().asked_about) == (S.VERIFYING, ("errors",))
    assert "Its checks are" in stage.ask(f"keep {SERVICE}#1 erors")
    assert stage.deployment().asked_about == ("errors",)
    stage.ask(f"keep {SERVICE}#1 because it looks fine to me")
    what = f"deployment:shipmate/{SERVICE}#1 v1 → production"
    assert stage.world.trail()[-1] == ("slack:U1", "keep", f"{what} because it looks fine to me", "verifying")
    stage.go_on(1)
    assert stage.state() is S.SUCCEEDED


def test_an_answer_of_an_earlier_version_of_the_bot_holds(store: SqlStore, database: Engine) -> None:
    """Which checks it was for was not kept: for those that had ended."""
    ended = CheckProgress("health", Verdict.NO_DATA)
    verifying = Deployment(
        1, SERVICE, "production", Version("v1"), Requester("slack:U1", "Ada"), 0.0, state=S.VERIFYING, checks=(ended,)
    )
    stored = {**verifying.to_json(), "question": "kept"}
    del stored["kept"]
    read = Deployment.from_json(stored)
    assert (read.question, read.kept) == ("", ("health",))


def restarted(stage: Stage, store: SqlStore, database: Engine, checks: tuple[CheckSpec, ...]) -> Stage:
    """The bot started anew over the same database, with other checks."""
    after = a_stage(store, database, stage.world.clock, checks=checks)
    after.world.builds.runs, after.world.builds.requests = stage.builds.runs, stage.builds.requests
    return after


def _carried_out(stage: Stage) -> None:
    """v1 as far as the end of its run."""
    _deploying(stage)
    stage.run_ends()
    assert stage.state(1) is S.VERIFYING


def _deploying(stage: Stage) -> int:
    """v1 as far as its run; its number."""
    stage.build("v1")
    stage.ask(f"deploy {SERVICE} v1 to production")
    for typed, person in (("confirm", "U1"), ("approve", "U2"), ("approve", "U3")):
        stage.ask(f"{typed} {SERVICE}#1", person)
    stage.go_on(1)
    assert stage.state(1) is S.DEPLOYING
    return 1


def test_a_question_that_was_answered_before_its_notice_is_no_blank(store: SqlStore, database: Engine) -> None:
    """The chat was away meanwhile: what is posted says what was asked and what became of it, and calls nobody."""
    mentioned = Route("routes[0]", Match(kind=("deployment",)), ("ci",), mention=("slack:U7",))
    stage = a_stage(store, database, routes=(mentioned,))
    stage.verification.verdicts["health"] = Verdict.NO_DATA
    _carried_out(stage)
    stage.go_on(33)
    assert stage.deployment(1).asked_about == ("health",)
    stage.ask(f"keep {SERVICE}#1")
    stage.card()
    notices = [call.content for call in stage.world.messenger.calls if isinstance(call.content, Notice)]
    asked = next(one for one in notices if "cannot tell" in str(one.body))
    assert "keep it, or roll it back? · answered: keep health" in words_of([Paragraph(asked.body)])
    assert asked.mentions == ()
