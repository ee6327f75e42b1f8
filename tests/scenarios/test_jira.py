"""A whole bot beside a Jira, over each engine: a signed webhook comes in at its door, and a comment comes back."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
import requests
from cryptography.fernet import Fernet
from sqlalchemy import NullPool, create_engine, select

from bot.application import Application
from bot.bootstrap import ALL_ROLES, build
from bot.settings import load
from bot.storage.tables import deployments, tokens
from handlers.schedules import Schedules
from handlers.web import WebServer
from tests.jira_server import SECRET, FakeJira
from tests.stores import MakeDatabase
from tests.waiting import wait_until

CONFIG = """
server: {listen: "127.0.0.1:0"}
sources:
  ci:
    kind: buildbot
    url: http://127.0.0.1:9
    user: shipmate
    password: "${HOOK_SECRET}"
    webhook_token: "${HOOK_SECRET}"
    projects: {deploy: {builder: deploy}}
environments: {staging: {}, production: {approvals: {needed: 1, from: release}}}
roles: {release: {members: ada@example.com, can: approve}}
services:
  user-service: {deploy: {source: ci, project: deploy}, versions: any, environments: {staging: {}, production: {}}}
trackers:
  jira:
    kind: jira
    url: ${JIRA}
    auth:
      method: refresh_token
      client_id: app
      client_secret: ${HOOK_SECRET}
      refresh_token: ${REFRESH_TOKEN}
      token_url: ${JIRA}/oauth/token
      gateway_url: ${JIRA}
    projects: USER
    webhook_secret: ${JIRA_SECRET}
    poll: 1h
    people: {5b10: "slack:U9"}
    triggers:
      - {status: In Staging, services: {USER: user-service}, environment: production}
      - {status: Ready for Staging, services: {USER: user-service}, environment: staging, dry_run: true}
"""


@pytest.fixture
def jira() -> Iterator[FakeJira]:
    """A Jira with one issue."""
    with FakeJira() as server:
        server.now = datetime.now(UTC)
        server.add(fix_versions=["1.4.2"])
        yield server


@pytest.fixture
def address(bot_database: MakeDatabase, tmp_path: Path) -> str:
    """Where the bot's database is."""
    return bot_database().get("database_url", f"sqlite:///{tmp_path / 'shipmate.db'}")


@pytest.fixture
def bot(jira: FakeJira, address: str, tmp_path: Path) -> Iterator[Application]:
    """A bot that does everything, started."""
    path = tmp_path / "shipmate.yaml"
    path.write_text(f"database_url: {address}\n{CONFIG}", encoding="utf-8")
    known = {"JIRA": jira.url, "JIRA_SECRET": SECRET, "HOOK_SECRET": "a-secret-of-32-characters-or-more"}
    known["REFRESH_TOKEN"] = "first-refresh-token"
    key = {"SHIPMATE_KEY": Fernet.generate_key().decode()}
    application = build(load(path, known), ALL_ROLES, environment=key)
    application.start(threading.Event())
    yield application
    assert application.stop()


def test_a_webhook_comes_in_and_a_comment_comes_back(jira: FakeJira, bot: Application, address: str) -> None:
    """Stored, answered, looked at again, and told; by a token that is stored encrypted."""
    (door,) = bot.doors
    assert isinstance(door, WebServer)
    headers, body = jira.signed(jira.move("USER-12", "Ready for Staging"))
    url = f"http://127.0.0.1:{door.port}/webhooks/jira"
    answers = [requests.post(url, data=body, headers=headers, timeout=30) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [202, 200]
    wait_until(lambda: jira.texts("USER-12"), "a comment")
    assert "I would deploy user-service 1.4.2 to staging." in jira.texts("USER-12")[0]
    assert jira.refresh_tokens == ["first-refresh-token", "refresh-1"]
    with create_engine(address, poolclass=NullPool).connect() as database:
        [value] = database.scalars(select(tokens.c.value))
    assert b"refresh-1" not in value
    metrics = requests.get(f"http://127.0.0.1:{door.port}/metrics", timeout=30).text
    assert 'shipmate_tracker_tasks_total{kind="status_reached",outcome="done",tracker="jira"}' in metrics


def test_who_moved_it_is_who_the_file_says(jira: FakeJira, bot: Application, address: str) -> None:
    """Whoever may approve it, they may not."""
    (door,) = bot.doors
    assert isinstance(door, WebServer)
    headers, body = jira.signed(jira.move("USER-12", "In Staging"))
    requests.post(f"http://127.0.0.1:{door.port}/webhooks/jira", data=body, headers=headers, timeout=30)
    snapshot = select(deployments.c.snapshot)
    with create_engine(address, poolclass=NullPool, isolation_level="AUTOCOMMIT").connect() as database:
        wait_until(lambda: list(database.scalars(snapshot)), "a deployment")
        [filed] = database.scalars(snapshot)
    assert filed["requester"] == {"account": "slack:U9", "name": "Ada Nowak"}


def test_a_tracker_is_polled_by_the_clock(bot: Application) -> None:
    """As often as its section says."""
    schedules = next(part for part in bot._parts if isinstance(part, Schedules))
    assert schedules._tasks["poll:jira"][0] == 3600.0
