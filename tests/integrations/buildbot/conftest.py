"""A configured Buildbot source over the stand-in."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import requests

from integrations.buildbot.api import BuildbotApi
from integrations.buildbot.config import Config
from integrations.buildbot.control import BuildbotControl
from integrations.buildbot.reader import BuildbotReader
from tests.fakes import FakeClock
from tests.integrations.buildbot.stand_in import NOW, URL, StandIn, usual_answers


@pytest.fixture
def stand_in() -> StandIn:
    """A Buildbot in memory that wants a login."""
    return StandIn(usual_answers(), password="right")


@pytest.fixture
def config() -> Config:
    """One project, with credentials."""
    return Config.model_validate(
        {
            "url": URL,
            "user": "bot",
            "password": "right",
            "webhook_token": "recorded-token",
            "projects": {"user-service": {"builder": "user-service"}},
        }
    )


@pytest.fixture
def session(stand_in: StandIn) -> Iterator[requests.Session]:
    """A session that reaches the stand-in."""
    with requests.Session() as session:
        session.mount(URL, stand_in)
        yield session


@pytest.fixture
def api(session: requests.Session) -> BuildbotApi:
    """Calls as the user bot."""
    return BuildbotApi(session, URL, "bot", "right")


@pytest.fixture
def reader(config: Config, api: BuildbotApi) -> BuildbotReader:
    """The reading side."""
    return BuildbotReader("buildbot", config, api)


@pytest.fixture
def control(api: BuildbotApi, reader: BuildbotReader) -> BuildbotControl:
    """The acting side, with a clock that shows the stand-in's time."""
    return BuildbotControl("buildbot", api, reader, FakeClock(NOW))
