"""The whole journey with a real Buildbot: a push, a card, a press, a new build, and the record of it."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import select

from bot.services.planning import DETAILS_GRACE_S
from bot.storage.tables import events
from playground.repository import BOB, CHEN_WEI
from tests.scenarios.buildbot_scene import SLOW_S, BuildbotScene
from tests.scenarios.running import CI, DEV_GROUP, OPS_GROUP, Scene, texts

pytestmark = pytest.mark.buildbot
FailedBuild = tuple[str, dict[str, Any]]
LATE_S = DETAILS_GRACE_S - 1.0  # an event is dated a moment before it is stored


@pytest.fixture(scope="module")
def failed_build(buildbot_scene: BuildbotScene) -> FailedBuild:
    """A failed build for tests that ask about it and leave it as it is: the title of its card, and the card."""
    return buildbot_scene.failed()


def test_a_failed_push_is_retried_by_a_click(buildbot_scene: BuildbotScene) -> None:
    """⏳ becomes ❌ in place with what failed; Retry makes a real new build that is fixed; all of it is on record."""
    scene = buildbot_scene.scene
    title = buildbot_scene.push("Greet people by name")
    opened = scene.card(CI, title, timeout_s=SLOW_S)
    failing = "test_known_person_has_a_display_name"
    words = ("checkout", "unit tests", failing, "AssertionError", "Alice")
    failed = scene.card(CI, title, "failed", "Greet people by name", *words, timeout_s=SLOW_S)
    assert failed["id"] == opened["id"]
    assert failed["edits"] >= 1
    scene.card(DEV_GROUP, title, "失败", *words, timeout_s=SLOW_S)
    scene.eventually(
        lambda: [one for one in scene.card(CI, title)["thread"] if "@Alice" in one["text"] and "failed" in one["text"]],
        "a notice that calls Alice",
        SLOW_S,
    )
    final = scene.eventually(lambda: scene.cards(OPS_GROUP, title), "the ops group's post", SLOW_S)
    assert "AssertionError" in texts(final) or _is_read_late(scene, title)

    number = int(title.rpartition("#")[2])
    again = f"user-service #{number + 1}"
    assert scene.click(CI, failed, "retry", "alice")["ok"]
    scene.whisper("U024ALICE01", f"user-service#{number + 1}", timeout_s=SLOW_S)
    fixed = scene.card(CI, again, f"✅ {again}", "fixed", timeout_s=SLOW_S)
    assert "package" in fixed["text"]
    old = scene.card(CI, title, "Retried by Alice", f"user-service#{number + 1}", timeout_s=SLOW_S)
    assert old["id"] == opened["id"]
    assert not any("retry" in str(one["id"]) for one in old["actions"])
    assert buildbot_scene.builds("user-service") == number + 1
    [started, done] = scene.audited(2, "slack:U024ALICE01", "retry", f"user-service#{number}")
    assert (started["outcome"], done["outcome"]) == ("started", f"done:build:buildbot/user-service#{number + 1}")
    scene.eventually(scene.is_audit_sealed, "the audit trail to be sealed", SLOW_S)


def _is_read_late(scene: Scene, title: str) -> bool:
    """Whether a build's log was read when a post that nobody can amend did not wait for it any more."""
    is_of_build = events.c.subject_key.endswith(f"/{title.replace(' #', '#')}")
    told = scene.rows(
        select(events).where(is_of_build, events.c.delivery_key.contains(".finished.")).order_by(events.c.id)
    )
    read_at = next(row.received_at for row in told if "AssertionError" in str(row.body))
    return bool(read_at > told[0].received_at + LATE_S)


def test_three_people_press_retry_and_one_build_starts(buildbot_scene: BuildbotScene) -> None:
    """Whoever is first has it, which need not be who pressed first; the others are told who was faster."""
    scene = buildbot_scene.scene
    title, card = buildbot_scene.failed()
    there = scene.card(DEV_GROUP, title, "失败", timeout_s=SLOW_S)
    before, said = buildbot_scene.requests(), len(scene.messages(DEV_GROUP))
    names = {"slack:U024ALICE01": "Alice", "slack:U024CHENWEI": "陈伟", "dingtalk:manager4220": "张敏"}
    scene.click(CI, card, "retry", "alice")
    scene.click(DEV_GROUP, there, "retry", "张敏")
    scene.click(CI, card, "retry", "chenwei")
    number = int(title.rpartition("#")[2])
    scene.audited(2, f"user-service#{number}", "duplicate:")
    [first] = scene.audited(1, "retry", f"user-service#{number}", "started")
    faster = names.pop(first["actor"])
    for account in names:
        platform, _, person = account.partition(":")
        if platform == "slack":
            scene.whisper(person, f"{faster} has done this already", timeout_s=SLOW_S)
        else:
            scene.said(DEV_GROUP, f"{faster} 已经执行过此操作", since=said, timeout_s=SLOW_S)
    scene.card(CI, f"user-service #{number + 1}", f"✅ user-service #{number + 1}", timeout_s=SLOW_S)
    assert buildbot_scene.requests() == before + 1


def test_a_press_that_comes_twice_acts_once(buildbot_scene: BuildbotScene) -> None:
    """Slack sends an envelope again that it believes lost: one build, one entry."""
    scene = buildbot_scene.scene
    title, card = buildbot_scene.failed()
    before = buildbot_scene.requests()
    scene.click(CI, card, "retry", "alice")
    assert scene.playground.act(platform="slack", redeliver=True)["ok"]
    number = int(title.rpartition("#")[2])
    scene.card(CI, f"user-service #{number + 1}", f"✅ user-service #{number + 1}", timeout_s=SLOW_S)
    assert buildbot_scene.requests() == before + 1
    scene.audited(1, "retry", f"user-service#{number}", "started")


@pytest.mark.parametrize(
    ("channel", "person", "account"), [(CI, "bob", "slack:U024BOB0002"), (DEV_GROUP, "李雷", "dingtalk:lilei0017")]
)
def test_who_has_no_role_is_told_so(
    buildbot_scene: BuildbotScene, failed_build: FailedBuild, channel: str, person: str, account: str
) -> None:
    """A polite sentence, nothing triggered, and an entry in the audit trail."""
    scene = buildbot_scene.scene
    title, card = failed_build
    if channel == DEV_GROUP:
        card = scene.card(DEV_GROUP, title, "失败", timeout_s=SLOW_S)
    before, said = buildbot_scene.requests(), len(scene.messages(DEV_GROUP))
    scene.click(channel, card, "retry", person)
    if channel == CI:
        scene.whisper("U024BOB0002", "🔒", "You have no role here", timeout_s=SLOW_S)
    else:
        scene.said(DEV_GROUP, "🔒", since=said, timeout_s=SLOW_S)
    number = int(title.rpartition("#")[2])
    [entry] = scene.audited(1, account, f"user-service#{number}")
    assert (entry["verb"], entry["outcome"]) == ("retry", "refused:no_role")
    assert buildbot_scene.requests() == before


def test_cancel_stops_the_slow_build(buildbot_scene: BuildbotScene) -> None:
    """`/ship run slow-service`, then Cancel on its card: Buildbot has stopped it, and the card says so."""
    scene = buildbot_scene.scene
    number = buildbot_scene.builds("slow-service") + 1
    scene.ask(CI, "/ship run slow-service", f"slow-service#{number}")
    card = scene.card(CI, f"slow-service #{number}", "running", timeout_s=SLOW_S)
    assert scene.click(CI, card, "cancel", "alice")["ok"]
    cancelled = scene.card(CI, f"slow-service #{number}", f"🚫 slow-service #{number}", timeout_s=SLOW_S)
    assert cancelled["id"] == card["id"]
    [build] = buildbot_scene.buildbot.read(f"builders/slow-service/builds?number={number}")["builds"]
    assert (build["complete"], build["results"]) == (True, 6)
    scene.audited(1, "slack:U024ALICE01", "cancel", f"slow-service#{number}", "done")


def test_details_open_at_once_and_are_filled_then(buildbot_scene: BuildbotScene, failed_build: FailedBuild) -> None:
    """The window says that it is loading, then shows stages, the failed test and the log."""
    scene = buildbot_scene.scene
    title, card = failed_build
    since = scene.playground.state()["last_call"]
    answer = scene.click(CI, card, "details", "bob", wait_s=30)
    assert answer["ok"]
    opened = scene.eventually(lambda: scene.calls("views.open", since=since), "a window", SLOW_S)
    assert "Loading" in str(opened[0]["arguments"])
    view = answer["modal"]["id"]

    def filled() -> str | None:
        text = str(scene.playground.state()["platforms"]["slack"]["modals"].get(view, {}))
        return text if "AssertionError" in text else None

    shown = scene.eventually(filled, "the window's content", SLOW_S)
    assert shown is not None
    for word in (title.replace(" #", "#").partition("#")[0], "unit tests", "test_known_person", "Traceback"):
        assert word in shown


def test_commands_are_answered_from_buildbot(buildbot_scene: BuildbotScene) -> None:
    """Typed lines do what the buttons do, in English and in Chinese, on both platforms."""
    scene = buildbot_scene.scene
    title, _ = buildbot_scene.failed()
    build = title.replace(" #", "#")
    number = int(build.rpartition("#")[2])
    assert build in scene.ask(CI, "/ship status", "How things stand", build)
    assert "❌" in scene.ask(CI, "/ship builds user-service", "Newest builds of user-service", build)
    assert "unit tests" in scene.ask(CI, f"/ship show {build}", "test_known_person", "unit tests", as_="bob")
    assert "Traceback" in scene.ask(CI, f"/ship log {build}", f"Log of {build}", "AssertionError")
    scene.ask(CI, "/ship help", "retry", "status", "subscribe")
    assert build in scene.ask(DEV_GROUP, "@Shipmate 状态", build)
    assert scene.ask(DEV_GROUP, f"@Shipmate 重试 {build}", f"user-service#{number + 1}")
    scene.card(DEV_GROUP, f"user-service #{number + 1}", f"✅ user-service #{number + 1}", timeout_s=SLOW_S)
    scene.ask(CI, f"/ship retry user-service#{number + 1}", f"user-service#{number + 2}")
    scene.card(CI, f"user-service #{number + 2}", f"✅ user-service #{number + 2}", timeout_s=SLOW_S)


def test_a_branch_in_chinese_hands_keeps_its_author(buildbot_scene: BuildbotScene) -> None:
    """A commit by 陈伟 on a feature branch shows its subject, branch and author."""
    title = buildbot_scene.push("头像：缩小图片", branch="feature/avatars", author=CHEN_WEI)
    for channel in (CI, DEV_GROUP):
        buildbot_scene.scene.card(
            channel, title, f"❌ {title}", "feature/avatars", "陈伟", "头像：缩小图片", timeout_s=SLOW_S
        )


def test_a_second_push_to_a_broken_branch_shows_its_own_commit(buildbot_scene: BuildbotScene) -> None:
    """Buildbot tells every change since the last build that passed; the card names the one that was built."""
    buildbot_scene.push("头像：缩小图片", branch="feature/avatars", author=CHEN_WEI)
    title = buildbot_scene.push("Accept WebP", branch="feature/avatars", author=BOB)
    card = buildbot_scene.scene.card(CI, title, f"❌ {title}", "Accept WebP", "Bob", timeout_s=SLOW_S)
    assert "陈伟" not in card["text"]


def test_a_builder_that_vanished_is_said(buildbot_scene: BuildbotScene) -> None:
    """Starting, listing and repeating builds of a builder that is no more gets a sentence, and starts nothing."""
    scene, before = buildbot_scene.scene, buildbot_scene.requests()
    for line in ("/ship run gone", "/ship builds gone", "/ship retry gone#3"):
        assert "buildbot has no " in scene.ask(CI, line, "⚠️")
    assert buildbot_scene.requests() == before


def test_an_unknown_build_is_said(buildbot_scene: BuildbotScene) -> None:
    """A number that Buildbot never gave is answered with a sentence that names the way on."""
    scene = buildbot_scene.scene
    for line in ("/ship show user-service#99999", "/ship log user-service#99999", "/ship retry user-service#99999"):
        heard = scene.ask(CI, line, "no such")
        assert "⚠️" in heard or "🤔" in heard
