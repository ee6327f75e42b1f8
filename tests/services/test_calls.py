"""Whom notices call, and that what comes again calls again."""

from __future__ import annotations

import pytest
from sqlalchemy import Engine

from bot.domain.cards import Notice
from bot.domain.deployments import DeploymentState
from tests.services.deployment_world import SERVICE, Stage, a_stage
from tests.stores import SqlStore

pytestmark = pytest.mark.one_engine

S = DeploymentState


@pytest.fixture
def stage(store: SqlStore, database: Engine) -> Stage:
    """Production, for which two of `release` must agree within four hours."""
    return a_stage(store, database)


def calls(stage: Stage, words: str) -> list[list[str | None]]:
    """Whom each of the notices called that say this, in order."""
    stage.world.deliver(20)
    notices = [call.content for call in stage.world.messenger.calls if isinstance(call.content, Notice)]
    return [[person.account for person in one.mentions] for one in notices if words in str(one.body)]


def test_who_has_agreed_is_not_reminded(stage: Stage) -> None:
    """At half time the others are."""
    stage.build("v1")
    for typed, person in (("deploy {} v1 to production", "U1"), ("confirm {}#1", "U1"), ("approve {}#1", "U2")):
        stage.ask(typed.format(SERVICE), person)
    stage.go_on(2 * 3600 + 60)
    assert calls(stage, "still waits for approval") == [["slack:U3"]]


def test_after_a_revoke_people_are_called_and_reminded_anew(stage: Stage) -> None:
    """The first half time was told, and what both had agreed to was held back for longer than there was time."""
    stage.build("v1")
    stage.ask(f"deploy {SERVICE} v1 to production")
    stage.ask(f"confirm {SERVICE}#1")
    stage.go_on(2 * 3600 + 60)
    stage.ask(f"lock {SERVICE} in production because so")
    for person in ("U2", "U3"):
        stage.ask(f"approve {SERVICE}#1", person)
    stage.world.clock.advance(3 * 3600)
    stage.go_on()
    assert (stage.state(), len(calls(stage, "waits for approval"))) == (S.QUEUED, 2)
    stage.ask(f"revoke {SERVICE}#1", "U3")
    assert stage.state() is S.AWAITING_APPROVAL
    assert calls(stage, "waits for approval again") == [["slack:U3"]]
    assert len(calls(stage, "still waits for approval")) == 1
    stage.go_on(2 * 3600 + 60)
    assert calls(stage, "still waits for approval")[1:] == [["slack:U3"]]


def test_each_outage_calls_people_once(stage: Stage) -> None:
    """The CI system is away, comes back while something else holds the deployment, and is away again."""
    stage.approved("U2", "U3")
    stage.builds.away = {"list_builds"}
    for count in (1, 2):
        for _ in range(3):
            stage.go_on()
            stage.world.clock.advance(400)
        assert (stage.deployment().question, len(calls(stage, "does not answer"))) == ("ci_away", count)
        stage.ask(f"lock {SERVICE} in production because night")
        stage.go_on(20)
        assert (stage.deployment().outcome, stage.deployment().question) == ("locked", "")
        stage.ask(f"unlock {SERVICE} in production")


@pytest.mark.parametrize(("later_s", "called"), [(3600, ["slack:U2"]), (0, ["slack:U2", "slack:U3"])])
def test_whose_approval_got_too_old_is_called_again(stage: Stage, later_s: float, called: list[str]) -> None:
    """Nobody else can give the one that lacks; who has agreed, and still counts, is left alone."""
    stage.build("v1")
    for typed, person in (("deploy {} v1 to production", "U1"), ("confirm {}#1", "U1"), ("approve {}#1", "U2")):
        stage.ask(typed.format(SERVICE), person)
    stage.ask(f"lock {SERVICE} in production because so")
    stage.world.clock.advance(later_s)
    stage.ask(f"approve {SERVICE}#1", "U3")
    stage.go_on()
    stage.world.clock.advance(7 * 86_400 + 1 - later_s / 2)
    stage.ask(f"unlock {SERVICE} in production")
    stage.go_on(60)
    assert [one.account for one in stage.deployment().struck] == called
    assert calls(stage, "waits for approval again") == [called]
