"""How a deployment's run is ordered: once, whatever becomes of the call and of the worker that makes it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import Engine

from bot.domain.builds import BuildStatus
from bot.domain.deployments import DeploymentState
from bot.domain.events import Event
from bot.domain.subjects import SubjectKey
from bot.errors import OutcomeUnknown, Rejected
from bot.services.acting import TRIGGER_WITHIN_S
from bot.services.deployments.stepping import Stepping
from tests.build_fakes import FakeBuildSystem
from tests.services.deployment_world import DEPLOY_PROJECT, SERVICE, Stage, a_stage
from tests.stores import SqlStore

pytestmark = pytest.mark.one_engine

S = DeploymentState


@pytest.fixture
def stage(store: SqlStore, database: Engine) -> Stage:
    """One service with staging and production, and a version to deploy."""
    stage = a_stage(store, database)
    stage.build("v1")
    return stage


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch) -> list[Callable[[], object]]:
    """Orders that the CI system has received and not carried out yet; who ordered was given no answer."""
    waiting: list[Callable[[], object]] = []
    run = FakeBuildSystem.run

    def hold(builds: FakeBuildSystem, *arguments: Any, **named: Any) -> object:
        waiting.append(lambda: run(builds, *arguments, **named))
        raise OutcomeUnknown("buildbot", "no_answer")

    monkeypatch.setattr(FakeBuildSystem, "run", hold)
    return waiting


def test_an_order_that_is_carried_out_late_starts_one_run(stage: Stage, held: list[Callable[[], object]]) -> None:
    """A system that is frozen for twenty seconds begins what it was asked for before: nothing was ordered meanwhile."""
    stage.ask(f"deploy {SERVICE} v1 to staging")
    stage.go_on(20)
    assert len(held) == 1
    held[0]()
    stage.go_on(40)
    assert (len(held), len(stage.runs())) == (1, 1)
    stage.run_ends()
    assert stage.state() is S.SUCCEEDED


def test_an_order_that_was_lost_is_made_again(stage: Stage, held: list[Callable[[], object]]) -> None:
    """When it can have started nothing any more, and there is no run, another one is made; and so on."""
    stage.ask(f"deploy {SERVICE} v1 to staging")
    stage.go_on(29)
    assert len(held) == 1
    stage.go_on(10)
    assert len(held) == 2
    stage.go_on(20)
    assert len(held) == 2
    held[1]()
    stage.go_on(10)
    stage.run_ends()
    assert (stage.state(), len(stage.runs())) == (S.SUCCEEDED, 1)


def test_what_was_to_stop_is_not_ordered_again(stage: Stage, held: list[Callable[[], object]]) -> None:
    """Its end is asked for while nobody knows whether it began: it did not, and never will."""
    stage.ask(f"deploy {SERVICE} v1 to staging")
    stage.go_on()
    stage.ask(f"abort {SERVICE}#1")
    stage.go_on(20)
    assert stage.state() is S.DEPLOYING
    stage.go_on(20)
    assert (stage.state(), stage.deployment().outcome, len(held)) == (S.CANCELLED, "stopped", 1)


def test_a_worker_that_slept_over_its_order_makes_none(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between noting and ordering so much time went by that somebody else may look for the run: they do, alone."""
    change = Stepping.change
    slept: list[bool] = []

    def sleepily(self: Stepping, *arguments: Any) -> Any:
        done = change(self, *arguments)
        if not slept and done is not None and done.state is S.DEPLOYING:
            slept.append(True)
            stage.world.clock.advance(TRIGGER_WITHIN_S + 1)
        return done

    monkeypatch.setattr(Stepping, "change", sleepily)
    stage.ask(f"deploy {SERVICE} v1 to staging")
    stage.go_on()
    assert (slept, stage.state(), stage.runs()) == ([True], S.DEPLOYING, [])
    stage.go_on(70)
    assert len(stage.runs()) == 1


def test_a_second_order_may_be_refused(
    stage: Stage, held: list[Callable[[], object]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is refused started nothing, whichever order it was."""
    stage.ask(f"deploy {SERVICE} v1 to staging")
    stage.go_on(5)

    def refuse(*_: Any, **__: Any) -> object:
        raise Rejected("buildbot", "unknown_parameter", "version is none of branch")

    monkeypatch.setattr(FakeBuildSystem, "run", refuse)
    stage.go_on(40)
    assert (len(held), stage.state(), stage.deployment().outcome) == (1, S.FAILED, "unknown_parameter")


def test_a_system_that_nobody_reaches_is_asked_again_soon(stage: Stage) -> None:
    """A call that never arrived leaves no doubt: there is nothing to wait for but the system."""
    stage.builds.away = {"run"}
    stage.ask(f"deploy {SERVICE} v1 to staging")
    stage.go_on(20)
    stage.builds.away = set()
    stage.go_on(6)
    assert len(stage.runs()) == 1


def test_the_ci_system_away_for_an_hour(stage: Stage) -> None:
    """It is tried again and again, people are told, and it goes on when the system is back."""
    stage.builds.queues = True
    stage.ask(f"deploy {SERVICE} v1 to staging")
    stage.go_on(60)
    stage.builds.begin_queued()
    stage.builds.away = {"follow"}
    stage.go_on(590)
    assert stage.deployment().question == ""
    stage.go_on(2900)
    words = "I cannot see how its run goes"
    assert (stage.state(), words in str(stage.card().sections[0])) == (S.DEPLOYING, True)
    assert [words in call.title for call in stage.world.messenger.calls].count(True) == 1
    stage.builds.away = set()
    stage.go_on(10)
    assert (stage.state(), stage.deployment().question, words in str(stage.card())) == (S.DEPLOYING, "", False)
    stage.run_ends()
    assert (stage.state(), len(stage.runs())) == (S.SUCCEEDED, 1)


def abort_button(stage: Stage, number: int) -> str:
    """The label of the button on its card that ends it."""
    return next(one.label for one in stage.card(number).actions if one.id == "abort")


def test_a_run_that_nobody_sees_again_is_ended_by_people(stage: Stage) -> None:
    """Their first word asks for its end, the second ends the deployment; nothing runs beside what may still go on."""
    stage.good("v1")
    number = stage.carried_out("v2", is_run_ended=False)
    stage.builds.away, stage.builds.projects = {"follow"}, (SERVICE,)
    stage.go_on(700)
    assert f"abort {SERVICE}#{number} asks for its end; said once more" in str(stage.card(number).sections[0])
    assert "asked to stop" in stage.ask(f"abort {SERVICE}#{number}")
    stage.go_on(20)
    assert (stage.state(number), abort_button(stage, number)) == (S.DEPLOYING, "End it here")
    assert f"abort {SERVICE}#{number} ends it here" in str(stage.card(number).sections[0])
    stage.ask(f"abort {SERVICE}#{number}", "m1")
    stage.go_on(60)
    ended = stage.deployment(number)
    assert (ended.state, ended.outcome, ended.not_rolled_back) == (S.FAILED, "abandoned", "unseen")
    assert (stage.newest(), ended.detail in str(stage.card(number).sections[0])) == (number, True)
    assert ("dingtalk:m1", "failed:abandoned") in [(actor, outcome) for actor, _, _, outcome in stage.world.trail()]
    assert "rollback_deployment" in [one.id for one in stage.card(number).actions]
    stage.builds.away, stage.builds.projects = set(), (SERVICE, DEPLOY_PROJECT)
    stage.ask(f"rollback {SERVICE} in production")
    stage.ask(f"confirm {SERVICE}#{number + 1}")
    stage.go_on(20)
    assert (stage.state(number + 1), stage.deployment(number + 1).version.name) == (S.DEPLOYING, "v1")


def test_an_order_that_nobody_can_tell_of_is_ended_by_people(stage: Stage) -> None:
    """Whether it ever began is not known, and never will be: it counts as what may have changed something."""
    stage.good("v1")
    stage.builds.loses_answers, stage.builds.away = True, {"find_run"}
    number = stage.carried_out("v2", is_run_ended=False)
    stage.go_on(700)
    assert stage.deployment(number).question == "run_unknown"
    for _ in range(2):
        stage.ask(f"abort {SERVICE}#{number}")
    stage.go_on(20)
    ended = stage.deployment(number)
    assert (ended.state, ended.outcome, ended.not_rolled_back) == (S.FAILED, "abandoned", "unseen")
    assert "rollback_deployment" in [one.id for one in stage.card(number).actions]


def test_a_second_word_does_not_end_a_run_that_is_seen(stage: Stage) -> None:
    """Who presses twice while the system is away for a moment ends nothing: the run is stopped when it is back."""
    number = stage.carried_out("v1", is_run_ended=False)
    stage.builds.away = {"follow"}
    for _ in range(2):
        stage.ask(f"abort {SERVICE}#{number}")
    assert (stage.state(number), abort_button(stage, number)) == (S.DEPLOYING, "Cancel")
    stage.builds.away = set()
    stage.go_on(20)
    assert (stage.state(number), stage.deployment(number).outcome) == (S.CANCELLED, "stopped")


def test_a_run_that_is_built_again_is_followed_further(stage: Stage) -> None:
    """Its worker was lost: that build came to nothing, and the system builds the same request again."""
    number = stage.carried_out("v1", is_run_ended=False)
    request = stage.builds.requests[-1]
    assert request.build is not None
    stage.builds.finish(request.build, BuildStatus.CANCELLED)
    request.build = None
    stage.go_on(20)
    assert stage.state(number) is S.DEPLOYING
    stage.builds.begin_queued()
    stage.go_on(20)
    stage.run_ends()
    stage.go_on(60)
    assert (stage.state(number), len(stage.runs())) == (S.SUCCEEDED, 1)


def test_a_worker_that_is_lost_while_its_build_is_looked_at_ends_nothing(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the question for the request's build and the one for how that stands: nobody cut it short."""
    number = stage.carried_out("v1", is_run_ended=False)
    fetch = FakeBuildSystem.fetch

    def after_the_loss(builds: FakeBuildSystem, key: SubjectKey, *, with_log: bool) -> Event:
        if key == builds.requests[-1].build:
            builds.finish(key, BuildStatus.CANCELLED)
            builds.requests[-1].build = None
        return fetch(builds, key, with_log=with_log)

    with monkeypatch.context() as patched:
        patched.setattr(FakeBuildSystem, "fetch", after_the_loss)
        stage.go_on(4)
    assert (stage.state(number), stage.builds.requests[-1].build) == (S.DEPLOYING, None)
    stage.builds.begin_queued()
    stage.go_on(20)
    stage.run_ends()
    stage.go_on(60)
    assert (stage.state(number), len(stage.runs())) == (S.SUCCEEDED, 1)


def test_people_are_called_where_no_order_is_taken(stage: Stage) -> None:
    """The CI system answers what it is asked, and takes no orders: that is no reason to try on in silence."""
    stage.builds.away = {"run"}
    stage.ask(f"deploy {SERVICE} v1 to staging")
    stage.go_on(590)
    assert stage.deployment().question == ""
    stage.go_on(900)
    assert (stage.state(), stage.deployment().question) == (S.QUEUED, "ci_away")
    stage.builds.away = set()
    stage.go_on(400)
    stage.run_ends()
    assert (stage.state(), len(stage.runs())) == (S.SUCCEEDED, 1)


def test_orders_that_are_lost_one_after_the_other_call_people(stage: Stage, held: list[Callable[[], object]]) -> None:
    """None of them is carried out: each has to wait longer than the one before it, and somebody has to look."""
    stage.ask(f"deploy {SERVICE} v1 to staging")
    stage.go_on(1500)
    stage.world.deliver(5)
    called = [call.title for call in stage.world.messenger.calls if "cannot begin: please look" in call.title]
    assert (len(held) < 15, len(called)) == (True, 1)
