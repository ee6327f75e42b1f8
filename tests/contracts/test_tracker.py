"""What every tracker promises to the services, and what the stand-in in their tests promises too."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from bot.domain.cards import Paragraph, text
from bot.domain.issues import ChangeKind, IssueChange, RemoteLink
from bot.errors import DestinationGone
from bot.ports.trackers import Tracker
from integrations.azure_boards.config import Config as BoardsConfig
from integrations.azure_boards.tracker import build_tracker as build_boards
from integrations.jira.config import Config as JiraConfig
from integrations.jira.tracker import build_tracker as build_jira
from integrations.tokens import TokenShelf
from integrations.transport import open_session
from tests import boards_server, jira_server
from tests.fakes import EPOCH, FakeClock
from tests.services.tracker_world import ISSUE, FakeTracker

MARKER = "Shipmate user-service#7 succeeded 1795234072"
SAID = (Paragraph(text("Deployed 1.4.2")),)
LINK = RemoteLink("deployment:7", "https://ci.example.com/7", "user-service 1.4.2 → staging", "succeeded", is_done=True)


@dataclass
class Held:
    """A tracker with one issue: its key, a key that nobody has, two statuses, and a person's hand to move it."""

    tracker: Tracker
    key: str
    unknown: str
    first: str
    second: str
    move: Callable[[str, datetime], None]
    comments: Callable[[], int]


def fake(_stack: ExitStack) -> Held:
    """The stand-in of the services' tests."""
    tracker = FakeTracker()

    def move(status: str, at: datetime) -> None:
        tracker.issues[ISSUE.key] = replace(ISSUE, status=status)
        key = f"changelog:{len(tracker.changed)}:status"
        tracker.changed.append(IssueChange(ChangeKind.STATUS_REACHED, key, status, at, ISSUE))

    def comments() -> int:
        return sum(call[0] == "comment" for call in tracker.calls)

    return Held(tracker, ISSUE.key, "USER-99", ISSUE.status, "Done", move, comments)


def jira(stack: ExitStack, edition: str) -> Held:
    """A Jira over HTTP."""
    server = stack.enter_context(jira_server.FakeJira(edition))
    session = stack.enter_context(open_session())
    clock = FakeClock(EPOCH + timedelta(minutes=5))
    auth = {"method": "basic", "user": jira_server.USER, "token": jira_server.TOKEN}
    config = JiraConfig.model_validate({"url": server.url, "edition": edition, "auth": auth, "projects": ["USER"]})
    server.add()
    server.now = clock.now()

    def move(status: str, at: datetime) -> None:
        server.now = at
        server.move("USER-12", status)
        server.now = clock.now()

    tracker = build_jira("jira", config, session, clock, TokenShelf(), False).tracker
    return Held(tracker, "USER-12", "USER-99", "To Do", "Closed", move, lambda: len(server.issues["USER-12"].comments))


def boards(stack: ExitStack) -> Held:
    """A project of Azure Boards over HTTP."""
    server = stack.enter_context(boards_server.FakeBoards())
    session = stack.enter_context(open_session())
    known: dict[str, Any] = {"url": server.organization, "project": "Shop", "token": boards_server.TOKEN}
    server.add()

    def move(status: str, at: datetime) -> None:
        server.now = at
        server.change(12, state=status)

    config = BoardsConfig.model_validate(known)
    tracker = build_boards("boards", config, session, FakeClock(), TokenShelf(), False).tracker
    return Held(tracker, "AB#12", "AB#99", "New", "Closed", move, lambda: len(server.items[12].comments))


MAKERS: dict[str, Callable[[ExitStack], Held]] = {
    "fake": fake,
    "jira-cloud": lambda stack: jira(stack, "cloud"),
    "jira-data-center": lambda stack: jira(stack, "data_center"),
    "azure-boards": boards,
}


@pytest.fixture(params=MAKERS)
def held(request: pytest.FixtureRequest) -> Iterator[Held]:
    """Each tracker in turn."""
    with ExitStack() as stack:
        yield MAKERS[request.param](stack)


def test_an_issue_is_read_as_it_stands(held: Held) -> None:
    """By its key, which it has."""
    issue = held.tracker.issue(held.key)
    assert (issue.key, issue.status) == (held.key, held.first)
    assert issue.title


def test_an_issue_that_is_not_there_is_gone(held: Held) -> None:
    """Whoever asks for it is told so."""
    with pytest.raises(DestinationGone):
        held.tracker.issue(held.unknown)


def test_it_is_moved_once(held: Held) -> None:
    """The second time it is there already, and nothing is said."""
    assert held.tracker.transition(held.key, held.second, SAID, MARKER) is True
    assert held.tracker.issue(held.key).status == held.second
    assert held.tracker.transition(held.key, held.second, SAID, MARKER) is False
    assert held.comments() == 1


def test_what_was_passed_on_is_not_taken_back(held: Held) -> None:
    """Who asks again whether it was moved, for that was never noted, leaves it where somebody moved it since."""
    held.tracker.transition(held.key, held.second, SAID, MARKER)
    held.move(held.first, EPOCH + timedelta(minutes=1))
    assert held.tracker.transition(held.key, held.second, SAID, MARKER) is False
    assert held.tracker.issue(held.key).status == held.first
    assert held.comments() == 1


def test_a_comment_is_found_by_its_marker(held: Held) -> None:
    """Also the one that a transition left."""
    held.tracker.transition(held.key, held.second, SAID, MARKER)
    assert held.tracker.comment(held.key, SAID, MARKER) is False
    assert held.tracker.comment(held.key, SAID, f"{MARKER} again") is True
    assert held.tracker.comment(held.key, SAID, f"{MARKER} again") is False
    assert held.comments() == 2


def test_a_link_may_be_made_again(held: Held) -> None:
    """It replaces the one before."""
    held.tracker.link(held.key, LINK)
    held.tracker.link(held.key, replace(LINK, summary="rolled back", is_done=False))


def test_changes_are_told_since_then(held: Held) -> None:
    """Each with the same key every time it is asked for; what was before is left out."""
    held.move(held.second, EPOCH + timedelta(minutes=1))
    held.move(held.first, EPOCH + timedelta(minutes=3))
    found = [held.tracker.changes(EPOCH + timedelta(minutes=2)) for _ in range(2)]
    assert [(change.kind, change.value) for change in found[0]] == [(ChangeKind.STATUS_REACHED, held.first)]
    assert [change.key for change in found[0]] == [change.key for change in found[1]]
