"""A real service deployed by a real Buildbot, from Slack and DingTalk: good, bad, and brought back."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import suppress

import pytest
import requests

from playground.options import Json
from tests.scenarios.buildbot_scene import SLOW_S, BuildbotScene
from tests.scenarios.running import CI, DEV_GROUP, Scene

pytestmark = [pytest.mark.buildbot, pytest.mark.prometheus]


def running(scene: BuildbotScene) -> str:
    """The version of the greeter that answers people."""
    try:
        answer = requests.get(f"http://127.0.0.1:{scene.buildbot.greeter_port}/version", timeout=30)
    except requests.ConnectionError:
        return ""
    return str(answer.json()["version"])


def uploaded(scene: Scene, card: Json, title: str) -> Json | None:
    """The picture below a card."""
    thread = next(one["thread"] for one in scene.messages(CI) if one["id"] == card["id"])
    files = [file for post in thread for file in post["payload"].get("files", ())]
    return next((file for file in files if file["title"] == title), None)


def deploy(scene: BuildbotScene, version: str, preview: str) -> int:
    """Ask for a version in Slack, confirm what is previewed, and approve it in DingTalk; its number."""
    answer = scene.scene.ask(CI, f"/ship deploy greeter {version} to production", preview)
    number = int(answer.rpartition("greeter#")[2].split()[0].strip("`"))
    scene.scene.ask(CI, f"/ship confirm greeter#{number}", "waits for approval")
    card = scene.scene.card(DEV_GROUP, f"greeter#{number} · {version}", "等待批准", timeout_s=SLOW_S)
    assert scene.scene.click(DEV_GROUP, card, "approve", "张敏")["ok"]
    return number


@pytest.fixture
def visitors(buildbot_scene: BuildbotScene) -> Iterator[None]:
    """People who are greeted ten times a second, or not."""
    is_over, url = threading.Event(), f"http://127.0.0.1:{buildbot_scene.buildbot.greeter_port}/"

    def visit() -> None:
        while not is_over.wait(0.1):
            with suppress(requests.RequestException):  # between two versions nobody answers
                requests.get(url, timeout=5)

    thread = threading.Thread(target=visit, name="visitors")
    thread.start()
    yield
    is_over.set()
    thread.join()


@pytest.mark.usefixtures("visitors")
def test_a_bad_version_is_brought_back(buildbot_scene: BuildbotScene) -> None:
    """v1 is deployed, v2 answers people with errors, which Prometheus counts, and v1 runs again: seen on the cards, in
    a picture below them, and at the service itself.
    """
    scene = buildbot_scene.scene
    buildbot_scene.wait_for_releases()
    first = deploy(buildbot_scene, "v1", "Deploy greeter to production?")
    scene.card(CI, f"greeter#{first} · v1", "deployed", "errors 0 (≤ 0.01) · passed", timeout_s=90)
    assert running(buildbot_scene) == "v1"

    second = deploy(buildbot_scene, "v2", "GREET-7 Greet by region")
    scene.card(CI, f"greeter#{second} · v2", "verifying", timeout_s=SLOW_S)
    assert running(buildbot_scene) == "v2"
    card = scene.card(CI, f"greeter#{second} · v2", "rolled back", "above its limit", "📊 up", timeout_s=90)
    assert "errors" in card["text"].partition("Checks failed after it was deployed.")[2].partition("\n")[0]
    assert running(buildbot_scene) == "v1"
    back = scene.card(DEV_GROUP, f"greeter#{second + 1} · 回滚：v1 → production", "已部署", timeout_s=SLOW_S)
    assert "v1" in back["text"]

    scene.click(CI, card, "chart")
    title = f"errors · greeter#{second} v2 → production"
    scene.whisper("U024ALICE01", title, "The picture comes in the thread of the card.")
    picture = scene.eventually(lambda: uploaded(scene, card, title), "the picture of the errors", SLOW_S)
    assert requests.get(picture["url_private"], timeout=30).content.startswith(b"\x89PNG")

    assert "rolled back" in scene.ask(CI, "/ship deployments greeter", "🔒")
    scene.ask(CI, "/ship unlock greeter in production", "unlocked")
    scene.eventually(scene.is_audit_sealed, "the audit trail to be sealed", SLOW_S)
