"""A build's life as people see it: webhooks in, cards out, on both platforms."""

from __future__ import annotations

from playground import world
from tests.scenarios.running import CI, DEV_GROUP, OPS_GROUP, Scene, ago, fresh, texts

FAILURE = {
    "status": "failed",
    "stages": [{"name": "checkout", "status": "success"}, {"name": "unit tests", "status": "failed"}],
    "failed_tests": [{"name": "tests.test_profiles.ProfileTest.test_name", "detail": "AssertionError: None != 'Ada'"}],
    "log_excerpt": "Traceback (most recent call last):\nAssertionError: None != 'Ada'",
}


def test_a_card_goes_from_running_to_failed_in_place(scene: Scene) -> None:
    """One message in each place is edited to the end; the thread notice calls who is to be called and holds the log."""
    project = fresh("web")
    title = f"{project} #1"
    assert scene.tell(project, 1, "started", branch="main", author="Ada").status_code == 202
    slack = scene.card(CI, title, "running", "main", "Ada")
    dingtalk = scene.card(DEV_GROUP, title, "main", "Ada")
    assert scene.tell(project, 1, "finished", **FAILURE).status_code == 202
    words = ("unit tests", "tests.test_profiles.ProfileTest.test_name", "AssertionError: None != 'Ada'")
    failed = scene.card(CI, title, "failed", *words)
    failed_there = scene.card(DEV_GROUP, title, "失败", *words)
    assert (failed["id"], failed_there["id"]) == (slack["id"], dingtalk["id"])
    assert failed["edits"] >= 1
    assert failed_there["edits"] >= 1
    thread = scene.eventually(lambda: _thread(scene, title, 2), "a notice and the log in the thread")
    assert "@Alice" in thread
    assert "Traceback (most recent call last):" in thread
    notice = scene.said(DEV_GROUP, f"{project}#1", "@manager4220")["text"]
    assert "U024ALICE01" not in notice  # who is nobody in DingTalk


def test_success_after_failure_is_called_fixed(scene: Scene) -> None:
    """A person who broke the branch is told that it is whole again; a plain success tells nobody."""
    project = fresh("web")
    for number, status in ((1, "failed"), (2, "success"), (3, "success")):
        times = {"started_at": ago(90 - 10 * number), "finished_at": ago(85 - 10 * number)}
        assert scene.tell(project, number, "finished", branch="main", status=status, **times).status_code == 202
        scene.card(CI, f"{project} #{number}", f"{'❌' if status == 'failed' else '✅'} {project}")
    scene.card(CI, f"{project} #2", "fixed")
    assert "@Alice" in scene.eventually(lambda: _thread(scene, f"{project} #2", 1), "a notice that it is fixed")
    plain = scene.card(CI, f"{project} #3", "succeeded")
    assert plain["thread"] == []


def test_a_custom_robot_gets_an_opening_and_a_final_post(scene: Scene) -> None:
    """A group that cannot be edited is not flooded: progress between start and end is left out."""
    project = fresh("ops")
    scene.tell(project, 7, "started", branch="main")
    scene.eventually(lambda: len(scene.cards(OPS_GROUP, f"{project} #7")) == 1, "the opening")
    for done in range(3):
        stages = [{"name": f"stage {number}", "status": "success"} for number in range(done + 1)]
        assert scene.tell(project, 7, "progressed", stages=stages).status_code == 202
    scene.tell(project, 7, "finished", **FAILURE)
    scene.eventually(lambda: len(scene.cards(OPS_GROUP, f"{project} #7")) == 2, "the final post")
    opening, final = scene.cards(OPS_GROUP, f"{project} #7")
    assert "unit tests" not in opening["text"]
    assert "AssertionError: None != 'Ada'" in final["text"]
    assert [one["answer"]["errcode"] for one in scene.calls("robot/send", project)] == [0, 0]


def test_an_edited_card_is_one_message_with_a_call_for_each_edit(scene: Scene) -> None:
    """In DingTalk the card is made once and then changed; its group hears of it once."""
    project = fresh("web")
    scene.tell(project, 1, "started", branch="main")
    scene.card(DEV_GROUP, f"{project} #1")
    for stage in ("checkout", "compile"):
        scene.tell(project, 1, "progressed", stages=[{"name": stage, "status": "running"}])
        scene.card(DEV_GROUP, f"{project} #1", stage)
    scene.tell(project, 1, "finished", status="success")
    card = scene.card(DEV_GROUP, f"{project} #1", f"✅ {project}")
    made = scene.calls("POST /v1.0/card/instances/createAndDeliver", project)
    changed = scene.calls("PUT /v1.0/card/instances", project)
    assert len(made) == 1
    assert card["edits"] == len(changed) == 3


def test_hostile_text_pings_nobody_and_forms_nothing(scene: Scene) -> None:
    """Names and branches from outside are shown as they are and reach nobody, on both platforms."""
    project, robot = fresh("web"), fresh("ops")
    hostile = {
        "branch": "<!channel> 修复/登录",
        "author": "@all <@U024BOB0002> @所有人",
        "commit_title": "*bold* <!here>",
    }
    for name in (project, robot):
        scene.tell(name, 1, "started", commit="9fceb02d0ae5", **hostile)
        scene.tell(name, 1, "finished", status="failed", log_excerpt="@manager4220 [x](dtmd://y)", **hostile)
    card = scene.card(CI, f"{project} #1", "failed", "<!channel> 修复/登录", "@all <@U024BOB0002> @所有人", "*bold*")
    wire = str(card["payload"])
    assert not any(ping in wire for ping in ("<!channel>", "<!here>", "<@U024BOB0002>"))
    scene.card(DEV_GROUP, f"{project} #1", "修复/登录", "失败")

    def final() -> str:
        return next((one["text"] for one in scene.cards(OPS_GROUP, f"{robot} #1") if "失败" in one["text"]), "")

    assert "修复/登录" in scene.eventually(final, "the robot's final post")
    called = [call["arguments"].get("at", {}) for call in scene.calls("robot/send", robot)]
    assert not any(at.get("isAtAll") for at in called)
    assert {person for at in called for person in at.get("atUserIds", [])} <= {"manager4220"}


def _thread(scene: Scene, title: str, length: int) -> str | None:
    """What stands in the thread of a card in #ci, once it has `length` messages."""
    [card] = scene.cards(CI, title)
    thread = card["thread"]
    assert all(one["author"] == world.BOT_NAME for one in thread)
    return texts(thread) if len(thread) >= length else None
