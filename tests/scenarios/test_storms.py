"""A storm through the real bot: sixty builds at once, where no budget slows it down."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.scenarios.conftest import ALICE, ZHANG_MIN
from tests.scenarios.running import CI, DEV_GROUP, OPS_GROUP, Scene

BUILDS = 60
BROKEN = (17, 42)


@pytest.mark.slow
def test_sixty_builds_at_once_are_few_calls_and_every_end_is_seen(start: Callable[..., Scene]) -> None:
    """Five cards and a digest in each place; all sixty ends stand there, two failures call their people, once."""
    route = {
        "to": ["ci", "dev-group", "ops-group"],
        "mention": [ALICE, ZHANG_MIN],
        "group": {"more_than": 5, "per": "4s"},
    }
    scene = start(routes=[route], progress_interval_s=2)

    def live(number: int) -> None:
        project = f"storm-{number}"
        url = f"https://ci.example.com/{project}"
        assert scene.tell(project, 1, "started", branch="main", url=url).status_code == 202
        status = "failed" if number in BROKEN else "success"
        assert scene.tell(project, 1, "finished", status=status).status_code == 202

    with ThreadPoolExecutor(8) as senders:
        list(senders.map(live, range(BUILDS)))

    def is_told(channel: str, sign: str) -> bool:
        said = "\n".join(one["text"] for one in scene.messages(channel))
        signs = {number: "❌" if number in BROKEN else "✅" for number in range(BUILDS)}
        ends = [_shows(said, f"storm-{number}", sign) for number, sign in signs.items()]
        return all(ends) and sign in said

    for channel, sign in ((CI, "❌ 2 failed"), (DEV_GROUP, "❌ 2 失败"), (OPS_GROUP, "❌ 2 失败")):
        scene.eventually(lambda channel=channel, sign=sign: is_told(channel, sign), f"all ends in {channel}", 60.0)
    digests = [one for one in scene.messages(CI) if "Many builds at once" in one["text"]]
    assert len(digests) == 1
    assert len(scene.messages(CI)) == 6
    heard = scene.eventually(lambda: _thread(scene, len(BROKEN)), "a notice for each failure")
    assert sorted(text.partition(" failed")[0] for text in heard) == [f"❌ storm-{number}#1" for number in BROKEN]
    assert all("@Alice" in text for text in heard)
    calls = scene.calls("chat.postMessage") + scene.calls("chat.update")
    assert len(calls) <= 30
    reasons = [one for number in range(BUILDS) for one in scene.reasons(f"storm-{number}").values()]
    assert reasons.count("folded:digest") >= 3 * (BUILDS - 5)


def _thread(scene: Scene, least: int) -> list[str] | None:
    """The remarks below the digest, once there are so many."""
    digest = next(one for one in scene.messages(CI) if "Many builds at once" in one["text"])
    said = [one["text"] for one in digest["thread"]]
    return said if len(said) >= least else None


def _shows(said: str, project: str, sign: str) -> bool:
    """Whether a line says how a project's only build ended, as a card or in a digest."""
    lines = [line for line in said.splitlines() if f"{project}#1" in line or f"{project} #1" in line]
    return any(sign in line for line in lines)
