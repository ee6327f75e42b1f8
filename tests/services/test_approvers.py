"""Approvals are judged again when a deployment begins: what was true at the click need not be so by then."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import Engine

from bot.domain.cards import Card, Lines, Notice
from bot.domain.deployments import DeploymentState
from bot.domain.services import ApprovalRule
from bot.errors import Unavailable
from bot.ports import PersonFacts
from bot.services.deployments.gate import Held
from tests.services.deployment_world import SERVICE, Stage, a_stage
from tests.services.test_linking import give, link
from tests.stores import SqlStore

pytestmark = pytest.mark.one_engine

S = DeploymentState


@pytest.fixture
def stage(store: SqlStore, database: Engine) -> Stage:
    """A deployment to production with both its approvals, kept from beginning by a lock that is gone now."""
    stage = a_stage(store, database)
    stage.approved("U2", "m2")
    return stage


def take_away(stage: Stage, account: str) -> None:
    """Name an account in no role any more."""
    people = stage.world.house.requests.people
    people.roles = tuple(replace(role, members=role.members - {account}) for role in people.roles)


def rechecks(stage: Stage) -> list[tuple[str, str]]:
    """What the trail says of approvals that were judged again: target and outcome."""
    return [(target, outcome) for _, verb, target, outcome in stage.world.trail() if verb == "recheck"]


def approvals_of(card: Card) -> list[str]:
    """The lines about approvals on a card."""
    [lines] = [one for one in card.sections if isinstance(one, Lines) and one.title.startswith("Approvals")]
    return ["".join(getattr(part, "text", getattr(part, "name", "")) for part in line) for line in lines.items]


def test_who_may_still_approve_lets_it_begin(stage: Stage) -> None:
    """Nothing is struck out, and nothing is said of it."""
    stage.go_on(20)
    assert stage.state() is S.DEPLOYING
    assert rechecks(stage) == []


def test_an_approver_removed_from_the_group_counts_no_more(stage: Stage) -> None:
    """Nothing begins; the card, the thread and the trail say whose approval is gone and why, and another one helps."""
    take_away(stage, "slack:U2")
    stage.go_on(20)
    assert (stage.state(), stage.runs()) == (S.AWAITING_APPROVAL, [])
    assert rechecks(stage) == [
        (f"deployment:shipmate/{SERVICE}#1 slack:U2", "refused:no_role"),
        (f"deployment:shipmate/{SERVICE}#1 v1 → production", "awaiting_approval:approval_struck"),
    ]
    card = stage.card()
    assert "🚫 U2 has no role any more that approves this · " in approvals_of(card)
    assert any(line.startswith("✅ m2") for line in approvals_of(card))
    notices = [call.content for call in stage.world.messenger.calls if isinstance(call.content, Notice)]
    assert [person.account for person in notices[-1].mentions] == ["slack:U3"]
    assert "U2 has no role any more" in str(notices[-1].body)
    assert "no role here" in stage.ask(f"approve {SERVICE}#1", "U2")
    stage.ask(f"approve {SERVICE}#1", "U3")
    stage.go_on(20)
    assert stage.state() is S.DEPLOYING
    assert len(stage.runs()) == 1


@pytest.mark.parametrize("is_revoked", [False, True])
def test_after_the_last_moment_people_have_time_anew(stage: Stage, is_revoked: bool) -> None:
    """A freeze was longer than approvals may take: who is asked again has as long as those who were asked at first."""
    stage.world.clock.advance(stage.deployment().terms.expires_at - stage.world.clock.now().timestamp() + 1)
    if is_revoked:
        stage.ask(f"revoke {SERVICE}#1", "m2")
    else:
        take_away(stage, "dingtalk:m2")
    stage.go_on(3 * 3600)
    assert (stage.state(), stage.deployment().reminded_at > 0) == (S.AWAITING_APPROVAL, True)
    stage.ask(f"approve {SERVICE}#1", "U3")
    stage.go_on(20)
    assert stage.state() is S.DEPLOYING


def test_before_the_last_moment_it_waits_no_longer(stage: Stage) -> None:
    """Struck out in between, it waits up to the same moment as before."""
    expires_at = stage.deployment().terms.expires_at
    take_away(stage, "dingtalk:m2")
    stage.go_on(20)
    assert (stage.state(), stage.deployment().terms.expires_at) == (S.AWAITING_APPROVAL, expires_at)


@pytest.mark.parametrize("person", ["U2", "m2"])
def test_who_left_has_approved_nothing(stage: Stage, person: str) -> None:
    """Each platform says who is one of its members now."""
    directory = stage.world.directory if person == "U2" else stage.world.other_directory
    directory.people[person] = PersonFacts(person, None, is_outsider=True)
    stage.go_on(20)
    assert (stage.state(), stage.runs()) == (S.AWAITING_APPROVAL, [])
    assert rechecks(stage)[0][1] == "refused:outsider"


def test_nothing_begins_while_nobody_can_be_asked_about(stage: Stage) -> None:
    """The card says so, and it begins by itself once the directory answers again."""
    stage.world.directory.fails = [Unavailable("slack", "no_answer")] * 3
    stage.go_on(0.1)
    assert (stage.state(), stage.deployment().outcome) == (S.QUEUED, "approvers_unknown")
    stage.go_on(20)
    assert stage.state() is S.DEPLOYING


def test_an_approver_who_turns_out_to_be_the_requester(stage: Stage) -> None:
    """Accounts that were joined after the approval are one person's at the start."""
    link(stage, "U1", "m2")
    stage.go_on(20)
    assert (stage.state(), stage.runs()) == (S.AWAITING_APPROVAL, [])
    assert rechecks(stage)[0][1] == "refused:is_requester"


def test_two_approvers_who_turn_out_to_be_one(stage: Stage) -> None:
    """The first of the two counts."""
    link(stage, "U2", "m2")
    stage.go_on(20)
    assert [one.account for one in stage.deployment().approvals] == ["slack:U2"]
    assert rechecks(stage)[0] == (f"deployment:shipmate/{SERVICE}#1 dingtalk:m2", "refused:counted_already")


def test_an_approver_whose_account_was_parted(stage: Stage) -> None:
    """Who approved by the role of a linked account has it no more without the link."""
    stage.ask(f"revoke {SERVICE}#1", "m2")
    give(stage, "release", "slack:U9")
    link(stage, "U9", "m9")
    stage.ask(f"approve {SERVICE}#1", "m9")
    stage.ask("unlink", "m9")
    stage.go_on(20)
    assert (stage.state(), stage.runs()) == (S.AWAITING_APPROVAL, [])
    assert rechecks(stage)[0] == (f"deployment:shipmate/{SERVICE}#1 dingtalk:m9", "refused:no_role")


def test_a_lock_that_goes_while_it_is_looked_at(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was held back at the first look and free at the second begins only after its approvers were asked about."""
    gate = stage.world.deployments._gate
    answers: list[Held | None] = [Held("locked", "so", 0.0)]
    held = gate.held

    def look(*seen: Any) -> Held | None:
        return answers.pop() if answers else held(*seen)

    monkeypatch.setattr(gate, "held", look)
    take_away(stage, "slack:U2")
    stage.go_on(20)
    assert (stage.state(), stage.runs()) == (S.AWAITING_APPROVAL, [])


def test_where_nothing_can_be_changed_it_is_said_in_a_post_of_its_own(stage: Stage) -> None:
    """The robot's first post is about the approvals that there were; what asks people for more follows it, once."""
    stage.world.messenger.can_edit = stage.world.messenger.can_thread = False
    stage.card()
    take_away(stage, "slack:U2")
    stage.go_on(20)
    stage.world.deliver(5)
    notices = [call.content for call in stage.world.messenger.calls if isinstance(call.content, Notice)]
    assert ["U2 has no role any more" in str(notice.body) for notice in notices] == [True]
    stage.world.clock.advance(3 * 3600)
    stage.go_on(1)
    stage.world.deliver(5)
    notices = [call.content for call in stage.world.messenger.calls if isinstance(call.content, Notice)]
    assert ["waits for approval" in str(notice.body) for notice in notices] == [True, True]
    assert "still waits for approval" in str(notices[-1].body)


def test_a_closed_directory_makes_nobody_another_person(sqlite_store: SqlStore, sqlite_database: Engine) -> None:
    """Who asked has the same address at both accounts: that one directory tells none any more makes them no second."""
    stage = a_stage(sqlite_store, sqlite_database, approvals=ApprovalRule(2, ("release",)))
    directories = (("U1", stage.world.directory), ("m2", stage.world.other_directory))
    for person, directory in directories:
        directory.people[person] = PersonFacts("Ann", "ann@example.com", is_outsider=False)
    stage.build("v1")
    stage.ask(f"deploy {SERVICE} v1 to production")
    stage.ask(f"confirm {SERVICE}#1")
    directories[1][1].people["m2"] = PersonFacts("", None, is_outsider=False)  # as DingTalk's client tells of a refusal
    assert "须由其他人批准" in stage.ask(f"approve {SERVICE}#1", "m2")


def test_an_approval_after_the_last_moment_is_refused(sqlite_store: SqlStore, sqlite_database: Engine) -> None:
    """No worker was there to end it: whoever comes too late is told, and nothing begins."""
    stage = a_stage(sqlite_store, sqlite_database)
    stage.build("v1")
    stage.ask(f"deploy {SERVICE} v1 to production")
    stage.ask(f"confirm {SERVICE}#1")
    stage.ask(f"approve {SERVICE}#1", "U2")
    stage.world.clock.advance(stage.deployment().terms.expires_at - stage.world.clock.now().timestamp())
    assert "was not approved in time" in stage.ask(f"approve {SERVICE}#1", "U3")
    stage.go_on(1)
    assert (stage.state(), stage.deployment().outcome, stage.runs()) == (S.EXPIRED, "not_approved", [])
