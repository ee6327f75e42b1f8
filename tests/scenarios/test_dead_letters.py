"""A channel that lost its bot, from the first card that dies there to the last one shown: what an operator sees."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import select

from bot.storage.tables import cards
from playground.demo_setup import Ports, bot_program
from tests.scenarios.running import CI, OPS_GROUP, Scene, fresh

LOST, ADMIN, RANDOM_ID = "#random", "#third", "slack:T024BE7L1/C024RANDOM3"


def shipmate(scene: Scene, *words: str) -> str:
    """What a command of the terminal prints, in a process of its own beside the running bot."""
    ports = Ports(playground=int(scene.playground.url.rpartition(":")[2]), bot=scene.bot.port)
    configuration = scene.bot.folder / "shipmate.yaml"
    environment = {**os.environ, **bot_program(ports, configuration).environment}
    command = [sys.executable, "-m", "bot", *words, "--config", str(configuration)]
    return subprocess.run(command, check=True, capture_output=True, text=True, env=environment, timeout=120).stdout


def dead(scene: Scene, *words: str) -> list[dict[str, Any]]:
    """The dead letters as programs read them."""
    found: list[dict[str, Any]] = json.loads(shipmate(scene, "dead", "list", "--json", *words))["deliveries"]
    return found


def await_letters(scene: Scene, count: int) -> None:
    """Wait until so many cards and notices are dead letters."""
    query = select(cards.c.id).where(cards.c.is_dead)
    scene.eventually(lambda: len(scene.rows(query)) == count, f"{count} dead letters")


def test_a_channel_without_the_bot_from_its_death_to_its_replay(start: Callable[..., Scene]) -> None:
    """Many cards die there, the admin is told once, somebody invites the bot, and a replay shows them all."""
    scene, project = start(admin="third"), fresh("lost")
    for number in range(1, 6):
        assert scene.tell(project, number, "started", branch="main").status_code == 202
    for number in range(1, 6):
        scene.card("#other", f"{project} #{number}")
    assert scene.tell(project, 1, "finished", status="success").status_code == 202
    await_letters(scene, 5)
    told = scene.said(ADMIN, "Given up", "#random", "not a member of the channel", "dead:not_in_channel")
    assert "shipmate dead replay --reason not_in_channel" in told["text"]
    assert len(scene.messages(ADMIN)) == 1
    letters = dead(scene, "--reason", "not_in_channel")
    assert [one["destination"] for one in letters] == [RANDOM_ID] * 5
    shown = shipmate(scene, "dead", "show", str(letters[0]["id"]))
    assert "Invite it there, then replay." in shown
    explained = scene.ask(CI, f"/ship explain {project}#1", "given up: Shipmate is not a member of the channel")
    assert "routes[2] · matches → random, other" in explained
    assert "does not match · project" in explained

    assert scene.playground.act(platform="slack", channel=LOST, invite=True, as_="bob")["ok"]
    assert "replayed: 5" in shipmate(scene, "dead", "replay", "--all")
    scene.card(LOST, f"{project} #1", f"✅ {project}")
    for number in range(2, 6):
        scene.card(LOST, f"{project} #{number}", f"⏳ {project}")
    assert dead(scene) == []
    scene.audited(5, "cli:", "replay", "done")
    scene.eventually(scene.is_audit_sealed, "the operator's entries to be sealed")
    assert len(scene.messages(ADMIN)) == 1


@pytest.mark.parametrize("place", ["random", "ops-group"])
def test_an_admin_that_cannot_be_told_or_reads_chinese(place: str, start: Callable[..., Scene]) -> None:
    """A notice that dies causes no other; one in a DingTalk group is in Chinese."""
    scene, project = start(admin=place), fresh("lost")
    for number in (1, 2):
        assert scene.tell(project, number, "started").status_code == 202
    if place == "ops-group":
        said = scene.said(OPS_GROUP, "已放弃", "Shipmate 不是该频道的成员", "shipmate dead replay")
        assert "请邀请它加入" in said["text"]
        return
    await_letters(scene, 3)
    assert sorted(one["slot"] for one in dead(scene)) == ["admin", "card", "card"]
    assert "notice to the admin" not in scene.ask(CI, f"/ship explain {project}#1", "given up")
