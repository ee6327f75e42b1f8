"""Asking Jira what changed: the same changes, by the same keys, as its webhooks tell."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from bot.domain.issues import ChangeKind
from bot.errors import Unavailable
from integrations.jira import client
from integrations.jira.client import JiraTracker
from tests.fakes import EPOCH, FakeClock
from tests.integrations.jira.conftest import Connect
from tests.jira_server import FakeJira


def advance(jira: FakeJira, clock: FakeClock, seconds: float) -> None:
    """Let time pass on both clocks."""
    clock.advance(seconds)
    jira.now = clock.now()


def test_what_changed_is_found_with_the_keys_of_its_webhooks(
    jira: FakeJira, tracker: JiraTracker, connect: Connect, clock: FakeClock
) -> None:
    """A change that is told both ways is one change."""
    advance(jira, clock, 3600)
    since = clock.now()
    bodies = [jira.move("USER-12", "Ready for Staging")]
    advance(jira, clock, 60)
    bodies += [jira.label("USER-12", "deploy-a")]
    advance(jira, clock, 60)
    jira.add("USER-13", labels=["deploy-b"])
    bodies += [jira.created("USER-13")]
    webhook = connect(jira).webhook
    told = [change for body in bodies for change in webhook.receive(*jira.signed(body), EPOCH).changes]
    found = tracker.changes(since)
    assert [(change.key, change.value, change.occurred_at) for change in found] == [
        (change.key, change.value, change.occurred_at) for change in told
    ]
    assert [change.account for change in found] == ["jira:5b10"] * 4


def test_what_changed_before_is_left_out(jira: FakeJira, tracker: JiraTracker, clock: FakeClock) -> None:
    """An issue that changed since then has an older history too."""
    jira.move("USER-12", "In Progress")
    advance(jira, clock, 600)
    since = clock.now()
    jira.move("USER-12", "Closed")
    assert [change.value for change in tracker.changes(since)] == ["Closed"]


def test_an_issue_is_told_as_it_was_born(jira: FakeJira, tracker: JiraTracker, clock: FakeClock) -> None:
    """Its first status and labels are found by going back through what happened since."""
    jira.add("USER-13", labels=["deploy-a"])
    advance(jira, clock, 30)
    jira.move("USER-13", "Closed")
    jira.label("USER-13", "deploy-b")
    found = [(change.kind, change.value) for change in tracker.changes(EPOCH) if change.target == "USER-13"]
    assert found == [
        (ChangeKind.STATUS_REACHED, "To Do"),
        (ChangeKind.LABEL_ADDED, "deploy-a"),
        (ChangeKind.STATUS_REACHED, "Closed"),
        (ChangeKind.LABEL_ADDED, "deploy-b"),
    ]


def test_all_pages_are_read(jira: FakeJira, tracker: JiraTracker, clock: FakeClock) -> None:
    """By the token of the page before, and what changed meanwhile; only the configured projects are asked about."""
    for number in range(20, 25):
        jira.add(f"USER-{number}")
    jira.add("PAY-1")
    assert len(tracker.changes(EPOCH)) == 7
    asked = [call.body for call in jira.calls if call.path.endswith("search/jql")]
    assert [body.get("nextPageToken") for body in asked] == [None, "2", "4", "6"] * 2
    assert asked[0]["jql"] == 'project in ("USER", "PAY") AND updated >= -1m ORDER BY updated DESC'
    assert "startAt" not in asked[0]


def test_pages_without_end_are_given_up(jira: FakeJira, tracker: JiraTracker, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits for ever; the next poll asks again."""
    monkeypatch.setattr(client, "MOST_PAGES", 2)
    for number in range(20, 28):
        jira.add(f"USER-{number}")
    with pytest.raises(Unavailable):
        tracker.changes(EPOCH)


def test_what_we_wrote_is_found_before_the_index_has_it(jira: FakeJira, tracker: JiraTracker, clock: FakeClock) -> None:
    """The search follows slowly: issues that we moved are reconciled."""
    advance(jira, clock, 3600)
    since = clock.now()
    jira.indexed_until = since - timedelta(seconds=1)
    assert tracker.transition("USER-12", "Closed")
    assert [change.value for change in tracker.changes(since)] == ["Closed"]
    asked = jira.calls[-1].body
    assert asked["reconcileIssues"] == [jira.issues["USER-12"].id]


def test_data_center_is_searched_the_old_way(connect: Connect, data_center: FakeJira, clock: FakeClock) -> None:
    """By numbers of rows, without tokens."""
    for number in range(20, 24):
        data_center.add(f"USER-{number}")
    tracker = connect(data_center).tracker
    assert len(tracker.changes(EPOCH)) == 5
    asked = [call.body for call in data_center.calls if call.path == "/rest/api/2/search"]
    assert [body.get("startAt", 0) for body in asked] == [0, 2, 4] * 2
    assert "reconcileIssues" not in asked[0]


def test_an_issue_that_changes_between_two_pages_hides_no_other(
    connect: Connect, data_center: FakeJira, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pages are counted by rows: one that moves to the other end, for the next poll, pushes nothing off a page."""
    for number in range(20, 25):
        advance(data_center, clock, 1)
        data_center.add(f"USER-{number}")
    search = data_center._search

    def busy(body: Any) -> Any:
        """Answer, then let somebody change the issue that changed first."""
        answer = search(body)
        data_center.now += timedelta(seconds=1)
        if len(data_center.calls) <= 3:
            data_center.label(min(data_center.issues.values(), key=lambda issue: issue.updated).key, "busy")
        return answer

    monkeypatch.setattr(data_center, "_search", busy)
    found = connect(data_center).tracker.changes(EPOCH)
    unchanged = {key for key, issue in data_center.issues.items() if not issue.labels}
    assert unchanged
    assert unchanged <= {change.target for change in found}


@pytest.mark.parametrize("edition", ["cloud", "data_center"])
def test_an_issue_that_changes_between_two_pages_hides_nothing_of_its_own(
    connect: Connect, edition: str, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It moves to a page that was read: what happened to it before is too long ago for the next poll to tell."""
    with FakeJira(edition=edition) as jira:
        for number in range(20, 25):
            jira.add(f"USER-{number}")
        advance(jira, clock, 60)
        since = clock.now()
        for key in jira.issues:
            jira.move(key, "In Progress")
            advance(jira, clock, 600)
        search, pages = jira._search, list[Any]()

        def busy(body: Any) -> Any:
            """Answer, and let somebody change the issue that changed first while the first page is read."""
            answer = search(body)
            if not pages:
                jira.label("USER-20", "busy")
            pages.append(answer)
            return answer

        monkeypatch.setattr(jira, "_search", busy)
        found = [change for change in connect(jira).tracker.changes(since) if change.value == "In Progress"]
        assert sorted(change.target for change in found) == [f"USER-{number}" for number in range(20, 25)]
        assert len(pages) == 4


def test_released_versions_are_told_where_a_trigger_wants_them(connect: Connect, jira: FakeJira) -> None:
    """All that are released, each time: which of them are new, who asks must know."""
    body = jira.release("2.0", "PAY")
    jira.versions["PAY"].append({**jira.versions["PAY"][0], "id": "7", "name": "3.0", "released": False})
    tracker = connect(jira, watches_releases=True).tracker
    [change] = [change for change in tracker.changes(EPOCH) if change.kind is ChangeKind.VERSION_RELEASED]
    [told] = connect(jira).webhook.receive(*jira.signed(body), EPOCH).changes
    assert (change.key, change.project, told.key) == (told.key, "PAY", change.key)


@pytest.mark.parametrize("edition", ["cloud", "data_center"])
def test_the_newest_of_a_long_history_is_found(connect: Connect, edition: str, clock: FakeClock) -> None:
    """Whichever end it begins with: Cloud tells the newest change first, Data Center the oldest, and all of them."""
    with FakeJira(edition=edition) as jira:
        jira.add()
        for _ in range(60):
            advance(jira, clock, 60)
            jira.move("USER-12", "In Progress")
            jira.move("USER-12", "To Do")
        since = clock.now()
        advance(jira, clock, 60)
        jira.move("USER-12", "Closed")
        assert [change.value for change in connect(jira).tracker.changes(since) if change.occurred_at > since] == [
            "Closed"
        ]


def test_histories_that_are_cut_off_tell_no_birth(jira: FakeJira, tracker: JiraTracker) -> None:
    """What an issue was at first cannot be found from half of what happened."""
    jira.label("USER-12", "a")
    row = jira.row(jira.issues["USER-12"], with_history=True)
    row["changelog"]["total"] = 200
    jira.fail("search/jql", 200, {"issues": [row], "isLast": True})
    assert [change.value for change in tracker.changes(EPOCH)] == ["a"]
