"""Several processes of every kind over one database: the same scenarios, and nothing happens twice.

One web door, two streams, two workers and two clocks, on both engines.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.postgres_server import Cluster, cluster
from tests.scenarios.conftest import EXTRA_CHANNELS, configuration
from tests.scenarios.fleet import Fleet
from tests.scenarios.running import CI, DEV_GROUP, PATIENCE_S, Scene, a_playground, fresh, scene_of
from tests.scenarios.test_cards import (  # noqa: F401 - run here too, over the fleet
    test_a_card_goes_from_running_to_failed_in_place,
    test_a_custom_robot_gets_an_opening_and_a_final_post,
    test_success_after_failure_is_called_fixed,
)
from tests.scenarios.test_conversations import (  # noqa: F401 - the same
    test_a_channel_subscribes_and_mutes,
    test_a_mention_works_like_the_slash_command,
    test_a_sent_again_envelope_is_answered_once,
)
from tests.stores import ENGINES

pytestmark = pytest.mark.slow
STREAMS = 2


@contextmanager
def fleet_scene(
    server: Cluster | None,
    folder: Path,
    roles: tuple[str, ...] | None = None,
    sections: dict[str, Any] | None = None,
    **options: Any,
) -> Iterator[Scene]:
    """A fleet over a database of a server, or SQLite's, beside a playground; `sections` replace the settings'."""
    sections = dict(sections or {})
    if server is not None:
        sections["database_url"] = server.url(server.fresh())
    with a_playground(**{"budgets": False, "extra_channels": EXTRA_CHANNELS, **options}) as playground:
        settings = {**configuration(playground), **sections}
        kind: Any = partial(Fleet, roles=roles) if roles else Fleet
        with scene_of(folder, playground, settings, kind=kind) as running:
            yield running


@pytest.fixture(scope="module", params=ENGINES)
def scene(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    """One fleet an engine for the tests of this module, those imported above included."""
    server = request.getfixturevalue("postgres") if request.param == "postgres" else None
    with fleet_scene(server, tmp_path_factory.mktemp("fleet")) as running:
        running.eventually(lambda: _connections(running) == [STREAMS, STREAMS], "two connections to each platform")
        yield running


def _connections(scene: Scene) -> list[int]:
    platforms = scene.playground.state(recent=1)["platforms"]
    return [platforms[name]["connections"] for name in ("slack", "dingtalk")]


def test_what_two_streams_hear_is_done_once(scene: Scene) -> None:
    """Each line is heard by one of two connections, and again by the other: it is stored and done once."""
    project = fresh("web")
    scene.tell(project, 1, "started")
    scene.card(CI, f"{project} #1")
    for _ in range(4):
        before = len(scene.audit("mute", project))
        scene.ask(CI, f"/ship mute {project}", "🔕")
        assert scene.playground.act(platform="slack", redeliver=True)["ok"]
        scene.eventually(lambda seen=before: len(scene.audit("mute", project)) > seen, "the audit entry")
    scene.ask(DEV_GROUP, f"@Shipmate 静音 {project}", "🔕")
    assert scene.playground.act(platform="dingtalk", redeliver=True)["ok"]
    scene.all_answered()
    assert len(scene.audit("mute", project)) == 5


def test_workers_make_each_card_once(scene: Scene) -> None:
    """Forty builds at once: the platforms were asked for one post a card, and show the final state of each."""
    project = fresh("web")
    for number in range(1, 41):
        assert scene.tell(project, number, "started").status_code == 202
    for number in range(1, 41):
        assert scene.tell(project, number, "finished", status="success").status_code == 202

    def all_done() -> bool:
        shown = [one["text"] for one in scene.messages(CI) if project in one["text"]]
        return len(shown) == 40 and all("✅" in text for text in shown)

    scene.eventually(all_done, "forty final cards", 2 * PATIENCE_S)
    posts = Counter(
        word for call in scene.calls("chat.postMessage", project) for word in _titles(call["arguments"], project)
    )
    assert posts == {f"{project} #{number}": 1 for number in range(1, 41)}
    workers = {path.name for path in scene.bot.folder.glob("worker-*.log") if project in path.read_text("utf-8")}
    assert len(workers) == 2


def _titles(arguments: Any, project: str) -> set[str]:
    words = json.dumps(arguments)
    return {f"{project} #{number}" for number in range(1, 41) if f"{project} #{number} " in words.replace('"', " ")}


def test_the_audit_trail_is_chained_though_one_clock_died(scene: Scene) -> None:
    """Of two clocks one leads; when it is killed the other one goes on chaining."""
    fleet = scene.bot
    assert isinstance(fleet, Fleet)
    project = fresh("web")
    scene.tell(project, 1, "started")
    scene.card(CI, f"{project} #1")
    scene.ask(CI, f"/ship mute {project}", "🔕")
    scene.eventually(scene.is_audit_sealed, "the trail to be chained")
    is_led = "postgres" in fleet.database
    if is_led:
        assert fleet.said("leading ") == 1
    fleet.kill("clock", "leading " if is_led else "")
    scene.ask(CI, f"/ship subscribe {project}", "🔔")
    scene.eventually(scene.is_audit_sealed, "the trail to be chained by the other clock")


@pytest.mark.postgres
def test_a_server_that_restarts_is_come_back_to(tmp_path: Path) -> None:
    """While the database is away the door says so and people wait; then all goes on, and nothing is doubled."""
    roles = ("web", "stream", "worker", "clock")
    with (
        cluster("fsync=on", "synchronous_commit=on") as server,
        fleet_scene(server, tmp_path, roles) as scene,
    ):
        project = fresh("web")
        scene.tell(project, 1, "started")
        card = scene.card(CI, f"{project} #1", "running")
        scene.recorded(project)
        server.stop("immediate")
        assert scene.tell(project, 1, "finished", status="success").status_code == 503
        server.start()
        scene.eventually(lambda: scene.tell(project, 1, "finished", status="success").ok, "the door to accept")
        assert scene.card(CI, f"{project} #1", "✅")["id"] == card["id"]
        scene.ask(CI, f"/ship mute {project}", "🔕")
        scene.eventually(scene.is_audit_sealed, "the trail to be chained")
        assert len(scene.calls("chat.postMessage", project)) == 1
