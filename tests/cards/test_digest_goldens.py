"""Digests whole: as Slack, a DingTalk robot and the interactive card get them, in both languages."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from bot.domain.builds import BuildStatus
from bot.domain.cards import Card, Lines
from bot.services.presenters.digest import digest_card
from integrations.dingtalk.render import APP_BYTES, ROBOT_BYTES, Manners, Shape, encode
from integrations.dingtalk.render import render as render_dingtalk
from integrations.slack.render import render as render_slack
from tests.cards.cases import CHINESE, ENGLISH
from tests.cards.digests import digests
from tests.slack_limits import LARGEST_MESSAGE, problems_of_message

HERE = Path(__file__).parent / "digest"
LOCALES = (CHINESE, ENGLISH)


def card_of(name: str, locale: str) -> Card:
    """A case as a card."""
    return digest_card(digests()[name], locale, "Europe/Berlin")


@pytest.mark.parametrize("locale", LOCALES)
@pytest.mark.parametrize("name", digests())
def test_slack_gets_this_message(name: str, locale: str, golden: Callable[[Path, object], None]) -> None:
    """The arguments of chat.postMessage and chat.update, within Slack's limits."""
    payload = dict(render_slack(card_of(name, locale)).payload)
    golden(HERE / f"{name}.{locale}.slack.golden.json", payload)
    assert problems_of_message(payload) == []
    assert len(json.dumps(payload, ensure_ascii=False)) <= LARGEST_MESSAGE


@pytest.mark.parametrize("locale", LOCALES)
@pytest.mark.parametrize("name", digests())
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


def test_as_many_lines_stand_there_as_there_is_room_for() -> None:
    """Slack shows all 55 of a storm; what is more is counted."""
    assert json.dumps(render_slack(card_of("decided", ENGLISH)).payload).count("|web#") == 55
    lists = [section for section in card_of("longest", ENGLISH).sections if isinstance(section, Lines)]
    assert sum(len(one.items) for one in lists) == 60
    assert sum(one.hidden for one in lists) == 440


def test_a_later_moment_is_no_change() -> None:
    """Times of its builds are no part of a digest: what would tick costs no call."""
    digest = digests()["typical"]
    later = tuple(replace(one, facts=replace(one.facts, started_at=None, summary="3 s later")) for one in digest.shown)
    before = render_slack(digest_card(digest, ENGLISH, "UTC")).digest
    assert render_slack(digest_card(replace(digest, shown=later), ENGLISH, "UTC")).digest == before


def test_a_digest_is_final_when_nothing_runs() -> None:
    """Its colour is that of the worst build."""
    tones = {name: (card_of(name, ENGLISH).tone.value, card_of(name, ENGLISH).is_final) for name in digests()}
    assert tones["typical"] == ("failure", False)
    assert tones["decided"] == ("success", True)
    stopped = replace(digests()["decided"], counts={BuildStatus.SUCCESS: 3, BuildStatus.CANCELLED: 1})
    assert digest_card(stopped, ENGLISH, "UTC").tone.value == "cancelled"
