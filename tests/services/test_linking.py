"""Accounts joined by a code that is carried from one platform to the other, and what follows from it."""

from __future__ import annotations

import re

import pytest
from sqlalchemy import Engine

from bot.domain.cards import Notice, Plain
from bot.domain.deployments import DeploymentState
from bot.domain.identity import Role
from bot.errors import Unavailable
from bot.ports import PersonFacts
from bot.services.dispatcher import carry_out
from bot.services.people import PARTED_COUNTS_S
from tests.services.deployment_world import ROLES, SERVICE, Stage, a_stage
from tests.stores import SqlStore

pytestmark = pytest.mark.one_engine

S = DeploymentState


@pytest.fixture
def stage(store: SqlStore, database: Engine) -> Stage:
    """One service with a production that two people of `release` must agree to."""
    stage = a_stage(store, database)
    stage.build("v1")
    return stage


def code_of(answer: str) -> str:
    """The code in an answer."""
    found = re.search(r"(?:link|绑定) (\S+)", answer)
    assert found, answer
    return found[1]


def link(stage: Stage, one: str, other: str) -> str:
    """Join two people's accounts; the last answer."""
    return stage.ask(f"link {code_of(stage.ask('link', one))}", other)


def give(stage: Stage, role: str, *accounts: str) -> None:
    """Let a role name these accounts beside those it names."""
    people = stage.world.house.requests.people
    people.roles = tuple(
        Role(one.name, one.members | set(accounts), one.can) if one.name == role else one for one in people.roles
    )


def wanted(stage: Stage, person: str = "U1") -> None:
    """A deployment to production that waits for approvals."""
    stage.ask(f"deploy {SERVICE} v1 to production", person)
    stage.ask(f"confirm {SERVICE}#{stage.newest()}", person)


def test_a_code_makes_two_accounts_one_person(stage: Stage) -> None:
    """It is said to its person alone, and both accounts know of each other afterwards; the trail has no code."""
    answer = stage.ask("link", "U7")
    assert "within 10 min" in answer
    assert stage.world.responder.whispers == 1
    code = code_of(answer)
    answer = stage.ask(f"绑定{code.lower().replace('-', '')}", "m7")
    assert "slack:U7" in answer
    stage.ask("whoami", "U7")
    assert "dingtalk:m7" in str(stage.world.card_answer().fields)
    stage.ask("我是谁", "m7")
    assert "slack:U7" in str(stage.world.card_answer().fields)
    assert stage.world.trail() == [
        ("slack:U7", "link", "slack:U7", "code_given"),
        ("dingtalk:m7", "link", "slack:U7", "linked"),
    ]


def test_who_was_given_a_code_hears_that_it_was_used(stage: Stage) -> None:
    """Alone with the bot, in that platform's language, with what to do if it was somebody else."""
    link(stage, "U7", "m7")
    assert stage.told("slack:U7")[-1].startswith("Your code was used: dingtalk:m7 and you are one person")
    assert stage.told("slack:U7")[-1].endswith("unlink dingtalk:m7")
    reply_to, _, actor = stage.world.responder.answers[-1]
    assert (reply_to.platform, reply_to.place, actor.account) == ("slack", "", "slack:U7")
    link(stage, "m8", "U8")
    assert stage.told("dingtalk:m8")[-1].startswith("您的绑定码已被使用：slack:U8")
    assert stage.told("dingtalk:m8")[-1].endswith("解绑 slack:U8")
    assert (stage.world.responder.whispers, stage.world.open_commands()) == (4, 0)


def test_a_word_about_a_used_code_outlives_a_platform_that_is_away(stage: Stage) -> None:
    """It is said as soon as it can be, once."""
    code = code_of(stage.ask("link", "U7"))
    stage.world.ask(f"link {code}", "m7", platform="dingtalk")
    stage.world.work_once()
    stage.world.responder.fails = [Unavailable("slack", "no_answer")] * 2
    stage.world.work(60)
    assert [said for said in stage.told("slack:U7") if "was used" in said] == stage.told("slack:U7")[-1:]
    assert stage.world.open_commands() == 0


def test_a_word_about_a_used_code_that_can_never_be_said(stage: Stage) -> None:
    """Where there is no way to be alone with its person nothing is said where others read along."""
    code = code_of(stage.ask("link", "U7"))
    stage.world.responder.cannot_whisper = True
    stage.ask(f"link {code}", "m7")
    assert (len(stage.told("slack:U7")), stage.world.open_commands()) == (1, 0)


def test_a_joined_account_has_the_roles_of_both(stage: Stage) -> None:
    """Also those that name the other account's e-mail address; parted again, it has its own only."""
    assert "no role here" in stage.ask(f"deploy {SERVICE} v1 to staging", "U8")
    link(stage, "U8", "m1")
    stage.ask(f"deploy {SERVICE} v1 to staging", "U8")
    assert stage.deployment().requester.account == "slack:U8"
    stage.world.other_directory.people["m8"] = PersonFacts("Ada", "Ada@Example.com", False)
    give(stage, "release", "ada@example.com")
    wanted(stage)
    assert "没有" in stage.ask(f"approve {SERVICE}#2", "m9") or stage.deployment(2).approvals == ()
    link(stage, "U9", "m8")
    stage.ask(f"approve {SERVICE}#2", "U9")
    assert [one.account for one in stage.deployment(2).approvals] == ["slack:U9"]
    stage.ask("unlink", "U8")
    assert "no role here" in stage.ask(f"deploy {SERVICE} v1 to staging", "U8")


def test_the_requesters_other_account_never_approves(stage: Stage) -> None:
    """Joined before or after it was asked for, and parted in between, whatever role names that account."""
    link(stage, "U1", "m2")
    wanted(stage)
    assert "须由其他人批准" in stage.ask(f"approve {SERVICE}#1", "m2")
    assert "slack:U1" in stage.ask("unlink slack:U1", "m2")
    assert "须由其他人批准" in stage.ask(f"approve {SERVICE}#1", "m2")
    assert stage.deployment().approvals == ()
    stage.ask(f"abort {SERVICE}#1")
    wanted(stage)
    assert "须由其他人批准" in stage.ask(f"approve {SERVICE}#2", "m2")
    stage.ask(f"abort {SERVICE}#2")
    stage.world.clock.advance(PARTED_COUNTS_S + 1)
    wanted(stage)
    stage.ask(f"approve {SERVICE}#3", "m2")
    assert len(stage.deployment(3).approvals) == 1


def test_one_person_counts_once(stage: Stage) -> None:
    """Two accounts of the group that are one person's are one approval, which either of them takes back."""
    link(stage, "U2", "m2")
    wanted(stage)
    stage.ask(f"approve {SERVICE}#1", "U2")
    stage.ask(f"approve {SERVICE}#1", "m2")
    assert [one.account for one in stage.deployment().approvals] == ["slack:U2"]
    assert stage.state() is S.AWAITING_APPROVAL
    stage.ask(f"revoke {SERVICE}#1", "m2")
    assert stage.deployment().approvals == ()
    stage.ask(f"approve {SERVICE}#1", "m2")
    stage.ask(f"approve {SERVICE}#1", "U3")
    assert stage.state() is S.QUEUED


def test_one_address_is_one_person_too(stage: Stage) -> None:
    """Who asked in Slack does not approve in DingTalk with the same address of the organisation."""
    stage.world.directory.people["U1"] = PersonFacts("Ada", "ada@example.com", False)
    stage.world.other_directory.people["m2"] = PersonFacts("艾达", "ADA@example.com", False)
    wanted(stage)
    stage.ask(f"approve {SERVICE}#1", "m2")
    assert stage.deployment().approvals == ()


def test_the_other_account_confirms_and_rejects_ones_own(stage: Stage) -> None:
    """Whoever asked may say so from either account."""
    stage.ask(f"deploy {SERVICE} v1 to production")
    link(stage, "U1", "m9")
    stage.ask(f"confirm {SERVICE}#1", "m9")
    assert stage.state() is S.AWAITING_APPROVAL
    stage.ask(f"reject {SERVICE}#1 not today", "m9")
    assert stage.deployment().outcome == "withdrawn"


def test_a_code_cannot_be_guessed_or_used_late(stage: Stage) -> None:
    """It lives ten minutes, works once, and after five wrong ones nobody may try for a while."""
    code = code_of(stage.ask("link", "U7"))
    stage.world.clock.advance(601)
    assert "不是我给出的绑定码" in stage.ask(f"link {code}", "m7")
    code = code_of(stage.ask("link", "U7"))
    for wrong in range(4):
        stage.ask(f"link WRONG{wrong}", "m7")
    assert "一刻钟" in stage.ask(f"link {code}", "m7")
    assert "U7" in stage.ask(f"link {code}", "m8")
    assert "不是我给出的绑定码" in stage.ask(f"link {code}", "m9")
    stage.world.clock.advance(901)
    assert "link" in stage.ask("link", "U9")
    outcomes = [outcome for actor, _, _, outcome in stage.world.trail() if actor == "dingtalk:m7"]
    assert outcomes == ["refused:unknown_code"] * 5 + ["refused:too_many_codes"]
    assert not any(code in target for _, _, target, _ in stage.world.trail())


def test_a_code_stays_off_the_trail_when_nobody_could_be_asked(stage: Stage) -> None:
    """It was not used, and may still be."""
    code = code_of(stage.ask("link", "m7"))
    stage.world.directory.fails = [Unavailable("slack", "no_answer")] * 10
    stage.world.ask(f"link {code}", "U7")
    stage.world.work(300)
    assert code not in str(stage.world.trail())
    assert stage.world.trail()[-1][:3] == ("slack:U7", "link", "")


def test_a_person_has_one_account_on_each_platform(stage: Stage) -> None:
    """A code typed where it was given out, or by a colleague there, can still be used where it belongs."""
    code = code_of(stage.ask("link", "U7"))
    assert "where your other account is" in stage.ask(f"link {code}", "U7")
    assert "slack:U6 and slack:U7 are two" in stage.ask(f"link {code}", "U6")
    link(stage, "U5", "m5")
    assert "slack:U5" in stage.ask(f"link {code}", "m5")
    assert "U7" in stage.ask(f"link {code}", "m7")


def test_outsiders_join_nothing(stage: Stage) -> None:
    """Neither do they get a code, nor take one; and what is not linked is not parted."""
    assert "members of this workspace" in stage.ask("link", "U7", is_outsider=True)
    code = code_of(stage.ask("link", "U7"))
    stage.ask(f"link {code}", "m7", is_outsider=True)
    assert "linked with no account" in stage.ask("unlink", "U7")
    link(stage, "U5", "m5")
    assert "linked with no account" in stage.ask("unlink dingtalk:m5", "U7")
    outcomes = [outcome for _, _, _, outcome in stage.world.trail()]
    assert outcomes.count("refused:outsider") == 2
    assert outcomes.count("refused:not_linked") == 2


def test_a_code_that_cannot_be_said_privately_is_not_said(stage: Stage) -> None:
    """In a group whose platform gives us no other way, the person is sent to a direct conversation."""
    stage.world.responder.cannot_whisper = True
    answer = stage.ask("link", "m7")
    assert "单独" in answer
    assert re.search(r"[0-9]{4}-[0-9]{4}", answer) is None


def test_who_left_takes_the_roles_along(stage: Stage) -> None:
    """An account that its platform knows no more gives nothing to the person's others."""
    link(stage, "U8", "m1")
    stage.world.other_directory.people["m1"] = PersonFacts("", None, is_outsider=True)
    assert "no role here" in stage.ask(f"deploy {SERVICE} v1 to staging", "U8")


def test_a_platform_that_is_away_keeps_nobody_from_their_own_roles(stage: Stage) -> None:
    """What hangs on the other account waits until it can be asked about."""
    link(stage, "U1", "m1")
    stage.world.other_directory.fails = [Unavailable("dingtalk", "no_answer")]
    stage.ask(f"deploy {SERVICE} v1 to staging", "U1")
    assert stage.deployment().requester.account == "slack:U1"
    link(stage, "U8", "m8")
    give(stage, "developers", "dingtalk:m8")
    stage.world.other_directory.fails = [Unavailable("dingtalk", "no_answer")]
    stage.world.ask(f"deploy {SERVICE} v1 to staging", "U8")
    stage.world.work_once()
    assert stage.newest() == 1
    stage.world.work(60)
    assert stage.deployment(2).requester.account == "slack:U8"


def test_a_worker_that_dies_after_joining_says_so_when_it_is_back(stage: Stage) -> None:
    """The code is used up by then, and the person is told what it did."""
    code = code_of(stage.ask("link", "U7"))
    stage.world.ask(f"link {code}", "m7", platform="dingtalk")
    [record] = stage.world.take()
    stage.world.responder.fails = [Unavailable("dingtalk", "no_answer")]

    def die(*_: object, **__: object) -> str:
        raise RuntimeError("the process ends here")

    stage.world.worker._closing.close = die  # type: ignore[method-assign]  # where the process dies
    carry_out(stage.world.worker, record)
    del stage.world.worker._closing.close  # type: ignore[method-assign]  # the next process lives
    stage.world.work(130)
    answer = stage.world.answer
    assert isinstance(answer, Notice)
    assert any("slack:U7" in part.text for part in answer.body if isinstance(part, Plain))
    assert [outcome for _, _, _, outcome in stage.world.trail()] == ["code_given", "linked"]


def test_roles_are_as_the_world_has_them() -> None:
    """The tests above count on a group of three accounts on two platforms."""
    assert next(role for role in ROLES if role.name == "release").members == {"slack:U2", "slack:U3", "dingtalk:m2"}
