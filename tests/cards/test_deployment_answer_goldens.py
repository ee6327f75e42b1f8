"""What lies between two versions, and the preview of a rollback: whole, on each platform, in both languages."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from bot.domain.cards import Card, Code, Link
from bot.domain.deployments import Change, Undoing, Version
from bot.domain.services import Pipeline, Target
from bot.services.presenters.deployment import Leads
from bot.services.presenters.deployment_answers import Compared, preview_card, whats_in_card
from integrations.dingtalk.render import APP_BYTES, ROBOT_BYTES, Manners, Shape, encode
from integrations.dingtalk.render import render as render_dingtalk
from integrations.slack.render import render as render_slack
from tests.cards.cases import CHINESE, ENGLISH, NASTY
from tests.cards.deployments import CHANGES, V1, V2, older, rollback
from tests.slack_limits import LARGEST_MESSAGE, problems_of_message

HERE = Path(__file__).parent / "deployment_answers"
MANY = tuple(Change(f"{number:040x}", f"USER-{number}: {NASTY}"[:200], NASTY[:80]) for number in range(100))
LINKS: tuple[Link | Code, ...] = (Link("USER-12", "https://jira.example.com/browse/USER-12"), Code("USER-15"))
MANY_LINKS = [Link(f"USER-{number}", f"https://jira.example.com/browse/USER-{number}") for number in range(100)]
TARGET = Target("user-service", "production", Pipeline("buildbot", "deploy-user-service", {}))


def _undoing(locale: str, undoes: Undoing, links: Sequence[Link | Code]) -> Card:
    deployment = replace(rollback(), previous=V2, version=V1, undoes=undoes)
    return preview_card(deployment, TARGET, locale, "UTC", Leads(undone=tuple(links)))


def _between(locale: str, compared: Compared, links: Sequence[Link | Code]) -> Card:
    return whats_in_card("user-service", compared, locale, issues=links)


CASES: dict[str, Callable[[str], Card]] = {
    "undoing": lambda locale: _undoing(locale, Undoing(CHANGES, len(CHANGES)), LINKS),
    "undoing_longest": lambda locale: _undoing(locale, Undoing(MANY[:30], len(MANY), is_known=False), MANY_LINKS),
    "undoing_unknown": lambda locale: _undoing(locale, Undoing(is_known=False), []),
    "older": lambda locale: preview_card(older(), TARGET, locale, "UTC", Leads(LINKS, undone=(Code("USER-20"),))),
    "between": lambda locale: _between(locale, Compared(V1, V2, changes=CHANGES), LINKS),
    "between_back": lambda locale: _between(
        locale, Compared(V2, V1, changes=CHANGES[:1], is_back=True, aside=CHANGES), LINKS
    ),
    "between_hostile": lambda locale: _between(
        locale, Compared(Version(NASTY[:200]), V2, changes=MANY[:50], is_known=False, aside=MANY), MANY_LINKS
    ),
    "between_nothing": lambda locale: _between(locale, Compared(None, None, "production"), []),
}


@pytest.mark.parametrize("locale", [CHINESE, ENGLISH])
@pytest.mark.parametrize("name", CASES)
def test_each_platform_gets_this_answer(name: str, locale: str, golden: Callable[[Path, object], None]) -> None:
    """Within the limits of Slack, of a DingTalk robot and of the interactive card."""
    card = CASES[name](locale)
    slack = dict(render_slack(card).payload)
    golden(HERE / f"{name}.{locale}.slack.golden.json", slack)
    assert problems_of_message(slack) == []
    assert len(json.dumps(slack, ensure_ascii=False)) <= LARGEST_MESSAGE
    robot = dict(render_dingtalk(card, Manners(Shape.ROBOT, "Shipmate")).payload)
    variables = dict(render_dingtalk(card, Manners(Shape.CARD, "Shipmate")).payload)
    golden(HERE / f"{name}.{locale}.dingtalk.golden.json", robot)
    golden(HERE / f"{name}.{locale}.dingtalk_card.golden.json", variables)
    assert len(encode(robot)) <= ROBOT_BYTES
    assert len(encode(variables)) <= APP_BYTES
