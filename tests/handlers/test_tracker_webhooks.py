"""The door for trackers: the same answers as for sources, and nothing is answered before it is stored."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest
from sqlalchemy import Engine, select

from bot.services.signal import Signal
from bot.services.trackers import TrackerAccess, Trackers
from bot.services.tracking import ChangeInbox
from bot.storage.tables import tracker_tasks
from handlers.webhooks import changes_of, webhooks
from integrations.jira.config import Config
from integrations.jira.webhook import JiraWebhook
from tests.fakes import FakeClock
from tests.handlers.serving import Answer, line_to, serve
from tests.jira_server import SECRET, FakeJira
from tests.services.tracker_world import TRIGGER, FakeTracker
from tests.stores import SqlStore

CONFIG = {
    "url": "https://acme.atlassian.net",
    "auth": {"method": "basic", "user": "bot@example.com", "token": "x"},
    "webhook_secret": SECRET,
}


@pytest.fixture
def jira() -> Iterator[FakeJira]:
    """Writes webhooks; nobody calls it."""
    with FakeJira() as server:
        server.add()
        yield server


@pytest.fixture
def port(store: SqlStore) -> Iterator[int]:
    """A door for the tracker jira, whose trigger wants the status Ready for Staging."""
    clock = FakeClock()
    access = TrackerAccess(FakeTracker(), triggers=(replace(TRIGGER, value="Ready for Staging"),))
    inbox = ChangeInbox(store, clock, Trackers({"jira": access}), Signal())
    sender = changes_of(JiraWebhook(Config.model_validate(CONFIG)), "jira", inbox)
    with serve([webhooks({"jira": sender}, clock, rates={"jira": 50.0})]) as opened:
        yield opened


def post(port: int, headers: dict[str, str], body: bytes) -> Answer:
    """One webhook on a connection of its own."""
    with line_to(port) as line:
        return line.ask("POST", "/webhooks/jira", headers, body)


def test_a_change_is_stored_before_it_is_answered(port: int, jira: FakeJira, database: Engine) -> None:
    """202 for a new one, 200 for one that is known, whatever it says now."""
    headers, body = jira.signed(jira.move("USER-12", "Ready for Staging"))
    answers = [post(port, headers, body) for _ in range(2)]
    assert [(answer.status, answer.said["reason"]) for answer in answers] == [(202, "accepted"), (200, "duplicate")]
    with database.connect() as connection:
        [row] = connection.execute(select(tracker_tasks)).all()
    assert (row.tracker, row.kind, row.is_open) == ("jira", "status_reached", True)
    assert row.body["issue"]["key"] == "USER-12"


def test_what_no_trigger_wants_is_acknowledged(port: int, jira: FakeJira, database: Engine) -> None:
    """Jira need not send it again, and it takes no room."""
    moved = post(port, *jira.signed(jira.move("USER-12", "In Progress")))
    assert (moved.status, moved.said["reason"]) == (200, "ignored:no_trigger")
    other = post(port, *jira.signed({"timestamp": 1, "webhookEvent": "comment_created"}))
    assert (other.status, other.said["reason"]) == (200, "ignored:comment_created")
    odd = post(port, *jira.signed({"timestamp": 1, "webhookEvent": "brand_new"}))
    assert (odd.status, odd.said["reason"]) == (202, "unknown:brand_new")
    with database.connect() as connection:
        assert connection.execute(select(tracker_tasks)).all() == []


def test_what_is_not_signed_is_refused(port: int, jira: FakeJira, database: Engine) -> None:
    """401, and 400 with the field's name for what is signed and makes no sense."""
    headers, body = jira.signed(jira.move("USER-12", "Ready for Staging"), "another-secret-of-somebody")
    assert post(port, headers, body).status == 401
    assert post(port, {}, body).status == 401
    wrong = post(port, *jira.signed({"webhookEvent": "jira:issue_updated"}))
    assert (wrong.status, "issue" in wrong.said["reason"]) == (400, True)
    with database.connect() as connection:
        assert connection.execute(select(tracker_tasks)).all() == []
