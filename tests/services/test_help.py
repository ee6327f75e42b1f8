"""What `help` shows."""

from __future__ import annotations

from collections import Counter

import pytest

from bot.domain.cards import Card, Lines
from bot.domain.commands import VERBS, Verb
from bot.services.presenters.help import GROUPS, help_card
from tests.services.world import World

pytestmark = pytest.mark.one_engine


def _written(card: Card) -> dict[str, list[str]]:
    """The commands below each heading."""
    lists = [section for section in card.sections if isinstance(section, Lines)]
    return {one.title: [getattr(line[0], "text", "") for line in one.items] for one in lists}


def test_every_verb_stands_in_one_group() -> None:
    """None is left out, none stands twice."""
    assert Counter(verb for verbs in GROUPS.values() for verb in verbs) == Counter(spec.verb for spec in VERBS)


def test_commands_stand_below_what_one_wants_to_do() -> None:
    """In the reader's language; what is written before each of them is said once."""
    english, chinese = _written(help_card("en", "/ship")), _written(help_card("zh-CN", "@Shipmate"))
    assert english["Deploy and roll back"][0].startswith("deploy <service> <version> to <environment>")
    assert chinese["部署与回滚"][0].startswith("部署 <service> <version> 到 <environment>")
    assert not any(line.startswith("/") for lines in english.values() for line in lines)
    assert "/ship status" in str(help_card("en", "/ship").sections[0])


@pytest.mark.parametrize("word", ["approve", "批准"])
def test_help_about_a_command_shows_those_beside_it(word: str, world: World) -> None:
    """Few lines, and the way to all of them."""
    world.ask(f"help {word}")
    world.work()
    card = world.card_answer()
    assert list(_written(card)) == ["Decide about deployments"]
    assert "/ship help" in str(card.sections[0])
    assert len(_written(card)["Decide about deployments"]) == len(GROUPS["Decide about deployments"])


def test_help_about_what_is_no_command_shows_all(world: World) -> None:
    """A slip costs nobody the answer."""
    world.ask("help me")
    world.work()
    assert len(_written(world.card_answer())) == len(GROUPS)
    assert any(Verb.HELP in verbs for verbs in GROUPS.values())
