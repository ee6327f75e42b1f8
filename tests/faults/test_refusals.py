"""Platforms that answer, and say no: for a moment, for good, or until somebody puts a new token in place."""

from __future__ import annotations

import pytest

from tests.faults.proxy import Kind, answer, fault
from tests.faults.scene import CARD, POST, ROBOT, Faulty
from tests.scenarios.running import CI, DEV_GROUP, OPS_GROUP, fresh

pytestmark = pytest.mark.one_engine

JSON = "Content-Type: application/json"
TOKENS = "/v1.0/oauth2/accessToken"


def said(body: str, status: int = 200) -> bytes:
    """A platform's own answer."""
    return answer(status, body, JSON)


def test_a_refusal_for_the_moment_is_tried_again(faulty: Faulty) -> None:
    """Slack's `ok: false` and DingTalk's errcode, both under status 200: busy now, the card comes a moment later."""
    robot = fresh("ops")
    faulty.chat.breaks(
        fault(Kind.SAY, POST, "lane-hiccup-", times=1, answer=said('{"ok": false, "error": "service_unavailable"}')),
        fault(Kind.SAY, CARD, "lane-hiccup-", times=1, answer=said('{"code": "ServiceUnavailable"}', 503)),
        fault(Kind.SAY, ROBOT, robot, times=1, answer=said('{"errcode": -1, "errmsg": "系统繁忙"}')),
    )
    project = faulty.begin("hiccup")["hiccup"]
    faulty.scene.tell(robot, 1, "started")
    faulty.card("hiccup", project, f"⏳ {project}")
    faulty.scene.card(OPS_GROUP, f"{robot} #1")


def test_a_refusal_for_good_is_given_up_with_its_reason(faulty: Faulty) -> None:
    """The card is a dead letter that `explain` names; it is not asked for again, and others are shown."""
    refused = fault(Kind.SAY, POST, "lane-refused-", answer=said('{"ok": false, "error": "is_archived"}'))
    elsewhere = fault(
        Kind.SAY, CARD, "lane-refused-", answer=said('{"code": "param.cardTemplateNotExist", "message": "no"}', 400)
    )
    faulty.chat.breaks(refused, elsewhere)
    project = faulty.begin("refused")["refused"]
    scene = faulty.scene
    for platform, reason in (("slack", "dead:is_archived"), ("dingtalk", "dead:template_not_found")):
        scene.eventually(
            lambda platform=platform, reason=reason: faulty.reason(project, platform) == reason,
            f"{reason} of {platform}",
        )
    scene.ask(CI, f"/ship explain {project}#1", "dead:is_archived", "dead:template_not_found")
    met = refused.met
    well = faulty.begin("well")["well"]
    faulty.card("well", well)
    assert refused.met == met


def test_an_expired_token_of_slacks_costs_no_card(faulty: Faulty) -> None:
    """The place rests for a minute, nothing dies; with a token that is good again the newest state appears."""
    expired = fault(Kind.SAY, POST, "lane-expired-", answer=said('{"ok": false, "error": "token_expired"}'))
    faulty.chat.breaks(expired)
    project = faulty.begin("expired")["expired"]
    scene = faulty.scene
    scene.eventually(lambda: faulty.reason(project) == "failed:token_expired", "the refusal to be noted")
    assert faulty.rests_s(project)["slack"] > 40
    scene.card("expired", f"{project} #1")  # DingTalk's group does not wait
    scene.tell(project, 1, "finished", status="success")
    scene.card("expired", f"{project} #1", "✅")
    assert expired.met == 1
    faulty.chat.breaks()
    scene.let_pass(60)
    scene.card("#expired", f"{project} #1", f"✅ {project}")


def test_a_token_of_dingtalks_is_made_anew_at_once(faulty: Faulty) -> None:
    """DingTalk forgets all tokens: the next call gets a new one, and the card comes without any delay."""
    project = faulty.begin("token")["token"]
    faulty.card("token", project)
    assert faulty.scene.playground.act(platform="dingtalk", expire_tokens=True)["ok"]
    made = len(faulty.scene.calls(f"POST {TOKENS}"))
    faulty.scene.tell(project, 1, "finished", status="success")
    faulty.scene.card("token", f"{project} #1", f"✅ {project}")
    assert len(faulty.scene.calls(f"POST {TOKENS}")) == made + 1


def test_a_token_that_cannot_be_made_is_waited_for(faulty: Faulty) -> None:
    """While DingTalk gives no tokens, or pages instead of them, cards wait; Slack's do not."""
    assert faulty.scene.playground.act(platform="dingtalk", expire_tokens=True)["ok"]
    pages = fault(Kind.SAY, TOKENS, times=1, answer=answer(200, "<html>", "Content-Type: text/html"))
    broken = fault(Kind.LOSE_ANSWER, TOKENS, times=1)
    faulty.chat.breaks(pages, broken)
    project = fresh("web")
    faulty.scene.tell(project, 1, "started")
    faulty.scene.card(CI, f"{project} #1")
    faulty.scene.eventually(lambda: pages.met and broken.met, "both faults to be met")
    faulty.scene.card(DEV_GROUP, f"{project} #1")
