"""Who asked for a deployment is judged again when it begins: days may lie between, with windows and approvals."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from sqlalchemy import Engine

from bot.domain.cards import Notice
from bot.domain.checks import Verdict
from bot.domain.commands import Actor, ReplyTo
from bot.domain.deployments import DeploymentState, Run, move
from bot.domain.identity import Role
from bot.errors import Unavailable
from bot.ports import PersonFacts, Transaction
from tests.services.deployment_world import SERVICE, Stage, a_stage
from tests.stores import SqlStore

pytestmark = pytest.mark.one_engine

S = DeploymentState


@pytest.fixture
def stage(store: SqlStore, database: Engine) -> Stage:
    """A deployment to production that has all it needs, kept from beginning by a lock that is gone now."""
    stage = a_stage(store, database)
    stage.approved("U2", "U3")
    return stage


def give_roles(stage: Stage, change: Callable[[Role], Role]) -> None:
    """Change what the roles are."""
    people = stage.world.house.requests.people
    people.roles = tuple(change(role) for role in people.roles)


def take_role(stage: Stage) -> None:
    """Let U1 be in no role any more."""
    give_roles(stage, lambda role: replace(role, members=role.members - {"slack:U1"}))


def take_permission(stage: Stage) -> None:
    """Let the role of U1 allow rollbacks alone."""
    give_roles(stage, lambda role: replace(role, can=frozenset({"rollback"})) if role.name == "developers" else role)


def leave(stage: Stage) -> None:
    """Let U1 be no member of the workspace any more."""
    stage.world.directory.people["U1"] = PersonFacts("U1", None, is_outsider=True)


@pytest.mark.parametrize(
    ("change", "reason"), [(take_role, "no_role"), (take_permission, "not_granted"), (leave, "outsider")]
)
def test_who_may_ask_for_it_no_more(stage: Stage, change: Callable[[Stage], None], reason: str) -> None:
    """Nothing begins, whoever has approved it; card, thread and trail say why, and the next in line is not held up."""
    change(stage)
    stage.go_on(20)
    assert (stage.state(), stage.deployment().outcome, stage.runs()) == (S.CANCELLED, "requester_refused", [])
    assert [entry for entry in stage.world.trail() if entry[1] == "recheck"] == [
        ("shipmate", "recheck", f"deployment:shipmate/{SERVICE}#1 slack:U1", f"refused:{reason}"),
        ("shipmate", "recheck", f"deployment:shipmate/{SERVICE}#1 v1 → production", "cancelled:requester_refused"),
    ]
    said = "who asked for it has no role any more that allows this: U1"
    assert said in str(stage.card().sections[0])
    notices = [call.content for call in stage.world.messenger.calls if isinstance(call.content, Notice)]
    assert said in str(notices[-1].body)


def test_a_break_glass_role_that_was_lost(store: SqlStore, database: Engine) -> None:
    """It was asked for without approvals: the role that allows that is what is asked about."""
    stage = a_stage(store, database, break_glass=("sre",))
    stage.build("v1")
    stage.ask(f"lock {SERVICE} in production because so")
    stage.ask(f"deploy {SERVICE} v1 to production break-glass because the shop is down")
    stage.ask(f"confirm {SERVICE}#1")
    stage.go_on()
    give_roles(stage, lambda role: replace(role, members=frozenset()) if role.name == "sre" else role)
    stage.ask(f"unlock {SERVICE} in production")
    stage.go_on(20)
    assert (stage.state(), stage.deployment().outcome, stage.runs()) == (S.CANCELLED, "requester_refused", [])


def test_a_lost_role_is_asked_about_at_the_confirmation(store: SqlStore, database: Engine) -> None:
    """Between preview and confirmation, too: it is refused, and nothing has happened."""
    stage = a_stage(store, database)
    stage.build("v1")
    stage.ask(f"deploy {SERVICE} v1 to production")
    take_permission(stage)
    stage.ask(f"confirm {SERVICE}#1")
    assert stage.state() is S.REQUESTED
    assert stage.world.trail()[-1][1::2] == ("confirm", "refused:not_granted")


def test_a_way_back_waits_for_no_directory(stage: Stage) -> None:
    """Who confirmed it was asked about a moment ago."""
    stage.go_on(1)
    stage.run_ends()
    stage.go_on(60)
    stage.good("v2")
    stage.ask(f"rollback {SERVICE} in production")
    stage.ask(f"confirm {SERVICE}#3")
    stage.world.directory.fails = [Unavailable("slack", "no_answer")] * 3
    stage.go_on(1)
    assert stage.state(3) is S.DEPLOYING


def test_a_way_back_that_begins_by_itself_asks_about_nobody(store: SqlStore, database: Engine) -> None:
    """It is the rule's, whatever became of who deployed what failed."""
    stage = a_stage(store, database)
    stage.good("v1")
    stage.carried_out("v2")
    stage.verification.verdicts["health@v2"] = Verdict.FAILED
    take_role(stage)
    stage.go_on(60)
    assert (stage.state(2), stage.state(3)) == (S.ROLLING_BACK, S.DEPLOYING)


def test_a_program_that_may_ask_no_more(store: SqlStore, database: Engine) -> None:
    """Its roles count like a person's."""
    stage = a_stage(store, database)
    give_roles(stage, lambda role: replace(role, members=role.members | {"api:train"}))
    stage.build("v1")
    stage.ask(f"lock {SERVICE} in staging because so")
    actor, place = Actor("api:train", "train"), ReplyTo("api", "api:train")
    typed = f"deploy {SERVICE} v1 to staging"
    stage.world.inbox.accept(typed=typed, dedup_key="api:1", actor=actor, reply_to=place, via="api")
    stage.world.work()
    give_roles(stage, lambda role: replace(role, members=role.members - {"api:train"}))
    stage.ask(f"unlock {SERVICE} in staging")
    stage.go_on(20)
    assert (stage.state(), stage.deployment().outcome) == (S.CANCELLED, "requester_refused")


def goes_back_alone(store: SqlStore, database: Engine) -> Stage:
    """v1 and v2 were good in production; U1 has a role with `rollback` and none with `deploy` by now."""
    stage = a_stage(store, database)
    stage.good("v1")
    stage.good("v2")
    take_permission(stage)
    stage.ask(f"rollback {SERVICE} in production")
    return stage


def test_who_asked_may_think_better_of_it(store: SqlStore, database: Engine) -> None:
    """Never mind on one's own preview, and Cancel before it begins, need no role with `deploy`."""
    stage = goes_back_alone(store, database)
    stage.ask(f"abort {SERVICE}#3")
    assert stage.state(3) is S.CANCELLED
    stage.ask(f"rollback {SERVICE} in production")
    stage.ask(f"confirm {SERVICE}#4")
    assert stage.state(4) is S.QUEUED
    stage.ask(f"abort {SERVICE}#4")
    assert (stage.state(4), stage.state(2)) == (S.CANCELLED, S.SUCCEEDED)


@pytest.mark.parametrize("verb", ["abort", "reject"])
def test_an_outsider_is_not_who_asked(store: SqlStore, database: Engine, verb: str) -> None:
    """Ids of two organisations can be equal: whoever is of the other one ends nothing."""
    stage = a_stage(store, database)
    stage.build("v1")
    stage.ask(f"deploy {SERVICE} v1 to production")
    said = stage.ask(f"{verb} {SERVICE}#1", is_outsider=True)
    assert said == "I take commands from members of this workspace only."
    assert stage.state() is S.REQUESTED
    assert stage.world.trail()[-1][1:] == (verb, f"deployment:shipmate/{SERVICE}#1 production", "refused:outsider")


def test_what_has_begun_is_stopped_by_a_role_alone(store: SqlStore, database: Engine) -> None:
    """And what others asked for: having asked gives a say in what has changed nothing yet."""
    stage = goes_back_alone(store, database)
    stage.ask(f"abort {SERVICE}#3", "m1")
    assert (stage.state(3), stage.world.trail()[-1][1::2]) == (S.REQUESTED, ("abort", "refused:not_granted"))
    stage.ask(f"confirm {SERVICE}#3")
    stage.go_on(1)
    assert stage.state(3) is S.DEPLOYING
    stage.ask(f"abort {SERVICE}#3")
    assert (stage.state(3), stage.deployment(3).stop_asked_by) == (S.DEPLOYING, "")
    assert stage.world.trail()[-1][1::2] == ("abort", "refused:not_granted")


def test_what_begins_in_that_moment_is_not_stopped_by_who_asked(
    store: SqlStore, database: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It waited when the role was looked at, and had begun when it was to be ended."""
    stage = goes_back_alone(store, database)
    stage.ask(f"confirm {SERVICE}#3")
    people, at = stage.world.house.requests.people, stage.world.clock.now().timestamp()

    def begin(tx: Transaction, _actor: Actor) -> None:
        """In the place of what is noted in the transaction that ends it."""
        tx.deployments.put(move(stage.deployment(3), S.DEPLOYING, at, run=Run(at, "1")), due_at=None)

    monkeypatch.setattr(people, "note", begin)
    assert "Too late for that" in stage.ask(f"abort {SERVICE}#3")
