"""Ends and questions that come rarely: a queue of a day, a run that is gone or takes long, a service taken away."""

from __future__ import annotations

import pytest
from sqlalchemy import Engine

from bot.domain.cards import Notice
from bot.domain.checks import Verdict
from bot.domain.deployments import DeploymentState
from bot.errors import DestinationGone
from bot.services.deployments.pipelines import BuildDeploys
from tests.services.deployment_world import DEPLOY_PROJECT, ROLES, SERVICE, Stage, a_stage
from tests.services.world import World
from tests.stores import SqlStore

pytestmark = pytest.mark.one_engine

S = DeploymentState
HOUR_S = 3600.0


@pytest.fixture
def stage(store: SqlStore, database: Engine) -> Stage:
    """One service, and a version to deploy."""
    stage = a_stage(store, database)
    stage.build("v1")
    return stage


def test_queued_for_a_whole_week(stage: Stage) -> None:
    """A lock that nobody takes away: it ends, says why, and does not begin when the lock is gone at last."""
    stage.ask(f"lock {SERVICE} in staging because load test")
    stage.ask(f"deploy {SERVICE} v1 to staging")
    stage.go_on(60)
    stage.world.clock.advance(7 * 24 * HOUR_S - 120)
    stage.go_on(20)
    assert (stage.state(), stage.deployment().outcome) == (S.QUEUED, "locked")
    stage.go_on(60)
    assert (stage.state(), stage.deployment().outcome) == (S.EXPIRED, "queued_too_long")
    assert "Waited a whole week for its turn." in str(stage.card())
    stage.ask(f"unlock {SERVICE} in staging")
    stage.go_on(60)
    assert (stage.state(), stage.runs()) == (S.EXPIRED, [])


@pytest.mark.parametrize("reason", ["request_cancelled", "request_superseded"])
def test_a_run_that_was_cancelled_before_it_began(stage: Stage, monkeypatch: pytest.MonkeyPatch, reason: str) -> None:
    """Somebody took it out of the CI system's queue: nothing was changed, so nothing is rolled back or locked."""
    stage.good("v1", "staging")
    stage.ask(f"deploy {SERVICE} v1 to staging")
    stage.go_on(0.5)
    number = stage.newest()
    assert stage.state(number) is S.DEPLOYING

    def look(*_: object) -> None:
        raise DestinationGone("buildbot", reason, "the request ended without a build")

    monkeypatch.setattr(BuildDeploys, "look", look)
    stage.go_on(5)
    after = stage.deployment(number)
    assert (after.state, after.outcome, after.run) == (S.CANCELLED, "never_ran", None)
    assert stage.newest() == number


def test_a_run_that_is_gone(stage: Stage) -> None:
    """The CI system knows it no more: nobody can say that it went well, so it failed, and what waits goes on."""
    stage.ask(f"deploy {SERVICE} v1 to staging")
    stage.go_on(5)
    stage.build("v2")
    stage.ask(f"deploy {SERVICE} v2 to staging")
    [key] = [key for key in stage.builds.runs if key.project == DEPLOY_PROJECT]
    del stage.builds.runs[key]
    stage.go_on(5)
    assert (stage.state(), stage.deployment().outcome) == (S.FAILED, "run_gone")
    stage.go_on(20)
    assert stage.state(2) is S.DEPLOYING


def test_a_run_that_takes_long(stage: Stage) -> None:
    """After its time a person is asked, once, and it is left to run: its end counts whenever it comes."""
    stage.ask(f"deploy {SERVICE} v1 to staging")
    stage.go_on(5)
    stage.world.clock.advance(HOUR_S - 30)
    stage.go_on(20)
    assert (stage.state(), stage.deployment().question) == (S.DEPLOYING, "")
    stage.go_on(30)
    asked = stage.deployment()
    assert (asked.state, asked.question) == (S.DEPLOYING, "takes_long")
    stage.go_on(300)
    assert stage.deployment().revision == asked.revision
    stage.run_ends()
    stage.go_on(20)
    assert (stage.state(), stage.deployment().question, len(stage.runs())) == (S.SUCCEEDED, "", 1)


def test_a_service_taken_out_of_the_configuration(stage: Stage, store: SqlStore, database: Engine) -> None:
    """What has not begun ends; what has begun is left alone, and goes on where the service is back."""
    stage.ask(f"deploy {SERVICE} v1 to staging")
    stage.go_on(5)
    stage.ask(f"deploy {SERVICE} v1 to staging")
    stage.ask(f"deploy {SERVICE} v1 to production")
    stage.ask(f"confirm {SERVICE}#3")
    assert [stage.state(number) for number in (1, 2, 3)] == [S.DEPLOYING, S.QUEUED, S.AWAITING_APPROVAL]
    without = World(store, database, clock=stage.world.clock, builds=stage.builds, roles=ROLES)
    stage.world.clock.advance(2 * HOUR_S)  # those who may approve would be reminded
    without.carry(20)
    assert [stage.state(number) for number in (1, 2, 3)] == [S.DEPLOYING, S.CANCELLED, S.CANCELLED]
    assert [stage.deployment(number).outcome for number in (2, 3)] == ["not_configured"] * 2
    stage.go_on(30)
    stage.run_ends()
    stage.go_on(30)
    assert (stage.state(), len(stage.runs())) == (S.SUCCEEDED, 1)


def notices_of(stage: Stage) -> list[Notice]:
    """What was said below cards, in order."""
    stage.world.deliver(20)
    return [call.content for call in stage.world.messenger.calls if isinstance(call.content, Notice)]


def test_an_order_that_nobody_can_say_anything_of(stage: Stage) -> None:
    """After ten minutes people are asked to look; the question goes when the CI system answers, and it goes on."""
    stage.builds.away, stage.builds.loses_answers = {"find_run"}, True
    stage.ask(f"deploy {SERVICE} v1 to staging")
    stage.go_on(590)
    assert (stage.state(), stage.deployment().question) == (S.DEPLOYING, "")
    stage.go_on(30)
    words = "I do not know whether its run was started: please look in the CI system"
    assert (stage.state(), stage.deployment().question) == (S.DEPLOYING, "run_unknown")
    assert f"❔ {words}" in str(stage.card().sections[0])
    assert [notice.emoji for notice in notices_of(stage)] == ["❔"]
    assert words in str(notices_of(stage)[0].body)
    stage.builds.away, stage.builds.loses_answers = set(), False
    stage.go_on(30)
    assert (stage.deployment().question, len(stage.runs())) == ("", 1)
    stage.run_ends()
    stage.go_on(20)
    assert stage.state() is S.SUCCEEDED


def test_the_same_version_once_more_has_nothing_to_go_back_to(stage: Stage) -> None:
    """What failed is what was there before: it stays, and the card says why."""
    stage.good("v1")
    stage.verification.verdicts["health"] = Verdict.FAILED
    assert stage.carried_out("v1") == 2
    stage.go_on(60)
    after = stage.deployment(2)
    assert (after.state, after.not_rolled_back, stage.newest()) == (S.FAILED, "same_version", 2)
    assert "Not rolled back: the version before is the same one." in str(stage.card(2).sections[0])


def test_a_version_that_could_not_be_brought_back_calls_people(stage: Stage) -> None:
    """Both cards say what failed on which way, and the thread that somebody has to look; a second try begins anew."""
    stage.good("v1")
    stage.verification.verdicts["health"] = Verdict.FAILED
    stage.carried_out("v2")
    stage.go_on(30)
    assert "💥" in [notice.emoji for notice in notices_of(stage)]
    stage.run_ends()
    stage.go_on(60)
    assert (stage.state(2), stage.state(3)) == (S.ROLLBACK_FAILED, S.FAILED)
    lost = "#3 did not bring the version before back: a person has to look. Checks failed after it was deployed."
    card = stage.card(2)
    assert (card.emoji, card.title) == ("🆘", f"Deployment {SERVICE}#2 · v2 → production · rollback failed")
    assert "Checks failed after it was deployed. health: said failed" in str(card.sections[0])
    assert lost in str(card.sections[0])
    assert "This was a rollback: a person has to look now." in str(stage.card(3).sections[0])
    [called] = [notice for notice in notices_of(stage) if notice.emoji == "🆘"]
    assert lost in str(called.body)
    stage.verification.verdicts.clear()
    button = next(one for one in card.actions if one.id == "rollback_deployment")
    stage.ask(str(button.command))
    stage.ask(f"confirm {SERVICE}#4")
    assert "did not bring" not in str(stage.card(2).sections[0])
    stage.go_on(1)
    stage.run_ends()
    stage.go_on(60)
    assert (stage.state(2), stage.state(4)) == (S.ROLLED_BACK, S.SUCCEEDED)
    assert [run["version"] for run in stage.runs()] == ["v1", "v2", "v1", "v1"]


def test_unanswered_means_rejected(stage: Stage) -> None:
    """Those who may approve are reminded at half time, once; then it expires, and its thread says so."""
    stage.ask(f"deploy {SERVICE} v1 to production")
    stage.ask(f"confirm {SERVICE}#1")
    stage.card()

    def reminders() -> list[list[str | None]]:
        stage.world.deliver(5)
        calls = [call.content for call in stage.world.messenger.calls if "still waits for approval" in call.title]
        return [[person.account for person in one.mentions] for one in calls if isinstance(one, Notice)]

    stage.go_on(2 * 3600 - 60)
    assert reminders() == []
    stage.go_on(60)
    assert reminders() == [["slack:U2", "slack:U3"]]
    stage.go_on(2 * 3600)
    assert (stage.state(), stage.deployment().outcome) == (S.EXPIRED, "not_approved")
    assert "Not approved in time, which means rejected." in str(stage.card().sections[0])
    assert len(reminders()) == 1
    said = [call.title for call in stage.world.messenger.calls if isinstance(call.content, Notice)]
    assert ["Not approved in time" in title for title in said] == [False, False, True]
    assert f"{SERVICE}#1 waits for no approval" in stage.ask(f"approve {SERVICE}#1", "U2")
    assert stage.runs() == []


def test_one_that_was_overtaken_at_the_last_moment_names_the_other(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What began just after it was looked at stands on the card by its number, in the reader's words alone."""
    for version in ("v1", "v2"):
        stage.build(version)
        stage.ask(f"deploy {SERVICE} {version} to staging")
    stage.go_on(1)
    monkeypatch.setattr("bot.services.deployments.gate.held_at", lambda *_: None)
    stage.go_on(20)
    assert (stage.deployment(2).outcome, stage.deployment(2).detail) == ("busy", f"{SERVICE}#1")
