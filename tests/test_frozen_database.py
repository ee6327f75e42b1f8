"""A PostgreSQL whose host is there and whose processes stand still: what was asked of it comes to no end."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from time import time

import pytest
import requests
from cryptography.fernet import Fernet
from sqlalchemy.engine import make_url

from bot import look
from bot.bootstrap import build
from bot.settings import load
from bot.signatures import sign
from bot.storage import groups
from handlers.web import WebServer
from tests.faults.proxy import FaultProxy, Kind, fault
from tests.jira_server import FakeJira
from tests.postgres_server import Cluster
from tests.waiting import wait_until

pytestmark = pytest.mark.postgres
SECRET = "nightly-secret-of-32-characters"
ROLES = ("web", "worker", "stream", "clock")
ROUNDS = 8  # more than there are threads
PATIENCE_S = 30.0
CONFIG = """
server: {{listen: "127.0.0.1:0", metrics_listen: "127.0.0.1:0", threads: 2}}
database_url: "postgresql+psycopg://shipmate@127.0.0.1:{port}/{database}"
sources:
  nightly: {{kind: generic, secrets: "${{NIGHTLY_SECRET}}"}}
  ci: {{kind: buildbot, url: "http://127.0.0.1:9", webhook_token: "${{NIGHTLY_SECRET}}"}}
"""
TRACKER = """
environments: {staging: {}}
services:
  user-service:
    deploy: {source: ci, project: user-service}
    versions: any
    environments: {staging: {}}
trackers:
  jira:
    kind: jira
    url: "https://acme.atlassian.net"
    auth: {method: basic, user: bot@example.com, token: "${NIGHTLY_SECRET}"}
    projects: USER
    webhook_secret: "${NIGHTLY_SECRET}"
    triggers: [{labels: {ship: user-service}, environment: staging, version: v1}]
"""


@pytest.fixture
def server(postgres: Cluster) -> Iterator[FaultProxy]:
    """The way to the server of this pytest process."""
    with FaultProxy(f"{postgres.folder}/.s.PGSQL.5432", is_http=False) as proxy:
        yield proxy


@contextmanager
def running(path: Path, role: str) -> Iterator[str]:
    """A process of one role, ready; the address of its door."""
    environment = {"SHIPMATE_KEY": Fernet.generate_key().decode(), "NIGHTLY_SECRET": SECRET}
    application = build(load(path, environment), frozenset({role}), environment=environment)
    (door,) = application.doors
    assert isinstance(door, WebServer)
    application.start(threading.Event())
    url = f"http://127.0.0.1:{door.port}"
    try:
        wait_until(lambda: ask(url, "readyz").status_code == 200)
        yield url
    finally:
        assert application.stop()


def ask(url: str, page: str) -> requests.Response:
    """A page, by whoever watches."""
    return requests.get(f"{url}/{page}", timeout=PATIENCE_S)


def tell(url: str, number: int) -> requests.Response:
    """Say that a build started."""
    body = json.dumps({"event": "build.started", "project": "user-service", "number": number}).encode()
    at, name = int(time()), f"msg-{number}"
    headers = {"webhook-id": name, "webhook-timestamp": str(at), "webhook-signature": sign(SECRET, name, at, body)}
    return requests.post(f"{url}/webhooks/nightly", data=body, headers=headers, timeout=PATIENCE_S)


def label(url: str) -> requests.Response:
    """Say that an issue got a label."""
    with FakeJira() as jira:
        jira.now = datetime.now(UTC)
        jira.add()
        headers, body = jira.signed(jira.label("USER-12", "ship"), SECRET)
    return requests.post(f"{url}/webhooks/jira", data=body, headers=headers, timeout=PATIENCE_S)


def test_a_server_that_stands_still_stops_no_page(
    server: FaultProxy, postgres_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In every role who watches is answered, again and again, and whoever tells of a build is told to come again."""
    config = CONFIG.format(port=server.port, database=make_url(postgres_url).database)
    path = tmp_path / "shipmate.yaml"
    path.write_text(config, encoding="utf-8")
    with ExitStack() as stack:
        urls = {role: stack.enter_context(running(path, role)) for role in ROLES}
        assert tell(urls["web"], 0).status_code == 202
        with monkeypatch.context() as patch, server.broken(fault(Kind.HOLD)):
            patch.setattr(look, "LOOK_S", 0.1)
            patch.setattr(groups, "LONGEST_WAIT_S", 0.1)
            patch.setattr(groups, "WRITE_DEADLINE_S", 0.2)
            for url in urls.values():
                watch(url)
            for number in range(ROUNDS):
                answer = tell(urls["web"], number + 1)
                assert (answer.status_code, answer.headers["Retry-After"].isdigit()) == (503, True)
            assert ask(urls["web"], "healthz").status_code == 200
        for url in urls.values():
            wait_until(lambda url=url: ask(url, "readyz").status_code == 200)  # type: ignore[misc]  # bound now
        wait_until(lambda: tell(urls["web"], 1).status_code in (200, 202))


def test_a_tracker_is_told_to_come_again(
    server: FaultProxy, postgres_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As sources are: the first one whose write is under way, too, and no thread is kept by any of them."""
    config = CONFIG.format(port=server.port, database=make_url(postgres_url).database)
    path = tmp_path / "shipmate.yaml"
    path.write_text(config + TRACKER, encoding="utf-8")
    with running(path, "web") as url:
        with monkeypatch.context() as patch, server.broken(fault(Kind.HOLD)):
            patch.setattr(groups, "LONGEST_WAIT_S", 0.1)
            patch.setattr(groups, "WRITE_DEADLINE_S", 0.2)
            for _ in range(ROUNDS):
                answer = label(url)
                assert (answer.status_code, answer.headers["Retry-After"].isdigit()) == (503, True)
        wait_until(lambda: label(url).status_code in (200, 202))


def watch(url: str) -> None:
    """All pages, as often as would take all threads if each kept one."""
    for _ in range(ROUNDS):
        assert "shipmate_attempts_total" in ask(url, "metrics").text
        ready = ask(url, "readyz")
        assert (ready.status_code, ready.text.splitlines()[0]) == (503, "the database does not answer")
        assert ask(url, "healthz").text == "ok\n"
