"""What waits in a real Buildbot's queue, and is cancelled there before it became a build."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from playground.options import Json
from tests.scenarios.buildbot_scene import SLOW_S, BuildbotScene
from tests.scenarios.running import CI, DEV_GROUP

pytestmark = [pytest.mark.buildbot]
ALICE = "U024ALICE01"
CancelRequest = Callable[[str], None]


@pytest.fixture
def cancel_in_queue(buildbot_scene: BuildbotScene) -> Iterator[CancelRequest]:
    """Its worker takes nothing on; cancels the one request that waits for a builder, as somebody does in Buildbot."""
    buildbot = buildbot_scene.buildbot

    def is_paused() -> bool:
        return bool(buildbot.read("workers/1")["workers"][0]["paused"])

    def waiting(builder: str) -> list[Json]:
        [known] = buildbot.read(f"builders/{builder}")["builders"]
        path = f"builders/{known['builderid']}/buildrequests?complete=false&claimed=false"
        found: list[Json] = buildbot.read(path)["buildrequests"]
        return found

    def cancel(builder: str) -> None:
        buildbot_scene.scene.eventually(lambda: waiting(builder), f"a request for {builder} in the queue", SLOW_S)
        [request] = waiting(builder)
        buildbot.control(f"buildrequests/{request['buildrequestid']}", "cancel", reason="not now")

    buildbot_scene.wait_for_releases()
    buildbot.control("workers/1", "pause", reason="busy")
    buildbot_scene.scene.eventually(is_paused, "the worker to pause", SLOW_S)
    yield cancel
    buildbot.control("workers/1", "unpause", reason="idle")
    buildbot_scene.scene.eventually(lambda: not is_paused(), "the worker to go on", SLOW_S)


@pytest.fixture
def failed_build(buildbot_scene: BuildbotScene) -> tuple[str, Json]:
    """A build that has failed: the title of its card, and the card."""
    return buildbot_scene.failed()


def test_a_retry_cancelled_in_the_queue(
    failed_build: tuple[str, Json], buildbot_scene: BuildbotScene, cancel_in_queue: CancelRequest
) -> None:
    """Who pressed hears that it waits, and then that nothing came of it; the card offers Retry as before."""
    scene, (title, card) = buildbot_scene.scene, failed_build
    build = title.replace(" #", "#")
    since = scene.whispers()
    assert scene.click(CI, card, "retry", "alice")["ok"]
    scene.whisper(ALICE, "free", since=since, timeout_s=SLOW_S)
    cancel_in_queue("user-service")
    scene.whisper(ALICE, "was cancelled in buildbot before a build began", since=since, timeout_s=SLOW_S)
    [started, ended] = scene.audited(2, f"slack:{ALICE}", "retry", build)
    assert (started["outcome"], ended["outcome"]) == ("started", "failed:request_cancelled")
    shown = scene.card(CI, title)
    assert "Retried by" not in shown["text"]
    assert any("retry" in str(one["id"]) for one in shown["actions"])


def test_a_deployment_cancelled_in_the_queue(buildbot_scene: BuildbotScene, cancel_in_queue: CancelRequest) -> None:
    """It ends as cancelled, says that nothing was changed, and lets the next one have its turn."""
    scene = buildbot_scene.scene
    first, second = _approved(buildbot_scene), _approved(buildbot_scene)
    scene.card(CI, f"greeter#{first} · v1", "deploying", timeout_s=SLOW_S)
    scene.card(CI, f"greeter#{second} · v1", "Another deployment is under way", timeout_s=SLOW_S)
    cancel_in_queue("deploy-greeter")
    ended = scene.card(CI, f"greeter#{first} · v1", "cancelled", "nothing was changed", timeout_s=SLOW_S)
    assert "Roll back" not in str(ended["actions"])
    scene.card(CI, f"greeter#{second} · v1", "deploying", timeout_s=SLOW_S)
    cancel_in_queue("deploy-greeter")
    scene.card(CI, f"greeter#{second} · v1", "cancelled", timeout_s=SLOW_S)
    [row] = scene.audited(1, f"deployment:shipmate/greeter#{first}", "cancelled:never_ran")
    assert row["actor"] == "shipmate"


def _approved(buildbot_scene: BuildbotScene) -> int:
    """Ask for v1 of the greeter, with all that it takes to begin; its number."""
    scene = buildbot_scene.scene
    answer = scene.ask(CI, "/ship deploy greeter v1 to production", "Deploy greeter to production?")
    number = int(answer.rpartition("greeter#")[2].split()[0].strip("`"))
    scene.ask(CI, f"/ship confirm greeter#{number}", "waits for approval")
    card = scene.card(DEV_GROUP, f"greeter#{number} · v1", "等待批准", timeout_s=SLOW_S)
    assert scene.click(DEV_GROUP, card, "approve", "张敏")["ok"]
    return number
