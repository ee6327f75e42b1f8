"""Rejected deployments: who asked for it hears of it, and whoever rejected it is asked why."""

from __future__ import annotations

import re

import pytest
from sqlalchemy import Engine

from bot.domain.deployments import DeploymentState
from tests.services.deployment_world import SERVICE, Stage, a_stage
from tests.stores import SqlStore

pytestmark = pytest.mark.one_engine

REJECT = f"reject {SERVICE}#1"


@pytest.fixture
def stage(store: SqlStore, database: Engine) -> Stage:
    """A deployment that U1 asked for in Slack waits for approval."""
    stage = a_stage(store, database)
    stage.build("v1")
    stage.ask(f"deploy {SERVICE} v1 to production")
    stage.ask(f"confirm {SERVICE}#1")
    return stage


def test_who_asked_hears_of_a_rejection_on_the_other_platform(stage: Stage) -> None:
    """In the conversation with the bot alone, once, with the name and the reason."""
    heard = len(stage.told("slack:U1"))
    stage.ask(f"{REJECT} the tests are red", "m2")
    stage.world.work(60)
    words = f"{SERVICE}#1 (v1 → production), which you asked for, was rejected by m2. — the tests are red"
    assert stage.told("slack:U1")[heard:] == [words]
    assert stage.world.responder.answers[-1][0].place == ""
    assert (stage.world.responder.whispers, stage.world.open_commands()) == (1, 0)


def test_who_rejects_what_they_asked_for_is_told_nothing_twice(stage: Stage) -> None:
    """Neither that it was rejected, nor that a reason is missing: they know both."""
    heard = len(stage.told("slack:U1"))
    stage.ask(REJECT)
    assert stage.told("slack:U1")[heard:] == [f"{SERVICE}#1 is withdrawn."]
    assert "reason" not in str(stage.card())


def test_who_withdraws_it_from_a_linked_account_is_asked_for_no_reason(stage: Stage) -> None:
    """It is their own request, from whichever platform: the card says that it was withdrawn."""
    code = re.search(r"[A-Z0-9]{4}-[A-Z0-9]{4}", stage.ask("link"))
    assert code is not None
    stage.ask(f"link {code[0]}", "m1")
    heard = len(stage.told("slack:U1"))
    assert stage.ask(REJECT, "m1") == f"{SERVICE}#1 已撤回。"
    assert "Withdrawn by who asked for it." in str(stage.card())
    assert "No reason" not in str(stage.card())
    assert stage.told("slack:U1")[heard:] == []


def test_a_rejection_without_a_reason_can_still_be_given_one(stage: Stage) -> None:
    """Its answer and the card say how; only who rejected it may, and who asked for it hears of it."""
    asked = stage.ask(REJECT, "m2")
    assert f"拒绝 {SERVICE}#1 <理由>" in asked
    assert f"No reason was given; m2 can say why: reject {SERVICE}#1 <reason>" in str(stage.card())
    assert "Too late" in stage.ask(f"{REJECT} because so", "U2")
    stage.ask(f"拒绝 {SERVICE}#1 测试没过", "m2")
    stage.world.work(60)
    assert stage.told("slack:U1")[-1].endswith("was rejected by m2. — 测试没过")
    after = stage.deployment()
    assert (after.state, after.detail) == (DeploymentState.CANCELLED, "测试没过")
    assert after.rejection is not None
    assert after.rejection.reason == "测试没过"
    assert "No reason" not in str(stage.card())
    assert stage.world.trail()[-1][3] == "reason_given"
    assert "为时已晚" in stage.ask(f"{REJECT} another one", "m2") or stage.deployment().detail == "测试没过"
