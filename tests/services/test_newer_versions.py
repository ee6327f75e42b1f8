"""Processes are replaced one by one: what those of a newer version have written is left to them, or understood."""

from __future__ import annotations

import pytest
from sqlalchemy import update

from bot.domain.subjects import SubjectKey
from bot.ports import Slot
from bot.services import planning
from bot.storage.tables import cards, commands
from tests.services.world import CI, World
from tests.stores import event_of


def test_a_command_with_a_further_field_is_carried_out(world: World) -> None:
    """What this version does not know of who asked, and where, it passes over."""
    world.ask("status")
    with world.database.begin() as connection:
        row = connection.execute(commands.select()).one()
        changed = {"actor": {**row.actor, "mood": "good"}, "reply_to": {**row.reply_to, "tone": "kind"}}
        connection.execute(update(commands).values(changed))
    world.work()
    assert world.states() == ["done"]
    assert "How things stand" in world.card_answer().title


def test_a_card_of_another_kind_waits_for_who_can_draw_it(world: World) -> None:
    """It costs the cards beside it nothing, and is given up after a day."""
    world.accept(event_of())
    key = str(SubjectKey.parse(world.card().subject)).replace("build:", "rocket:")
    world.store.write(lambda tx: tx.cards.open(key, 1, [Slot(CI, "card", {})], is_final=False, at=1.0))
    world.deliver(10)
    assert world.messenger.titles(CI) == ["user-service #12 · running"]
    [waiting] = world.store.read(lambda tx: tx.cards.of_subject(key))
    assert (waiting.is_dead, waiting.reason) == (False, "left:unknown_kind")
    with world.database.begin() as connection:
        connection.execute(update(cards).where(cards.c.subject_key == key).values(tries=288, due_at=0.0))
    world.deliver(10)
    [given_up] = world.store.read(lambda tx: tx.cards.of_subject(key))
    assert (given_up.is_dead, given_up.reason) == (True, "dead:unreadable")


def test_a_card_that_was_left_is_new_to_who_can_draw_it(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """It comes as soon as there is a process for it, and what was no try of it is not counted."""
    with monkeypatch.context() as older:
        older.setattr(planning, "SHOWN", frozenset())
        world.accept(event_of())
        world.deliver(7.5)
    assert world.card().tries == 4
    world.messenger.renders = lambda _content: 1 // 0
    world.deliver(8)
    assert (world.card().is_dead, world.card().reason) == (False, "failed:render_failed")
