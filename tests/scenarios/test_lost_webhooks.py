"""A real Buildbot whose pushes are lost: it never sends one twice, and every card gets there by itself."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator

import pytest
from sqlalchemy import select, update

from bot.storage.tables import events, jobs
from tests.scenarios.buildbot_scene import SLOW_S, BuildbotScene
from tests.scenarios.running import CI, DEV_GROUP

pytestmark = pytest.mark.buildbot
HOUR_S = 3600.0


@pytest.fixture
def losing(buildbot_scene: BuildbotScene) -> Iterator[BuildbotScene]:
    """Pushes reach nobody from `lose` on; afterwards they reach the bot again, and it looks for them by itself."""
    relay = buildbot_scene.buildbot.relay
    target = relay.target
    yield buildbot_scene
    relay.target = target
    _put_look(buildbot_scene, 0.0)


def lose(scene: BuildbotScene) -> None:
    """From now on pushes reach nobody."""
    scene.buildbot.relay.target = None


def start_slow(scene: BuildbotScene) -> tuple[str, int]:
    """A build that runs until it is stopped, with its card: the card's title, and Buildbot's id of the build."""
    build = scene.buildbot.force("slow-service")
    title = f"slow-service #{build['number']}"
    scene.scene.card(CI, title, "running", timeout_s=SLOW_S)
    return title, int(build["buildid"])


def stop_in_buildbot(scene: BuildbotScene, build_id: int) -> None:
    """Somebody stops the build on Buildbot's own page."""
    scene.buildbot.control(f"builds/{build_id}", "stop", reason="enough")
    scene.buildbot.finished(build_id)


def let_a_minute_pass(scene: BuildbotScene) -> None:
    """Until the next look into the history; when this returns it was taken, and no other one comes unasked."""
    before = _mark(scene)
    _put_look(scene, 0.0)
    scene.scene.eventually(lambda: _mark(scene) != before, "a look into the history", SLOW_S)
    _put_look(scene, time.time() + HOUR_S)


def _put_look(scene: BuildbotScene, due_at: float) -> None:
    scene.scene.change(update(jobs).where(jobs.c.kind == "reconcile").values(due_at=due_at))


def _mark(scene: BuildbotScene) -> tuple[str, float]:
    (row,) = scene.scene.rows(select(jobs.c.arguments).where(jobs.c.kind == "reconcile"))
    arguments = row.arguments if isinstance(row.arguments, dict) else json.loads(row.arguments)
    return arguments.get("mark", ""), arguments.get("at", 0.0)


def test_an_end_that_nobody_heard_is_shown(losing: BuildbotScene) -> None:
    """The push of the end is lost: the card is final by itself, seconds later."""
    title, build_id = start_slow(losing)
    opened = losing.scene.card(CI, title)
    lose(losing)
    stop_in_buildbot(losing, build_id)
    final = losing.scene.card(CI, title, f"🚫 {title}", timeout_s=SLOW_S)
    assert final["id"] == opened["id"]
    losing.scene.card(DEV_GROUP, title, "🚫", timeout_s=SLOW_S)


def test_an_end_while_the_bot_was_away_is_shown(losing: BuildbotScene) -> None:
    """The bot is stopped, the build ends, the bot comes back: the same card is final."""
    title, build_id = start_slow(losing)
    opened = losing.scene.card(CI, title)
    losing.scene.bot.stop()
    stop_in_buildbot(losing, build_id)
    losing.scene.bot.start()
    losing.scene.connected()
    final = losing.scene.card(CI, title, f"🚫 {title}", timeout_s=SLOW_S)
    assert final["id"] == opened["id"]


def test_a_build_that_nobody_heard_of_gets_its_card(losing: BuildbotScene) -> None:
    """Start and end are lost: after two looks the card is there, with its author, stages, failed test and log."""
    let_a_minute_pass(losing)
    lose(losing)
    title = losing.push("Greet people by name")
    number = int(title.rpartition("#")[2])
    path = f"builders/user-service/builds/{number}"
    losing.scene.eventually(lambda: losing.buildbot.read(path)["builds"][0]["complete"], "the build's end", SLOW_S)
    let_a_minute_pass(losing)
    assert losing.scene.cards(CI, title) == []
    let_a_minute_pass(losing)
    words = ("failed", "Greet people by name", "Alice", "unit tests", "AssertionError")
    card = losing.scene.card(CI, title, *words, timeout_s=SLOW_S)
    metrics = losing.scene.session.get(f"{losing.scene.bot.url}/metrics", timeout=30).text
    assert 'shipmate_reconciled_total{source="buildbot"}' in metrics
    assert losing.scene.click(CI, card, "retry", "alice")["ok"]
    again = f"user-service #{number + 1}"
    losing.scene.card(CI, title, "Retried by Alice", timeout_s=SLOW_S)
    path = f"builders/user-service/builds/{number + 1}"
    losing.scene.eventually(lambda: losing.buildbot.read(path)["builds"][0]["complete"], "the build's end", SLOW_S)
    for _ in range(2):
        let_a_minute_pass(losing)
    losing.scene.card(CI, again, f"✅ {again}", timeout_s=SLOW_S)


def test_builds_that_were_heard_of_are_left_alone(losing: BuildbotScene) -> None:
    """Looks into the history leave no events of builds whose pushes came, be it after the end was asked for."""
    title, _ = losing.failed()
    number = int(title.rpartition("#")[2])
    scene = losing.scene
    scene.eventually(lambda: _pushed_ends(losing, number), "the push of the end", SLOW_S)
    scene.eventually(lambda: not _open_jobs(losing), "the log's job", SLOW_S)
    before = scene.events("user-service")
    for _ in range(3):
        let_a_minute_pass(losing)
    assert scene.events("user-service") == before
    assert len(scene.cards(CI, f"user-service #{number}")) == 1


def _pushed_ends(scene: BuildbotScene, number: int) -> int:
    told = select(events.c.id).where(events.c.subject_key.endswith(f"/user-service#{number}"))
    return len(scene.scene.rows(told.where(events.c.delivery_key.like("push.%.finished.%"))))


def _open_jobs(scene: BuildbotScene) -> int:
    return len(scene.scene.rows(select(jobs.c.key).where(jobs.c.kind != "reconcile")))
