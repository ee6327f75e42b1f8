"""Roles that approve, or break the glass, do so where they are `on`: elsewhere they are nobody's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest
from sqlalchemy import Engine

from bot.domain.cards import Notice
from bot.domain.deployments import DeploymentState
from bot.domain.services import ApprovalRule
from tests.services.deployment_world import ROLES, SERVICE, Stage, a_stage
from tests.stores import SqlStore

pytestmark = pytest.mark.one_engine

S = DeploymentState
SHOP = {"projects": ("shop",)}
STAGING = {"environments": ("*", "!production")}


def set_apart(stage: Stage, name: str, on: Mapping[str, tuple[str, ...]]) -> None:
    """Let a role be on other things alone."""
    people = stage.world.house.requests.people
    people.roles = tuple(replace(role, **on) if role.name == name else role for role in people.roles)  # type: ignore[arg-type]  # fields of a Role


@pytest.mark.parametrize("on", [SHOP, STAGING])
def test_approvers_of_other_things_approve_nothing_here(
    store: SqlStore, database: Engine, on: Mapping[str, tuple[str, ...]]
) -> None:
    """Neither of another service nor of another environment; nor do they reject."""
    stage = a_stage(store, database)
    set_apart(stage, "release", on)
    stage.build("v1")
    stage.ask(f"deploy {SERVICE} v1 to production")
    stage.ask(f"confirm {SERVICE}#1")
    for verb in ("approve", "reject"):
        said = stage.ask(f"{verb} {SERVICE}#1", "U2")
        assert said == "Your roles do not allow this here. No role does: ask who runs Shipmate."
        assert stage.world.trail()[-1][1:] == (
            verb,
            f"deployment:shipmate/{SERVICE}#1 production",
            "refused:not_granted",
        )
    assert (stage.state(), stage.deployment().approvals) == (S.AWAITING_APPROVAL, ())


def test_only_approvers_of_the_place_are_called(store: SqlStore, database: Engine) -> None:
    """Two roles approve in production, each for services of its own: the other one's members are left alone."""
    stage = a_stage(store, database, approvals=ApprovalRule(1, ("release", "payers")))
    payers = replace(ROLES[1], name="payers", members=frozenset({"slack:U7"}), projects=("pay",))
    stage.world.house.requests.people.roles = (*ROLES, payers)
    stage.build("v1")
    stage.ask(f"deploy {SERVICE} v1 to production")
    assert "1 of release must approve" in str(stage.world.card_answer().sections)
    stage.ask(f"confirm {SERVICE}#1")
    assert "1 more of release ·" in str(stage.card().sections)
    stage.world.deliver(5)
    notices = [call.content for call in stage.world.messenger.calls if isinstance(call.content, Notice)]
    assert [person.account for person in notices[-1].mentions] == ["slack:U2", "slack:U3"]
    assert "may not" not in stage.ask(f"approve {SERVICE}#1", "U2")
    assert stage.state() is S.QUEUED


def test_who_approves_elsewhere_by_now_has_approved_nothing(store: SqlStore, database: Engine) -> None:
    """The role was given other services while it waited: its approvals are struck out when it would begin."""
    stage = a_stage(store, database)
    stage.approved("U2", "U3")
    set_apart(stage, "release", SHOP)
    stage.go_on(20)
    assert (stage.state(), stage.runs()) == (S.AWAITING_APPROVAL, [])
    assert [outcome for _, verb, _, outcome in stage.world.trail() if verb == "recheck"][:1] == ["refused:not_granted"]


@pytest.mark.parametrize("on", [SHOP, STAGING])
def test_break_glass_of_other_things_breaks_none_here(
    store: SqlStore, database: Engine, on: Mapping[str, tuple[str, ...]]
) -> None:
    """Neither when it is asked for nor when it is confirmed, nor when it would begin."""
    typed = f"deploy {SERVICE} v1 to production break-glass because fire"
    stage = a_stage(store, database, break_glass=("sre",))
    stage.build("v1")
    stage.ask(f"lock {SERVICE} in production because so")
    stage.ask(typed)
    stage.ask(typed)
    stage.ask(f"confirm {SERVICE}#1")
    stage.go_on(1)
    set_apart(stage, "sre", on)
    stage.ask(typed)
    assert (stage.newest(), stage.world.trail()[-1][3]) == (2, "refused:not_granted")
    stage.ask(f"confirm {SERVICE}#2")
    assert (stage.state(2), stage.world.trail()[-1][3]) == (S.REQUESTED, "refused:not_granted")
    stage.ask(f"unlock {SERVICE} in production")
    stage.go_on(20)
    assert (stage.state(), stage.deployment().outcome) == (S.CANCELLED, "requester_refused")
