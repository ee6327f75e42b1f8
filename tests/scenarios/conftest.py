"""What scenarios run against: one bot and playground a worker for most, fresh ones where a test breaks something.

They run on both engines, but for those in which the engine has no part: these say so.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from playground import world
from playground.server import Playground
from tests.scenarios.running import Scene, a_playground, scene_of
from tests.stores import MakeDatabase

ALICE, ZHANG_MIN = "slack:U024ALICE01", "dingtalk:manager4220"
EXTRA_CHANNELS = ("#other", "#third")


def configuration(playground: Playground, **sections: Any) -> dict[str, Any]:
    """A bot without budgets, whose projects lead to destinations by the first word of their names.

    `web-…` goes to #ci and 研发群, `ops-…` to the custom robot's group, `lost-…` to a channel without the bot and to
    another with it, `late-…` to #other and #third, and `quiet-…` nowhere.
    """
    url = playground.url
    lifted = {"lifted": True}
    robot = {"webhook_url": "${DINGTALK_ROBOT_URL}", "secret": "${DINGTALK_ROBOT_SECRET}"}
    slack = {"mode": "socket", "bot_token": "${SLACK_BOT_TOKEN}", "app_token": "${SLACK_APP_TOKEN}"}
    dingtalk = {"client_id": "${DINGTALK_CLIENT_ID}", "client_secret": "${DINGTALK_CLIENT_SECRET}"}
    return {
        "progress_interval_s": 0,
        "platforms": {
            "slack": {**slack, "api_url": f"{url}/slack/api/", "budgets": lifted},
            "dingtalk": {
                **dingtalk,
                "card_template_id": world.DINGTALK_TEMPLATE,
                "corp_id": world.DINGTALK_CORP,
                "api_url": f"{url}/dingtalk/api",
                "oapi_url": f"{url}/dingtalk/oapi",
                "budgets": lifted,
            },
        },
        "destinations": {
            "ci": {"slack": "#ci"},
            "other": {"slack": "#other"},
            "third": {"slack": "#third"},
            "random": {"slack": "C024RANDOM3"},  # by id: a name is looked for where the bot is
            "dev-group": {"dingtalk": {"group": world.DINGTALK_GROUP}, "locale": "zh-CN"},
            "ops-group": {"dingtalk": {"robot": robot}, "locale": "zh-CN"},
        },
        "sources": {
            "generic": {"kind": "generic", "secrets": [{"file": "secrets/generic"}]},
            # A Buildbot that tells and cannot be asked: nothing listens at its address.
            "buildbot": {
                "kind": "buildbot",
                "url": "http://127.0.0.1:9",
                "webhook_token": {"file": "secrets/buildbot-token"},
                "projects": {"user-service": {"builder": "user-service"}},
            },
        },
        "routes": [
            {
                "match": {"project": "web-*"},
                "to": ["ci", "dev-group"],
                "mention": [ALICE, ZHANG_MIN],
                "thread_log": True,
            },
            {"match": {"project": "ops-*"}, "to": ["ops-group"], "mention": [ZHANG_MIN]},
            {"match": {"project": "lost-*"}, "to": ["random", "other"]},
            {"match": {"project": "late-*"}, "to": ["other", "third"]},
        ],
        "roles": {"deployer": {"members": [ALICE, ZHANG_MIN], "can": ["retry", "cancel", "run", "subscribe", "mute"]}},
        **sections,
    }


@pytest.fixture(scope="session")
def scene(bot_database: MakeDatabase, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    """One bot and one playground for all tests that leave both as they found them; neither has budgets."""
    with a_playground(budgets=False, extra_channels=EXTRA_CHANNELS) as playground:
        settings = configuration(playground, **bot_database())
        with scene_of(tmp_path_factory.mktemp("scene"), playground, settings) as running:
            yield running


@pytest.fixture
def no_faults(scene: Scene) -> Iterator[Scene]:
    """The shared scene, whose faults and options end with the test."""
    yield scene
    scene.playground.client.faults()


@pytest.fixture
def start(bot_database: MakeDatabase, tmp_path: Path) -> Iterator[Callable[..., Scene]]:
    """Starts a bot and a playground of the test's own; `options` are the playground's, sections the bot's."""
    with ExitStack() as stack:

        def start_one(options: dict[str, Any] | None = None, **sections: Any) -> Scene:
            given = {"budgets": False, "extra_channels": EXTRA_CHANNELS, **(options or {})}
            playground = stack.enter_context(a_playground(**given))
            settings = configuration(playground, **bot_database(), **sections)
            return stack.enter_context(scene_of(tmp_path, playground, settings))

        yield start_one
