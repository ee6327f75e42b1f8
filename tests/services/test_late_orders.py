"""The CI system is away when a deployment would begin: what was never ordered is judged anew before it is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import date
from typing import Any

import pytest
from sqlalchemy import Engine

from bot.domain.cards import Notice
from bot.domain.deployments import DeploymentState
from bot.domain.services import ApprovalRule
from bot.domain.windows import Freeze
from bot.errors import OutcomeUnknown, RateLimited
from tests.build_fakes import FakeBuildSystem
from tests.services.deployment_world import SERVICE, Stage, a_service, a_stage
from tests.stores import SqlStore

pytestmark = pytest.mark.one_engine

S = DeploymentState
WEEK_S = 7 * 86_400.0
ALL_CALLS = {"run", "find_run", "list_builds", "follow", "fetch"}


@pytest.fixture
def stage(sqlite_store: SqlStore, sqlite_database: Engine) -> Stage:
    """Production asks for one approval; a version waits for it."""
    stage = a_stage(sqlite_store, sqlite_database, approvals=ApprovalRule(1, ("release",)))
    stage.build("v1")
    stage.ask(f"deploy {SERVICE} v1 to production")
    stage.ask(f"confirm {SERVICE}#1")
    return stage


def lock(stage: Stage) -> None:
    """Somebody locks the environment."""
    assert "is locked" in stage.ask(f"lock {SERVICE} in production because incident")


def freeze(stage: Stage) -> None:
    """A freeze is on."""
    day = stage.world.clock.now().date()
    stage.restart({SERVICE: a_service(approvals=ApprovalRule(1, ("release",)), freezes=(_freeze(day),))})


def _freeze(day: date) -> Freeze:
    return Freeze(day, day, "fair", "UTC")


def approver_leaves(stage: Stage) -> None:
    """Who approved has no role any more."""
    stage.restart(
        stage.world.services, [replace(role, members=role.members - {"slack:U2"}) for role in stage.world.roles]
    )


def requester_leaves(stage: Stage) -> None:
    """Who asked has no role any more."""
    stage.restart(
        stage.world.services, [replace(role, members=role.members - {"slack:U1"}) for role in stage.world.roles]
    )


@pytest.mark.parametrize("away", [ALL_CALLS, {"run"}], ids=["at all", "for the order"])
@pytest.mark.parametrize(
    ("meanwhile", "state", "outcome"),
    [
        (lock, S.QUEUED, "locked"),
        (freeze, S.QUEUED, "freeze"),
        (approver_leaves, S.AWAITING_APPROVAL, "approval_struck"),
        (requester_leaves, S.CANCELLED, "requester_refused"),
    ],
)
def test_what_was_never_ordered_is_judged_anew(
    stage: Stage, away: set[str], meanwhile: Callable[[Stage], None], state: DeploymentState, outcome: str
) -> None:
    """Approved while the CI system was away, back when it may not begin any more: it does not."""
    stage.builds.away = set(away)
    stage.ask(f"approve {SERVICE}#1", "U2")
    stage.go_on(60)
    assert (stage.state(), stage.deployment().outcome, stage.deployment().started_at) == (S.QUEUED, "ci_away", 0.0)
    assert "The CI system does not answer, so it has not begun: buildbot" in str(stage.card().sections[0])
    meanwhile(stage)
    stage.builds.away = set()
    stage.go_on(400)
    assert (stage.state(), stage.deployment().outcome, stage.runs()) == (state, outcome, [])


def test_an_order_that_came_to_nothing_is_judged_anew(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its answer was lost, it is locked meanwhile, and there certainly is no run: it waits like any other."""

    def lose(*_: Any, **__: Any) -> object:
        raise OutcomeUnknown("buildbot", "no_answer")

    with monkeypatch.context() as patch:
        patch.setattr(FakeBuildSystem, "run", lose)
        stage.ask(f"approve {SERVICE}#1", "U2")
        stage.go_on()
        assert stage.state() is S.DEPLOYING
        lock(stage)
    stage.go_on(60)
    assert (stage.state(), stage.deployment().outcome, stage.runs()) == (S.QUEUED, "locked", [])
    stage.ask(f"unlock {SERVICE} in production")
    stage.go_on(20)
    assert (stage.state(), len(stage.runs())) == (S.DEPLOYING, 1)


def test_people_are_told_of_a_ci_system_that_stays_away(stage: Stage) -> None:
    """After ten minutes they are called, once; the question goes when it begins."""
    stage.builds.away = set(ALL_CALLS)
    stage.ask(f"approve {SERVICE}#1", "U2")
    stage.go_on(590)
    assert stage.deployment().question == ""
    stage.go_on(3000)
    words = "the CI system does not answer, and it cannot begin: please look there"
    assert f"❔ {words}" in str(stage.card().sections[0])
    called = [one.content for one in stage.world.messenger.calls if isinstance(one.content, Notice)]
    assert [words in str(notice.body) for notice in called].count(True) == 1
    stage.builds.away = set()
    stage.go_on(10)
    begun = stage.deployment()
    assert (begun.state, begun.question, begun.unseen_since, len(stage.runs())) == (S.DEPLOYING, "", 0.0, 1)


def test_an_order_that_is_put_off_is_made_when_it_may_be(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """The CI system asks for two minutes: so long it is left alone, and then begins what may begin."""
    asked: list[float] = []

    def put_off(*_: Any, **__: Any) -> object:
        asked.append(stage.world.clock.now().timestamp())
        raise RateLimited("buildbot", "rate_limited", 120.0)

    with monkeypatch.context() as patch:
        patch.setattr(FakeBuildSystem, "run", put_off)
        stage.ask(f"approve {SERVICE}#1", "U2")
        stage.go_on(119)
        assert (stage.state(), len(asked)) == (S.QUEUED, 1)
    stage.go_on(10)
    assert (stage.state(), len(stage.runs())) == (S.DEPLOYING, 1)


def test_a_refused_order_is_tried_ever_more_seldom(stage: Stage) -> None:
    """Whatever answers looks and takes no orders fills no trail: a day is some hundreds of tries, not thousands."""
    stage.builds.away = {"run"}
    stage.ask(f"approve {SERVICE}#1", "U2")
    stage.go_on(3600)
    tries = [outcome for _, _, _, outcome in stage.world.trail() if outcome.startswith("deploying")]
    assert 3 < len(tries) < 40


def test_a_run_that_is_there_after_all_is_followed(stage: Stage) -> None:
    """The order was said not to have arrived, and had: it is looked for before another one, and nothing runs twice."""
    run = FakeBuildSystem.run

    def arrive(builds: FakeBuildSystem, *arguments: Any, **named: Any) -> object:
        run(builds, *arguments, **named)
        raise RateLimited("buildbot", "rate_limited", 5.0)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(FakeBuildSystem, "run", arrive)
        stage.ask(f"approve {SERVICE}#1", "U2")
        stage.go_on()
        assert (stage.state(), len(stage.runs())) == (S.QUEUED, 1)
    stage.go_on(60)
    assert (stage.state(), len(stage.runs())) == (S.DEPLOYING, 1)
    stage.run_ends()
    stage.go_on(60)
    assert stage.state() is S.SUCCEEDED


def lost(*_: Any, **__: Any) -> object:
    """An order whose answer never comes, and which starts nothing."""
    raise OutcomeUnknown("buildbot", "no_answer")


def refused(*_: Any, **__: Any) -> object:
    """An order that never arrives."""
    raise RateLimited("buildbot", "rate_limited", 5.0)


@pytest.mark.parametrize("order", [lost, refused])
def test_orders_that_come_to_nothing_for_a_week_end_it(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, order: Callable[..., object]
) -> None:
    """Each try queues it anew, and renews nothing: it ends a week after the first one, and people are told why."""
    monkeypatch.setattr(FakeBuildSystem, "run", order)
    stage.ask(f"approve {SERVICE}#1", "U2")
    stage.go_on(60)
    stage.world.clock.advance(WEEK_S - 400)
    stage.go_on(200)
    assert stage.state() in (S.QUEUED, S.DEPLOYING)
    stage.go_on(900)
    ended = stage.deployment()
    assert (ended.state, ended.outcome, ended.detail) == (S.EXPIRED, "never_taken", "buildbot")
    why = "For a whole week the CI system did not answer, or took no order for it: buildbot"
    assert why in str(stage.card().sections[0])
    called = [str(one.content.body) for one in stage.world.messenger.calls if isinstance(one.content, Notice)]
    assert why in called[-1]


def test_the_week_begins_anew_when_a_freeze_ends(stage: Stage) -> None:
    """No order was taken before it either: what the calendar held back does not count."""
    stage.builds.away = {"run"}
    stage.ask(f"approve {SERVICE}#1", "U2")
    stage.go_on(60)
    freeze(stage)
    stage.go_on(600)
    assert stage.deployment().outcome == "freeze"
    stage.world.clock.advance(WEEK_S + 86_400)
    stage.restart({SERVICE: a_service(approvals=ApprovalRule(1, ("release",), expires_s=4 * WEEK_S))})
    stage.go_on(4000)
    assert (stage.state(), stage.deployment().outcome) == (S.QUEUED, "ci_away")
    stage.world.clock.advance(WEEK_S)
    stage.go_on(600)
    assert (stage.state(), stage.deployment().outcome) == (S.EXPIRED, "never_taken")
