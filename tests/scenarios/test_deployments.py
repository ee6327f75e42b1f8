"""A real service deployed by a real Buildbot, from Slack and DingTalk: good, bad, and brought back."""

from __future__ import annotations

import pytest
import requests

from tests.scenarios.buildbot_scene import SLOW_S, BuildbotScene
from tests.scenarios.running import CI, DEV_GROUP

pytestmark = [pytest.mark.buildbot, pytest.mark.xdist_group("buildbot")]


def running(scene: BuildbotScene) -> str:
    """The version of the greeter that answers people."""
    try:
        answer = requests.get(f"http://127.0.0.1:{scene.buildbot.greeter_port}/version", timeout=5)
    except requests.ConnectionError:
        return ""
    return str(answer.json()["version"])


def built(scene: BuildbotScene) -> bool:
    """Whether both versions of the greeter were built."""
    return len(scene.buildbot.read("builders/greeter/builds?results=0&limit=2")["builds"]) == 2


def deploy(scene: BuildbotScene, version: str) -> int:
    """Ask for a version in Slack, confirm it, and approve it in DingTalk; its number."""
    answer = scene.scene.ask(CI, f"/ship deploy greeter {version} to production", "Deploy greeter to production?")
    number = int(answer.partition("confirm greeter#")[2].split()[0].strip("`"))
    scene.scene.ask(CI, f"/ship confirm greeter#{number}", "waits for approval")
    card = scene.scene.card(DEV_GROUP, f"greeter#{number} · {version}", "等待批准", timeout_s=SLOW_S)
    assert scene.scene.click(DEV_GROUP, card, "approve", "张敏")["ok"]
    return number


def test_a_bad_version_is_brought_back(buildbot_scene: BuildbotScene) -> None:
    """v1 is deployed, v2 fails its health check, and v1 runs again: seen on the cards and at the service itself."""
    scene = buildbot_scene.scene
    scene.eventually(lambda: built(buildbot_scene), "both versions to be built", SLOW_S)
    first = deploy(buildbot_scene, "v1")
    scene.card(CI, f"greeter#{first} · v1", "deployed", timeout_s=90)
    assert running(buildbot_scene) == "v1"

    second = deploy(buildbot_scene, "v2")
    scene.card(CI, f"greeter#{second} · v2", "verifying", timeout_s=SLOW_S)
    assert running(buildbot_scene) == "v2"
    scene.card(CI, f"greeter#{second} · v2", "rolled back", "Checks failed", timeout_s=90)
    assert running(buildbot_scene) == "v1"
    back = scene.card(DEV_GROUP, f"greeter#{second + 1} · production", "已部署", timeout_s=SLOW_S)
    assert "v1" in back["text"]

    assert "rolled back" in scene.ask(CI, "/ship deployments greeter", "🔒")
    scene.ask(CI, "/ship unlock greeter in production", "unlocked")
    scene.eventually(scene.is_audit_sealed, "the audit trail to be sealed", SLOW_S)
