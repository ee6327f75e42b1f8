"""Deployments whole: as Slack, a DingTalk robot and the interactive card get them, in both languages."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from bot.domain.cards import Card, Link, Notice
from bot.domain.deployment_notices import notices_of
from bot.domain.deployments import DeploymentState
from bot.domain.places import CARD_SLOT, NOTICE_SLOT
from bot.domain.routing import Milestone, milestones_of
from bot.services.presenters.deployment import Leads, issues_undone, present_deployment
from integrations.dingtalk.render import APP_BYTES, ROBOT_BYTES, Manners, Shape, encode
from integrations.dingtalk.render import render as render_dingtalk
from integrations.slack.render import render as render_slack
from tests.cards.cases import CHINESE, ENGLISH
from tests.cards.deployments import RUN, asking, decided, deployments, together, waiting
from tests.slack_limits import LARGEST_MESSAGE, problems_of_message

HERE = Path(__file__).parent / "deployment"
LEADING = ("typical", "longest", "decided", "older", "rollback", "rollback_of_many")  # what is configured has pages
ZONES = {CHINESE: "Asia/Shanghai", ENGLISH: "Europe/Berlin"}


def card_of(name: str, locale: str) -> Card:
    """A case as a card."""
    options = {"locale": locale, "timezone": ZONES[locale]}
    deployment = deployments()[name]
    come, go = (
        tuple(Link(key, f"https://jira.example.com/browse/{key}") for key in keys)
        for keys in (deployment.issues, issues_undone(deployment))
    )
    leads = Leads(come, "https://user-service.example.com/production", go) if name in LEADING else None
    card = present_deployment(deployment, CARD_SLOT, options, "slack", leads)
    assert isinstance(card, Card)
    return card


@pytest.mark.parametrize("locale", ZONES)
@pytest.mark.parametrize("name", deployments())
def test_slack_gets_this_message(name: str, locale: str, golden: Callable[[Path, object], None]) -> None:
    """The arguments of chat.postMessage and chat.update, within Slack's limits."""
    payload = dict(render_slack(card_of(name, locale)).payload)
    golden(HERE / f"{name}.{locale}.slack.golden.json", payload)
    assert problems_of_message(payload) == []
    assert len(json.dumps(payload, ensure_ascii=False)) <= LARGEST_MESSAGE


@pytest.mark.parametrize("locale", ZONES)
@pytest.mark.parametrize("name", deployments())
def test_dingtalk_gets_these_posts(name: str, locale: str, golden: Callable[[Path, object], None]) -> None:
    """A robot's markdown and the template's variables, within their sizes; nobody is called by either."""
    card = card_of(name, locale)
    robot = dict(render_dingtalk(card, Manners(Shape.ROBOT, "Shipmate")).payload)
    variables = dict(render_dingtalk(card, Manners(Shape.CARD, "Shipmate")).payload)
    golden(HERE / f"{name}.{locale}.dingtalk.golden.json", robot)
    golden(HERE / f"{name}.{locale}.dingtalk_card.golden.json", variables)
    assert len(encode(robot)) <= ROBOT_BYTES
    assert len(encode(variables)) <= APP_BYTES
    assert "at" not in robot


@pytest.mark.parametrize("name", [name for name, one in deployments().items() if one.issues])
def test_slack_shows_the_issues_however_much_else_there_is(name: str) -> None:
    """They stand among what is short: no field of a deployment goes for want of room."""
    body = dict(render_slack(card_of(name, ENGLISH)).payload)["attachments"][0]["blocks"]
    fields = [field["text"] for block in body for field in block.get("fields", ())]
    assert len(fields) == len(card_of(name, ENGLISH).fields)
    assert fields[-1].startswith("*Issues that it brings*\n" if name == "older" else "*Issues*\n")


def _said(notice: Notice) -> str:
    return json.dumps(dict(render_slack(notice).payload), ensure_ascii=False)


def test_those_who_may_approve_are_called_where_they_are() -> None:
    """Each platform calls its own people, whoever the route mentions; what happened calls those whom it mentions."""
    options = {"locale": ENGLISH, "timezone": "UTC", "mention": ["slack:U7"]}
    for platform, called in (("slack", ["slack:U024CHENWEI"]), ("dingtalk", ["dingtalk:manager4220"])):
        notice = present_deployment(waiting(), f"{NOTICE_SLOT}@approval", options, platform)
        assert isinstance(notice, Notice)
        assert [person.account for person in notice.mentions] == called
    rolled_back = present_deployment(decided(), f"{NOTICE_SLOT}@rolled_back", options, "slack")
    assert isinstance(rolled_back, Notice)
    assert [person.account for person in rolled_back.mentions] == ["slack:U7"]
    assert "Checks failed after it was deployed. errors: 0.23 &gt; 0.01 · Undone by #18." in _said(rolled_back)


def test_a_failure_is_called_one_though_it_was_undone_meanwhile() -> None:
    """Its notice comes late, and another one tells that it was undone; what was good and was undone never failed."""
    notice = present_deployment(decided(), f"{NOTICE_SLOT}@failed", {}, "slack")
    assert isinstance(notice, Notice)
    assert "v1.4 → production · failed" in _said(notice)
    undone = replace(decided(), state=DeploymentState.ROLLING_BACK)
    found = (DeploymentState.FAILED, DeploymentState.SUCCEEDED)
    assert [notices_of(replace(undone, undone_from=one)) for one in found] == [["failed"], []]


def test_what_was_undone_together_with_a_later_one_calls_nobody() -> None:
    """One notice is enough for a way back, and one card: routes for failures open none for what lies between."""
    assert [notices_of(one) for one in (decided(), together())] == [["rolled_back"], []]
    assert [Milestone.FAILED in milestones_of(one) for one in (decided(), together())] == [True, False]


def test_every_call_says_what_it_is_about() -> None:
    """A waiting one, a question and a deployment without approvals each call once, in a sentence of their own."""
    assert notices_of(waiting()) == ["approval"]
    assert notices_of(replace(waiting(), reminded_at=1.0)) == ["approval", "reminder"]
    assert notices_of(asking()) == ["break_glass", "question:checks1"]
    words = {"break_glass": "is deployed without approvals", "question:checks1": "some checks cannot tell"}
    for name, sentence in words.items():
        notice = present_deployment(asking(), f"{NOTICE_SLOT}@{name}", {}, "slack")
        assert isinstance(notice, Notice)
        assert sentence in _said(notice)


def test_nothing_that_has_ended_for_good_can_be_acted_on() -> None:
    """What was rolled back, expired, superseded or cancelled before it began has buttons to look with, and no other."""
    ended = ("rolled_back", "cancelled", "expired", "superseded")
    for state in ended:
        run = replace(RUN, request="") if state == "cancelled" else RUN
        card = present_deployment(replace(decided(), state=DeploymentState(state), run=run), CARD_SLOT, {}, "slack")
        assert isinstance(card, Card)
        assert [action.id for action in card.actions] == ["chart", "open"]


def test_the_services_page_is_opened_where_the_version_may_be_seen() -> None:
    """While it is verified and when it succeeded or was rolled back; not before, and not where it failed."""
    leads = Leads(service_url="https://user-service.example.com")
    shown = set()
    for state in DeploymentState:
        card = present_deployment(replace(decided(), state=state), CARD_SLOT, {}, "slack", leads)
        assert isinstance(card, Card)
        if any(action.id == "open_service" and action.url == leads.service_url for action in card.actions):
            shown.add(state.value)
    assert shown == {"verifying", "succeeded", "rolled_back"}


def test_what_is_deployed_with_alerts_is_no_plain_success() -> None:
    """A glance tells the two apart."""
    succeeded = replace(decided(), state=DeploymentState.SUCCEEDED, outcome="")
    for outcome, emoji in (("", "🚀"), ("with_alerts", "⚠️")):
        card = present_deployment(replace(succeeded, outcome=outcome), CARD_SLOT, {}, "slack")
        assert isinstance(card, Card)
        assert card.emoji == emoji
