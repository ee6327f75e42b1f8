"""Four workers within the budgets of places and accounts, on both platforms, as the platforms themselves count."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from itertools import count, pairwise
from pathlib import Path
from typing import Any

import pytest

from playground import world
from tests.postgres_server import Cluster
from tests.scenarios.conftest import configuration
from tests.scenarios.fleet import Fleet
from tests.scenarios.running import Json, Scene, a_playground, fresh, scene_of

pytestmark = pytest.mark.slow
ROLES = ("web", "stream", *["worker"] * 4, "clock")
CHANNELS = tuple(f"#many-{number}" for number in range(12))
CREATE, CHANGE = "POST /v1.0/card/instances/createAndDeliver", "PUT /v1.0/card/instances"
ENDS = 5  # builds, each with a card in every channel: more final states than a minute's budget
APP_PER_MINUTE = 20
PATIENCE_S = 150.0
SELDOM_S = 0.5  # between two looks: what is looked at is long, and it takes minutes


@contextmanager
def running(database: dict[str, str], folder: Path) -> Iterator[Scene]:
    """Four workers at Slack's own rates, and at the smallest ones that DingTalk's app can be given."""
    with a_playground(budgets=True, extra_channels=CHANNELS) as playground:
        settings = configuration(playground)
        settings["platforms"]["slack"].pop("budgets")
        settings["platforms"]["dingtalk"]["budgets"] = {"group_per_minute": 60, "app_per_minute": APP_PER_MINUTE}
        robot = {"webhook_url": "${DINGTALK_ROBOT_URL}", "secret": "${DINGTALK_ROBOT_SECRET}"}
        settings["destinations"] = {
            **{name.removeprefix("#"): {"slack": name} for name in CHANNELS},
            "group": {"dingtalk": {"group": world.DINGTALK_GROUP}},
            "robot": {"dingtalk": {"robot": robot}},
        }
        channels = [name.removeprefix("#") for name in CHANNELS]
        settings["routes"] = [
            {"match": {"project": "many-*"}, "to": channels},
            {"match": {"project": "ding-*"}, "to": ["group", "robot"]},
        ]
        settings |= database
        kind: Any = partial(Fleet, roles=ROLES)
        with scene_of(folder, playground, settings, kind=kind) as scene:
            yield scene


@pytest.mark.postgres
def test_four_workers_keep_to_every_budget_and_let_ends_go_first(postgres: Cluster, tmp_path: Path) -> None:
    """Cards that change all the time, and more ends than a minute takes.

    No window holds more than its budget, whoever looks; nothing is refused; the ends go before all progress. It takes
    two minutes of the platforms' time, so both engines go through it side by side.
    """
    databases = {"sqlite": {}, "postgresql": {"database_url": postgres.url(postgres.fresh())}}

    def live(engine: str) -> None:
        (tmp_path / engine).mkdir()
        with running(databases[engine], tmp_path / engine) as scene:
            use_up(scene)

    with ThreadPoolExecutor(len(databases)) as pool:
        for one in [pool.submit(live, engine) for engine in databases]:
            one.result()


def use_up(scene: Scene) -> None:
    """Use up the budgets of one scene, and look how they were kept."""
    progress, ends, ding = fresh("many-progress"), fresh("many-ends"), fresh("ding")
    scene.tell(progress, 1, "started")
    for number in range(1, ENDS + 1):
        scene.tell(ends, number, "started")
    for number in range(1, 31):
        scene.tell(ding, number, "started")
    posted = (ENDS + 1) * len(CHANNELS)
    scene.eventually(lambda: len(_calls(scene, "chat.postMessage")) == posted, "the posts", PATIENCE_S, SELDOM_S)
    goes_on = _Progress(scene, progress)

    def is_waited() -> bool:
        return goes_on() and "paused:budget" in scene.reasons(progress).values()

    scene.eventually(is_waited, "progress to wait", PATIENCE_S, SELDOM_S)
    for number in range(1, 31):
        scene.tell(ding, number, "finished", status="success")
    for number in range(1, ENDS + 1):
        scene.tell(ends, number, "finished", status="success")
    told_at = time.time()

    def ended() -> list[Json]:
        goes_on()
        return _calls(scene, "chat.update", ends)

    scene.eventually(lambda: len(ended()) == ENDS * len(CHANNELS), "all ends", PATIENCE_S, SELDOM_S)
    last_at = ended()[-1]["time"]
    assert [one for one in _calls(scene, "chat.update", progress) if told_at + 1 < one["time"] < last_at] == []
    assert last_at - told_at > 30, "the budget was never used up"
    _assert_slack_was_kept_to(scene)
    _assert_dingtalk_was_kept_to(scene)
    busy = [log for log in scene.bot.folder.glob("worker-*.log") if ends in log.read_text("utf-8")]
    assert len(busy) >= 2


class _Progress:
    """Lets a build go on, twice a second."""

    def __init__(self, scene: Scene, project: str) -> None:
        self._scene, self._project, self._steps, self._next_at = scene, project, count(), 0.0

    def __call__(self) -> bool:
        if time.monotonic() >= self._next_at:
            self._next_at = time.monotonic() + 0.5
            stages = [{"name": f"stage {next(self._steps)}", "status": "running"}]
            assert self._scene.tell(self._project, 1, "progressed", stages=stages).ok
        return True


def _calls(scene: Scene, method: str, *words: str) -> list[Json]:
    return scene.calls(method, *words)


def _assert_slack_was_kept_to(scene: Scene) -> None:
    """By method and workspace: 50 changes and 300 posts a minute; by channel: one call a second."""
    updates, posts = _calls(scene, "chat.update"), _calls(scene, "chat.postMessage")
    assert [one["answer"] for one in (*updates, *posts) if not one["answer"].get("ok")] == []
    assert 45 <= _most_in(updates, 60.0) <= 50
    assert _most_in(posts, 60.0) <= 300
    by_channel: dict[str, list[float]] = defaultdict(list)
    for one in (*updates, *posts):
        by_channel[one["arguments"]["channel"]].append(one["time"])
    gaps = [later - one for times in by_channel.values() for one, later in pairwise(sorted(times))]
    assert len(by_channel) == len(CHANNELS)
    assert min(gaps) >= 0.95


def _assert_dingtalk_was_kept_to(scene: Scene) -> None:
    """By app: 20 posts and 20 changes a minute; by robot: 20 messages a minute, in bursts of five."""
    for method in (CREATE, CHANGE):
        made = _calls(scene, method)
        assert made
        assert _most_in(made, 60.0) <= APP_PER_MINUTE
    robot = [one for one in scene.playground.calls(platform="dingtalk") if "robot/send" in one["method"]]
    assert 10 <= _most_in(robot, 60.0) <= 20
    assert [one["answer"] for one in robot if one["answer"]["errcode"] != 0] == []


def _most_in(calls: Sequence[Any], window_s: float) -> int:
    """The most calls that any window of so many seconds holds."""
    times = sorted(one["time"] for one in calls)
    return max((sum(first <= at < first + window_s for at in times) for first in times), default=0)
