"""DingTalk as the playground speaks it, and the platform built against it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import requests

from bot.system import SystemClock
from integrations.dingtalk import SPEC
from integrations.dingtalk.config import Config, Destination
from integrations.spec import Platform
from playground import world
from playground.options import Options
from playground.server import Playground

TEMPLATE = Path(__file__).parents[3] / "integrations" / "dingtalk" / "card_template.json"
Build = Callable[..., Platform]


@pytest.fixture(scope="module")
def running() -> Iterator[Playground]:
    """One playground for a module's tests."""
    with Playground(Options(port=0, dingtalk_templates=(str(TEMPLATE),))) as started:
        yield started


@pytest.fixture
def playground(running: Playground) -> Playground:
    """The playground, empty."""
    running.client.reset()
    running.client.faults()
    return running


@pytest.fixture
def config(playground: Playground) -> Config:
    """An app robot with the shipped card template."""
    return Config.model_validate(
        {
            "client_id": world.DINGTALK_CLIENT_ID,
            "client_secret": world.DINGTALK_CLIENT_SECRET,
            "card_template_id": world.DINGTALK_TEMPLATE,
            "api_url": f"{playground.url}/dingtalk/api",
            "oapi_url": f"{playground.url}/dingtalk/oapi",
        }
    )


@pytest.fixture
def destinations(playground: Playground) -> dict[str, Destination]:
    """A group of the app robot, one it is not in, and a custom robot under two names."""
    url = f"{playground.url}/dingtalk/oapi/robot/send?access_token={world.DINGTALK_ROBOT_TOKEN}"
    robot = {"webhook_url": url, "secret": world.DINGTALK_ROBOT_SECRET}
    return {
        "dev": Destination.model_validate({"group": world.DINGTALK_GROUP}),
        "elsewhere": Destination.model_validate({"group": world.DINGTALK_OPS_GROUP}),
        "ops": Destination.model_validate({"robot": robot}),
        "operations": Destination.model_validate({"robot": robot}),
    }


@pytest.fixture
def build(config: Config, destinations: dict[str, Destination], session: requests.Session) -> Build:
    """Builds the platform, with changes to its configuration."""

    def build_with(**changes: object) -> Platform:
        changed = Config.model_validate({**config.model_dump(), **changes})
        return SPEC.build(changed, destinations, session, SystemClock())

    return build_with
