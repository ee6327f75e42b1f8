"""A bot that ends and comes back: what stood goes on, and what is older than its memory is said."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from bot.stopping import LONGEST_END_S
from tests.scenarios.running import CI, DEV_GROUP, OPS_GROUP, Scene, fresh


@pytest.mark.parametrize("is_killed", [False, True], ids=["stopped", "killed"])
def test_the_same_card_is_edited_after_a_restart(start: Callable[..., Scene], is_killed: bool) -> None:
    """Between opening and end the bot is stopped, or killed: one card in each place shows the end."""
    scene, project, robot = start(), fresh("web"), fresh("ops")
    scene.tell(project, 1, "started")
    scene.tell(robot, 1, "started")
    opened = [scene.card(channel, f"{project} #1")["id"] for channel in (CI, DEV_GROUP)]
    scene.card(OPS_GROUP, f"{robot} #1")
    scene.recorded(project, robot)
    assert scene.bot.child is not None
    if is_killed:
        scene.bot.child.process.kill()
        scene.bot.child.process.wait()
    scene.bot.stop()
    scene.bot.start()
    assert scene.tell(project, 1, "finished", status="success").status_code == 202
    assert scene.tell(robot, 1, "finished", status="success").status_code == 202
    ended = [scene.card(channel, f"{project} #1", f"✅ {project}")["id"] for channel in (CI, DEV_GROUP)]
    assert ended == opened
    scene.eventually(lambda: len(scene.cards(OPS_GROUP, f"{robot} #1")) == 2, "the robot's final post")


def test_a_stop_does_not_wait_for_idle_clients(start: Callable[..., Scene]) -> None:
    """SIGTERM ends the bot at once, although a sender keeps its connection open; what it took is shown afterwards."""
    scene, project = start(), fresh("web")
    assert scene.tell(project, 1, "started").status_code == 202
    started = time.monotonic()
    scene.bot.stop()
    assert time.monotonic() - started < LONGEST_END_S  # which is what an end takes that waits for somebody
    scene.bot.start()
    for channel in (CI, DEV_GROUP):
        scene.card(channel, f"{project} #1")


def test_a_card_older_than_the_database_is_answered(start: Callable[..., Scene]) -> None:
    """Its buttons get a sentence from a bot that has never heard of the build."""
    scene, project = start(), fresh("web")
    scene.tell(project, 1, "finished", status="failed")
    card, there = scene.card(CI, f"{project} #1"), scene.card(DEV_GROUP, f"{project} #1")
    scene.bot.stop()
    scene.bot.forget()
    scene.bot.start()
    scene.connected()
    before = scene.whispers()
    scene.click(CI, card, "details")
    scene.whisper("U024ALICE01", "🤔", "I know no", since=before)
    before = len(scene.messages(DEV_GROUP))
    scene.click(DEV_GROUP, there, "details")
    scene.said(DEV_GROUP, "🤔", since=before)
    assert scene.counted()["subjects"] == 0
