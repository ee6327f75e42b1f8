"""Builds as neutral content: the card, its notice and its log, whole, in both languages."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, fields, is_dataclass
from pathlib import Path
from typing import Any

import pytest

from bot.domain.cards import Card, Content
from bot.domain.places import CARD_SLOT, LOG_SLOT, NOTICE_SLOT, OVERDUE_SLOT
from bot.services.presenters.build import CARD_STAGES, CARD_TESTS, details_card, present
from bot.services.presenters.help import help_card
from tests.cards.builds import builds
from tests.cards.cases import CHINESE, ENGLISH

HERE = Path(__file__).parent
ZONES = {ENGLISH: "Europe/Berlin", CHINESE: "Asia/Shanghai"}
LOCALES = sorted(ZONES)


def _options(locale: str, **more: Any) -> dict[str, Any]:
    return {"locale": locale, "timezone": ZONES[locale], "mention": ["slack:U7"], **more}


def _plain(value: Any) -> Any:
    """A content as JSON values; every part of a text names its kind."""
    if is_dataclass(value) and not isinstance(value, type):
        return {"is": type(value).__name__, **{part.name: _plain(getattr(value, part.name)) for part in fields(value)}}
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    return value.timestamp() if hasattr(value, "timestamp") else value


@pytest.mark.parametrize("locale", LOCALES)
@pytest.mark.parametrize("name", builds())
def test_a_build_is_shown_like_this(name: str, locale: str, golden: Callable[[Path, object], None]) -> None:
    """What stands in each slot of a build."""
    build = builds()[name]
    slots = (CARD_SLOT, NOTICE_SLOT, LOG_SLOT, OVERDUE_SLOT)
    shown = {slot: _plain(present(build, slot, _options(locale))) for slot in slots}
    golden(HERE / f"{name}.{locale}.build.golden.json", shown)


def _every_text(content: Content) -> str:
    return json.dumps(asdict(content), default=str, ensure_ascii=False)


@pytest.mark.parametrize("name", builds())
def test_a_card_shows_no_more_than_it_has_room_for(name: str) -> None:
    """Stages and tests are bounded, the telling ones stay, and what is left out is counted."""
    build = builds()[name]
    card = present(build, CARD_SLOT, _options(ENGLISH))
    assert isinstance(card, Card)
    sections = [section for section in card.sections if hasattr(section, "items")]
    assert all(len(section.items) <= max(CARD_STAGES, CARD_TESTS) for section in sections)
    if name == "longest":
        assert [section.hidden for section in sections] == [70 - CARD_STAGES, 90 - CARD_TESTS]
        assert "broken early" in _every_text(card)
        assert "still going" in _every_text(card)


def test_mentions_stand_in_the_card_only_where_nothing_else_notifies() -> None:
    """A card that is edited calls nobody; one that is posted whole does, and only for a failure or a repair."""
    failed, running = builds()["typical"], builds()["minimal"]
    assert "slack:U7" not in _every_text(present(failed, CARD_SLOT, _options(ENGLISH)))
    assert "slack:U7" in _every_text(present(failed, CARD_SLOT, _options(ENGLISH, mentions_in_card=True)))
    assert "slack:U7" not in _every_text(present(running, CARD_SLOT, _options(ENGLISH, mentions_in_card=True)))


def test_a_finished_build_is_retried_and_a_running_one_cancelled() -> None:
    """The actions follow the state, a cancel asks first, and a retried build offers no second retry."""
    actions = {}
    for name, build in builds().items():
        card = present(build, CARD_SLOT, _options(ENGLISH))
        assert isinstance(card, Card)
        actions[name] = {action.id: action for action in card.actions}
    assert list(actions["typical"]) == ["retry", "details", "open"]
    assert actions["typical"]["retry"].command == "retry buildbot/user-service#12@1"
    assert list(actions["minimal"]) == ["cancel", "details"]
    assert actions["minimal"]["cancel"].confirm is not None
    assert list(actions["decided"]) == ["details", "open"]


@pytest.mark.parametrize("name", builds())
def test_details_hold_the_given_log(name: str) -> None:
    """The window of details shows the log that was just read."""
    card = details_card(builds()[name], "the very last line", CHINESE, "Asia/Shanghai")
    assert "the very last line" in _every_text(card)


def test_the_welcome_tells_how_to_name_the_place_in_both_languages() -> None:
    """What is said on invitation is translated whole, with the platform's own way of typing."""
    assert "@Shipmate here" in _every_text(help_card(CHINESE, "@Shipmate", is_welcome=True))
    assert "I show builds" not in _every_text(help_card(CHINESE, "@Shipmate", is_welcome=True))
