"""Slack as the playground speaks it, and the platform built against it."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
import requests

from bot.ports import Clock
from bot.system import SystemClock
from integrations.slack import SPEC
from integrations.slack.config import SlackConfig
from integrations.slack.manifest import SCOPES
from integrations.spec import Platform
from playground import world
from playground.options import Options
from playground.server import Playground

Build = Callable[..., Platform]


@pytest.fixture(scope="module")
def running() -> Iterator[Playground]:
    """One playground for a module's tests."""
    with Playground(Options(port=0, slack_mode="http", bot_url="http://127.0.0.1:9")) as started:
        yield started


@pytest.fixture
def playground(running: Playground) -> Playground:
    """The playground, empty and unlimited, granting no more than the manifest's scopes."""
    running.client.reset()
    running.client.faults()
    running.client.options(budgets=False, slack_scopes=list(SCOPES))
    return running


@pytest.fixture
def build(playground: Playground, session: requests.Session) -> Build:
    """Builds the platform, with changes to its configuration."""

    def build_with(clock: Clock | None = None, **changes: object) -> Platform:
        settings: dict[str, object] = {
            "bot_token": world.SLACK_BOT_TOKEN,
            "app_token": world.SLACK_APP_TOKEN,
            "api_url": f"{playground.url}/slack/api",
        }
        return SPEC.build(SlackConfig.model_validate(settings | changes), {}, session, clock or SystemClock())

    return build_with
