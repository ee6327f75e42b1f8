"""A configured Jira over the stand-in."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
import requests

from bot.errors import StorageUnavailable
from bot.ports.trackers import StoredToken
from integrations.jira.client import JiraTracker
from integrations.jira.config import Config
from integrations.jira.tracker import build_tracker
from integrations.spec import IssueTracker
from tests.fakes import FakeClock
from tests.jira_server import SECRET, TOKEN, USER, FakeJira

BASIC = {"method": "basic", "user": USER, "token": TOKEN}


@dataclass
class FakeTokens:
    """Tokens in memory; `is_taken` plays another process that renews one now, `is_away` a database that is away."""

    tokens: dict[str, StoredToken] = field(default_factory=dict)
    is_taken: bool = False
    loses: int = 0
    is_away: bool = False

    def read(self, name: str) -> StoredToken | None:
        """See `TokenStore`."""
        return self.tokens.get(name)

    def hold(self, name: str, *, seconds: float) -> StoredToken | None:
        """See `TokenStore`."""
        if self.is_taken:
            return None
        self.is_taken = True
        known = self.tokens.get(name, StoredToken("", 0.0))
        return replace(known, rank=known.rank + 1)

    def replace(self, name: str, held: StoredToken, value: str, expires_at: float) -> bool:
        """See `TokenStore`."""
        if self.is_away:
            raise StorageUnavailable("away")
        self.is_taken = False
        if self.loses:
            self.loses -= 1
            return False
        self.tokens[name] = StoredToken(value, expires_at, held.rank)
        return True


@pytest.fixture
def jira() -> Iterator[FakeJira]:
    """A Jira Cloud with one issue; at its end nothing may have been against Atlassian's specification."""
    with FakeJira() as server:
        server.add()
        yield server


@pytest.fixture
def data_center() -> Iterator[FakeJira]:
    """A Jira Data Center with one issue."""
    with FakeJira("data_center") as server:
        server.add()
        yield server


@pytest.fixture
def clock() -> FakeClock:
    """The time of the stand-in's start."""
    return FakeClock()


@pytest.fixture
def tokens() -> FakeTokens:
    """No token yet."""
    return FakeTokens()


Connect = Callable[..., IssueTracker]


@pytest.fixture
def connect(session: requests.Session, clock: FakeClock, tokens: FakeTokens) -> Connect:
    """Make a tracker of a stand-in, with settings of its own."""

    def make(server: FakeJira, *, watches_releases: bool = False, **settings: Any) -> IssueTracker:
        known = {"url": server.url, "edition": server.edition, "auth": BASIC, "webhook_secret": SECRET}
        config = Config.model_validate({**known, "projects": ["USER", "PAY"], **settings})
        return build_tracker("jira", config, session, clock, tokens, watches_releases)

    return make


@pytest.fixture
def tracker(connect: Connect, jira: FakeJira) -> JiraTracker:
    """The client of the cloud edition."""
    made = connect(jira).tracker
    assert isinstance(made, JiraTracker)
    return made
