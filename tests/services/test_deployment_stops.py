"""`abort` of a deployment whose run waits in the CI system's queue, or goes on though its end was asked for."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import Engine

from bot.domain.builds import BuildStatus
from bot.domain.cards import Notice
from bot.domain.deployments import DeploymentState
from bot.domain.subjects import SubjectKey
from bot.errors import AuthFailed, DestinationGone, OutcomeUnknown
from tests.build_fakes import FakeBuildSystem
from tests.services.deployment_world import DEPLOY_PROJECT, SERVICE, Stage, a_stage
from tests.stores import SqlStore

pytestmark = pytest.mark.one_engine

S = DeploymentState
TOO_LATE = "came too late"
GOES_ON = "its run goes on though I asked for its end: please stop it in the CI system"


@pytest.fixture
def stage(sqlite_store: SqlStore, sqlite_database: Engine) -> Stage:
    """v1 is deployed to staging, and every worker of the CI system is busy."""
    stage = a_stage(sqlite_store, sqlite_database)
    stage.build("v1")
    stage.builds.queues = True
    stage.ask(f"deploy {SERVICE} v1 to staging")
    stage.go_on(5)
    return stage


def said_on(stage: Stage) -> str:
    """The words on its card."""
    return str(stage.card().sections[0])


def refuse(monkeypatch: pytest.MonkeyPatch, call: str, problem: Exception) -> None:
    """Let the CI system answer a call with an error, whatever is asked."""

    def answer(*_: Any, **__: Any) -> object:
        raise problem

    monkeypatch.setattr(FakeBuildSystem, call, answer)


def test_a_run_in_the_queue_is_taken_out_of_it(stage: Stage) -> None:
    """It ends at once as stopped, nothing was changed, and no worker ever takes it on."""
    stage.ask(f"abort {SERVICE}#1")
    stage.go_on(5)
    ended = stage.deployment()
    assert (ended.state, ended.outcome, ended.run) == (S.CANCELLED, "stopped", None)
    assert [one.withdrawn_by for one in stage.builds.requests] == [ended.stop_asked_by]
    stage.builds.begin_queued()
    assert [key for key in stage.builds.runs if key.project == DEPLOY_PROJECT] == []
    said = said_on(stage)
    assert ("Its run had not begun: nothing was changed." in said, TOO_LATE in said) == (True, False)
    assert "rollback_deployment" not in [one.id for one in stage.card().actions]


def test_a_run_that_begins_in_that_moment_is_stopped(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker was faster: the build is asked for its end instead."""

    def too_late(builds: FakeBuildSystem, *_: Any, **__: Any) -> None:
        builds.begin_queued()

    monkeypatch.setattr(FakeBuildSystem, "withdraw", too_late)
    stage.ask(f"abort {SERVICE}#1")
    stage.go_on(10)
    assert (stage.state(), stage.deployment().outcome) == (S.CANCELLED, "stopped")
    assert "nothing was changed" not in said_on(stage)


def test_a_run_that_others_took_out_of_the_queue_was_stopped_in_time(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody saw in chat that its end was wanted, and was faster in the CI system: nothing came too late."""
    with monkeypatch.context() as patch:
        refuse(patch, "withdraw", AuthFailed("buildbot", "http_403"))
        stage.ask(f"abort {SERVICE}#1")
        stage.go_on(5)
        assert stage.state() is S.DEPLOYING
    refuse(monkeypatch, "follow", DestinationGone("buildbot", "request_cancelled"))
    stage.go_on(20)
    assert (stage.state(), stage.deployment().outcome, TOO_LATE in said_on(stage)) == (S.CANCELLED, "stopped", False)


def test_what_cannot_be_stopped_is_said_and_still_seen(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """The CI system lets us start runs, and stop none: people are called, and how it ends is heard all the same."""
    refuse(monkeypatch, "withdraw", AuthFailed("buildbot", "http_403"))
    refuse(monkeypatch, "cancel", AuthFailed("buildbot", "http_403"))
    stage.ask(f"abort {SERVICE}#1")
    stage.go_on(5)
    assert (stage.state(), f"❔ {GOES_ON}" in said_on(stage)) == (S.DEPLOYING, True)
    notices = [str(call.content.body) for call in stage.world.messenger.calls if isinstance(call.content, Notice)]
    assert [GOES_ON in words for words in notices] == [True]
    stage.builds.begin_queued()
    stage.go_on(60)
    assert stage.state() is S.DEPLOYING
    stage.run_ends()
    stage.go_on(20)
    assert (stage.state(), TOO_LATE in said_on(stage)) == (S.SUCCEEDED, True)


def test_a_run_that_does_not_end_is_ended_here_by_a_second_word(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """It was told to stop ten minutes ago and goes on: people are called, and may end what they looked at."""
    stage.builds.begin_queued()
    refuse(monkeypatch, "cancel", OutcomeUnknown("buildbot", "still_running"))
    stage.ask(f"abort {SERVICE}#1")
    stage.go_on(500)
    assert stage.deployment().question == ""
    stage.go_on(200)
    assert (stage.state(), f"❔ {GOES_ON}" in said_on(stage)) == (S.DEPLOYING, True)
    stage.ask(f"abort {SERVICE}#1")
    assert (stage.state(), stage.deployment().outcome) == (S.FAILED, "abandoned")


def test_a_run_that_was_never_taken_on_was_not_stopped_too_late(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its request is gone from the CI system: nobody can say what became of it, nor that a wish came too late."""
    refuse(monkeypatch, "withdraw", OutcomeUnknown("buildbot", "no_answer"))
    stage.ask(f"abort {SERVICE}#1")
    refuse(monkeypatch, "follow", DestinationGone("buildbot", "request_gone"))
    stage.go_on(5)
    said = said_on(stage)
    assert (stage.deployment().outcome, "wanted its run stopped." in said) == ("run_gone", True)
    assert TOO_LATE not in said


def test_a_stranger_is_neither_judged_nor_stopped(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its project names another builder by now, which has a build of the same number: people are asked to look."""
    stage.builds.begin_queued()
    stage.go_on(5)
    known = stage.deployment().run
    assert known is not None
    stranger = SubjectKey.parse(known.build)
    refuse(monkeypatch, "follow", DestinationGone("buildbot", "other_builder"))
    stage.ask(f"abort {SERVICE}#1")
    stage.go_on(20)
    assert not stage.builds.runs[stranger].is_finished
    stage.builds.finish(stranger, BuildStatus.SUCCESS)
    stage.go_on(700)
    assert (stage.state(), stage.deployment().question) == (S.DEPLOYING, "run_unseen")


def test_a_run_of_another_system_is_not_taken_for_it(stage: Stage) -> None:
    """Its source points at another CI system by now, which has a request of that number: its success says nothing."""
    stage.builds.begin_queued()
    stage.go_on(5)
    request = stage.builds.requests[-1]
    request.correlation = "a stranger's"
    assert request.build is not None
    stage.builds.finish(request.build, BuildStatus.SUCCESS)
    stage.go_on(700)
    assert (stage.state(), stage.deployment().question) == (S.DEPLOYING, "run_unseen")
    for _ in range(2):
        stage.ask(f"abort {SERVICE}#1")
    assert (stage.state(), stage.deployment().outcome) == (S.FAILED, "abandoned")
    assert "Nobody saw how its run went" in said_on(stage)
