"""Break-glass goes before others, and is announced wherever deployments like it are shown, whatever is quiet there."""

from __future__ import annotations

from dataclasses import replace
from datetime import time

import pytest
from sqlalchemy import Engine

from bot.domain.deployments import DeploymentState
from bot.domain.noise import QuietHours
from bot.domain.places import DestinationSettings
from bot.domain.routing import Match, Milestone, Route
from bot.domain.services import ApprovalRule, WhenBusy
from bot.domain.windows import Freeze
from bot.errors import Unavailable
from bot.ports import Subscription
from bot.services.router import Router, slots_of
from tests.services.deployment_world import SERVICE, Stage, a_stage
from tests.stores import SqlStore

pytestmark = pytest.mark.one_engine

FAILURES = Route("routes[0]", Match(kind=("deployment",)), ("ci",), when=frozenset({Milestone.FAILED, Milestone.FIXED}))
STAGING = Route("routes[0]", Match(kind=("deployment",), environment=("staging",)), ("ci",))


def broken(stage: Stage) -> list[str]:
    """Deploy by break-glass; the titles of what is posted, and where."""
    stage.build("v1")
    stage.ask(f"deploy {SERVICE} v1 to production break-glass because the shop is down")
    stage.ask(f"confirm {SERVICE}#1")
    stage.go_on(1)
    assert stage.state() is DeploymentState.DEPLOYING
    stage.world.deliver(5)
    return [f"{call.place} {call.title}" for call in stage.world.messenger.calls]


def test_a_route_for_failures_shows_it_all_the_same(store: SqlStore, database: Engine) -> None:
    """A card from the start, and the reason in its thread."""
    stage = a_stage(store, database, routes=(FAILURES,), break_glass=("sre",))
    posted = broken(stage)
    assert any("deploying" in title for title in posted), posted
    assert any("without approvals" in title and "the shop is down" in title for title in posted), posted


@pytest.mark.parametrize("reason", ["", " because", " because \u200b\u2060", " 因为\u200b"])
def test_without_a_reason_that_can_be_read_it_is_none(store: SqlStore, database: Engine, reason: str) -> None:
    """Everybody is told why; signs that nobody sees tell nothing."""
    stage = a_stage(store, database, break_glass=("sre",))
    stage.build("v1")
    assert "break-glass because <reason>" in stage.ask(f"deploy {SERVICE} v1 to production break-glass{reason}")
    assert stage.world.store.read(lambda tx: tx.deployments.newest(None, None, None, 1)) == []


def test_a_mute_does_not_hide_it(store: SqlStore, database: Engine) -> None:
    """The channel wants no cards of the service; this one it gets."""
    stage = a_stage(store, database, break_glass=("sre",))
    muted = Subscription("slack:T/ci", SERVICE, True, (), "en", "slack:U1")
    stage.world.store.write(lambda tx: tx.subscriptions.put(muted, 0.0))
    assert len(broken(stage)) >= 2


def test_without_a_route_the_admin_hears_of_it(store: SqlStore, database: Engine) -> None:
    """Nobody else would."""
    stage = a_stage(store, database, routes=(STAGING,), admin="ops", break_glass=("sre",))
    posted = broken(stage)
    assert posted
    assert {title.partition(" ")[0] for title in posted} == {"slack:T/ops"}


def test_one_that_never_began_is_no_news(store: SqlStore, database: Engine) -> None:
    """A lock held it back until somebody thought better of it: nothing was deployed without approvals."""
    stage = a_stage(store, database, routes=(FAILURES,), break_glass=("sre",))
    stage.build("v1")
    stage.ask(f"lock {SERVICE} in production because so")
    stage.ask(f"deploy {SERVICE} v1 to production break-glass because the shop is down")
    stage.ask(f"confirm {SERVICE}#1")
    stage.go_on(1)
    stage.ask(f"abort {SERVICE}#1")
    stage.world.deliver(5)
    assert (stage.state(), stage.world.messenger.calls) == (DeploymentState.CANCELLED, [])


def test_quiet_hours_that_spare_what_is_critical_let_it_through(store: SqlStore, database: Engine) -> None:
    """At four in the morning, through a route that is not critical."""
    night = QuietHours(time(0), time(8), spares_critical=True)
    stage = a_stage(store, database, routes=(replace(FAILURES, quiet_hours=night),), break_glass=("sre",))
    assert any("without approvals" in title for title in broken(stage))


def test_the_wish_of_a_channel_lets_it_through_as_a_route_does(store: SqlStore, database: Engine) -> None:
    """The place's quiet hours hold what was subscribed to there, but not this."""
    stage = a_stage(store, database, break_glass=("sre",))
    broken(stage)
    night = QuietHours(time(0), time(8), spares_critical=True)
    router = Router((), {"ci": DestinationSettings("ci", "slack:#ci", quiet_hours=night)})
    wish = Subscription("slack:T/ci", SERVICE, False, ("failed",), "en", "slack:U1")
    store.write(lambda tx: tx.subscriptions.put(wish, 0.0))
    deployment = store.read(lambda tx: tx.deployments.get(1))
    assert deployment is not None
    slots = slots_of(store.read(lambda tx: router.openings(tx, deployment)), deployment)
    assert slots
    assert not any("quiet" in slot.options for slot in slots)


def test_a_deployment_with_approvals_is_as_quiet_as_was_asked(store: SqlStore, database: Engine) -> None:
    """Only break-glass is loud."""
    stage = a_stage(store, database, routes=(FAILURES,), admin="ops")
    stage.good("v1")
    stage.world.deliver(5)
    assert stage.world.messenger.calls == []


def test_it_goes_before_what_waits(sqlite_store: SqlStore, sqlite_database: Engine) -> None:
    """A freeze holds another one back, which was asked for before: nothing is under way, and the shop is down."""
    day = a_stage(sqlite_store, sqlite_database).world.clock.now().date()
    freeze = Freeze(day, day, "the shop's birthday", "UTC")
    stage = a_stage(sqlite_store, sqlite_database, break_glass=("sre",), freezes=(freeze,), approvals=ApprovalRule())
    stage.build("v1")
    stage.ask(f"deploy {SERVICE} v1 to production")
    stage.ask(f"confirm {SERVICE}#1")
    stage.go_on(1)
    assert (stage.state(), stage.deployment().outcome) == (DeploymentState.QUEUED, "freeze")
    stage.build("v2")
    stage.ask(f"deploy {SERVICE} v2 to production break-glass because the shop is down")
    stage.ask(f"confirm {SERVICE}#2")
    stage.go_on(1)
    assert stage.state(2) is DeploymentState.DEPLOYING


def test_who_goes_first_is_said(sqlite_store: SqlStore, sqlite_database: Engine) -> None:
    """Two wait for one that is under way; then the card of the second one says that the first goes before it."""
    stage = a_stage(sqlite_store, sqlite_database, approvals=ApprovalRule(), checks=())
    stage.build("v1")
    for number in (1, 2, 3):
        stage.ask(f"deploy {SERVICE} v1 to production")
        stage.ask(f"confirm {SERVICE}#{number}")
        stage.go_on(1)
    assert f"Another deployment is under way: {SERVICE}#1" in str(stage.card(3).sections[0])
    stage.builds.away = {"list_builds"}
    stage.run_ends()
    stage.go_on(20)
    assert "The CI system does not answer" in str(stage.card(2).sections[0])
    assert f"Others go first: {SERVICE}#2" in str(stage.card(3).sections[0])


def test_one_whose_people_nobody_knows_holds_up_nobody(sqlite_store: SqlStore, sqlite_database: Engine) -> None:
    """The directory that has to tell of its approver is away; the next one needs none of it, and begins."""
    stage = a_stage(sqlite_store, sqlite_database)
    stage.approved("U2", "m2")
    stage.build("v2")
    stage.ask(f"deploy {SERVICE} v2 to production")
    stage.ask(f"confirm {SERVICE}#2")
    for person in ("U2", "U3"):
        stage.ask(f"approve {SERVICE}#2", person)
    stage.world.other_directory.fails = [Unavailable("dingtalk", "no_answer")] * 100
    stage.go_on(30)
    assert (stage.state(), stage.state(2)) == (DeploymentState.QUEUED, DeploymentState.DEPLOYING)


def test_what_needs_approvals_does_not_end_it(sqlite_store: SqlStore, sqlite_database: Engine) -> None:
    """Newer ones end what waits here; break-glass ends only for another one."""
    stage = a_stage(sqlite_store, sqlite_database, break_glass=("sre",), when_busy=WhenBusy.SUPERSEDE)
    stage.build("v1")
    stage.ask(f"lock {SERVICE} in production because so")
    glass = " break-glass because the shop is down"
    for number, (person, more) in enumerate((("U1", ""), ("U1", glass), ("m1", ""), ("U1", glass)), 1):
        stage.ask(f"deploy {SERVICE} v1 to production{more}", person)
        stage.ask(f"confirm {SERVICE}#{number}", person)
        stage.go_on(1)
        if number == 3:
            kept = [stage.state(one) for one in (1, 2, 3)]
            assert kept == [DeploymentState.SUPERSEDED, DeploymentState.QUEUED, DeploymentState.AWAITING_APPROVAL]
    assert [stage.deployment(one).detail for one in (2, 3)] == [f"{SERVICE}#4"] * 2


def test_its_way_back_breaks_no_glass(store: SqlStore, database: Engine) -> None:
    """On the trail the request, the confirmation and the start say so: nothing that comes of it later does."""
    stage = a_stage(store, database, break_glass=("sre",))
    stage.good("v1")
    stage.build("v2")
    stage.ask(f"deploy {SERVICE} v2 to production break-glass because the shop is down")
    stage.ask(f"confirm {SERVICE}#2")
    stage.go_on(1)
    stage.run_ends()
    stage.go_on(60)
    stage.ask(f"rollback {SERVICE} in production")
    stage.ask(f"confirm {SERVICE}#3")
    what = f"deployment:shipmate/{SERVICE}#2 v2 → production"
    said = [(target.removeprefix(what), outcome) for _, _, target, outcome in stage.world.trail() if what in target]
    assert said == [
        (" because the shop is down", "requested:break_glass"),
        (" because the shop is down", "queued:break_glass"),
        (" because the shop is down", "deploying:break_glass"),
        ("", "verifying"),
        ("", "succeeded"),
        ("", "rolling_back"),
    ]
