"""Work items of Azure Boards, over HTTP against the stand-in."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import timedelta
from typing import Any

import pytest
import requests

from bot.domain.cards import Code, Lines, Link, Paragraph, Preformatted, Strong, text
from bot.domain.issues import ChangeKind, RemoteLink, StatusCategory
from bot.errors import AuthFailed, DestinationGone, OutcomeUnknown, RateLimited, Rejected, Unavailable
from integrations.azure_boards import client
from integrations.azure_boards.client import BoardsTracker
from integrations.azure_boards.config import Config
from integrations.azure_boards.tracker import build_tracker
from integrations.spec import IssueTracker
from integrations.tokens import TokenShelf
from tests.boards_server import PASSWORD, TOKEN, FakeBoards
from tests.fakes import EPOCH, FakeClock
from tests.oracles import schema

MARKER = "Shipmate user-service#7 succeeded 1795"
SECTIONS = (
    Paragraph(text("Deployed ", Strong("1.4.2"), " <b>to</b> ", Code("staging"), "\nby Ada"), title="Deployment"),
    Lines((text("✅ health"), text(Link("build", "https://ci.example.com/7?a=1&b=2")), text()), hidden=2),
    Preformatted("line one\n<script>alert(1)</script>\x00"),
)
Connect = Callable[..., IssueTracker]


@pytest.fixture
def boards() -> Iterator[FakeBoards]:
    """A project with one work item."""
    with FakeBoards() as server:
        server.add()
        yield server


@pytest.fixture
def connect(session: requests.Session, boards: FakeBoards) -> Connect:
    """Make a tracker of the stand-in."""

    def make(**settings: Any) -> IssueTracker:
        known = {"url": boards.organization, "project": "Shop", "token": TOKEN}
        known |= {"webhook": {"user": "azure", "password": PASSWORD}}
        config = Config.model_validate({**known, **settings})
        return build_tracker("boards", config, session, FakeClock(), TokenShelf(), False)

    return make


@pytest.fixture
def tracker(connect: Connect) -> BoardsTracker:
    """Its client."""
    made = connect().tracker
    assert isinstance(made, BoardsTracker)
    return made


def test_a_work_item_is_read(boards: FakeBoards, tracker: BoardsTracker) -> None:
    """With the category of its state, as the process template has it, and its description as words."""
    boards.add(13, state="Resolved", tags="a; deploy b")
    item = tracker.issue("AB#13")
    assert (item.key, item.title, item.status, item.category) == (
        "AB#13",
        "Log in",
        "Resolved",
        StatusCategory.IN_PROGRESS,
    )
    assert (item.kind, item.priority, item.assignee, item.labels) == ("Bug", "1", "陈伟 Chen Wei", ("a", "deploy b"))
    assert item.description == "It is broken & slow\ntwice"
    assert item.url == f"{boards.organization}/Shop/_workitems/edit/13"


@pytest.mark.parametrize("key", ["AB#99", "USER-12", "AB#../../x"])
def test_a_work_item_that_is_not_there_is_gone(tracker: BoardsTracker, key: str) -> None:
    """Or is no work item's key at all: nothing else is asked for."""
    with pytest.raises(DestinationGone):
        tracker.issue(key)


def test_it_is_moved_with_its_comment(boards: FakeBoards, tracker: BoardsTracker) -> None:
    """In one patch that names the revision it is made from; once there, nothing is done."""
    assert tracker.transition("AB#12", "active", SECTIONS, MARKER) is True
    item = boards.items[12]
    assert item.fields["System.State"] == "Active"
    [sent] = [call for call in boards.calls if call.method == "PATCH"]
    assert sent.body[0] == {"op": "test", "path": "/rev", "value": 1}
    assert sent.content_type == "application/json-patch+json"
    assert tracker.transition("AB#12", "Active") is False
    assert tracker.comment("AB#12", SECTIONS, MARKER) is False


@pytest.mark.parametrize(("waited", "is_moved"), [(0, False), (60, True)])
def test_an_item_that_was_there_since_is_left_where_it_is(
    boards: FakeBoards, tracker: BoardsTracker, waited: int, is_moved: bool
) -> None:
    """It was moved by a call whose answer was lost, and somebody has moved it on; what was before does not count."""
    assert tracker.transition("AB#12", "Closed") is True
    boards.change(state="Active")
    assert tracker.transition("AB#12", "Closed", since=boards.now + timedelta(seconds=waited)) is is_moved
    assert boards.items[12].fields["System.State"] == ("Closed" if is_moved else "Active")


def test_a_category_will_do_where_no_state_has_the_name(boards: FakeBoards, tracker: BoardsTracker) -> None:
    """`Done` where the process calls it Closed."""
    assert tracker.transition("AB#12", "Done") is True
    assert boards.items[12].fields["System.State"] == "Closed"
    assert tracker.transition("AB#12", "Done") is False
    with pytest.raises(Rejected) as caught:
        tracker.transition("AB#12", "Shipped")
    assert caught.value.detail == "states of Bug: New, Active, Resolved, Closed, Removed"


def test_somebody_elses_edit_is_not_lost(boards: FakeBoards, tracker: BoardsTracker) -> None:
    """The patch is refused, and can be made again from the newer revision."""
    boards.edits_meanwhile = True
    with pytest.raises(Unavailable) as caught:
        tracker.transition("AB#12", "Active")
    assert caught.value.reason == "conflict"
    assert tracker.transition("AB#12", "Active") is True
    assert boards.items[12].fields["System.Title"] == "Edited meanwhile"


def test_a_comment_is_written_once_as_safe_html(boards: FakeBoards, tracker: BoardsTracker) -> None:
    """Nothing in it is markup but ours."""
    assert [tracker.comment("AB#12", SECTIONS, MARKER) for _ in range(2)] == [True, False]
    [comment] = boards.items[12].comments
    assert comment["text"] == (
        "<p><b>Deployment</b></p><p>Deployed <b>1.4.2</b> &lt;b&gt;to&lt;/b&gt; <code>staging</code><br>by Ada</p>"
        '<ul><li>✅ health</li><li><a href="https://ci.example.com/7?a=1&amp;b=2">build</a></li><li>… +2</li></ul>'
        "<pre>line one\n&lt;script&gt;alert(1)&lt;/script&gt;</pre>"
        f"<p><small>{MARKER}</small></p>"
    )
    long = tuple(Preformatted("x" * 5000) for _ in range(30))
    assert tracker.comment("AB#12", long, "other") is True
    assert len(boards.items[12].comments[-1]["text"]) < 40_000


def test_a_link_is_made_once_and_kept_true(boards: FakeBoards, tracker: BoardsTracker) -> None:
    """The same address again changes only what is said of it."""
    link = RemoteLink("x", "https://ci.example.com/7", "user-service 1.4.2", "running")
    tracker.link("AB#12", link)
    tracker.link("AB#12", link)
    tracker.link("AB#12", RemoteLink("x", "https://ci.example.com/7", "user-service 1.4.2", "succeeded"))
    [relation] = boards.items[12].relations
    assert relation["attributes"]["comment"] == "user-service 1.4.2 · succeeded"
    assert len([call for call in boards.calls if call.method == "PATCH"]) == 2
    with pytest.raises(Rejected):
        tracker.link("AB#12", RemoteLink("x", "file:///etc/passwd", "bad"))


def test_work_items_are_related_once(boards: FakeBoards, tracker: BoardsTracker) -> None:
    """By the reference name of the kind of link; one that the process does not know is refused."""
    boards.add(13)
    assert tracker.relate("AB#12", "AB#13", "Related") is True
    assert tracker.relate("AB#12", "AB#13", "System.LinkTypes.Related") is False
    [relation] = boards.items[12].relations
    assert relation["url"] == f"{boards.organization}/_apis/wit/workItems/13"
    with pytest.raises(Rejected):
        tracker.relate("AB#12", "AB#13", "Custom.Unknown")
    with pytest.raises(DestinationGone):
        tracker.relate("AB#12", "USER-13", "Related")


@pytest.mark.parametrize(
    "operation",
    [
        {"op": "set", "path": "/fields/System.State", "value": "Active"},
        {"path": "/rev", "value": 1},
        {"op": "add", "path": "/relations/-", "value": {"rel": 7, "url": "https://ci.example.com"}},
        {"op": "add", "path": "/fields/System.State", "val": "Active"},
    ],
)
def test_a_patch_that_is_none_is_found(boards: FakeBoards, tracker: BoardsTracker, operation: dict[str, Any]) -> None:
    """The stand-in holds each operation against the vendor's description."""
    schema("adf-full.schema.json")  # skips where the vendors' descriptions are not at hand
    with suppress(Rejected):
        tracker._patch("12", [operation])
    assert boards.problems
    boards.problems.clear()


def test_changes_are_told_by_the_keys_of_service_hooks(
    boards: FakeBoards, tracker: BoardsTracker, connect: Connect
) -> None:
    """Whichever way a change is told, it is one."""
    bodies = [boards.change(state="Active"), boards.change(tags="deploy"), boards.change(title="Log in!")]
    boards.add(13, state="New", tags="deploy")
    bodies.append(boards.created(13))
    webhook = connect().webhook
    told = [change.key for body in bodies for change in webhook.receive(*boards.sent(body), EPOCH).changes]
    found = [change for change in tracker.changes(EPOCH) if change.key != "workitem:12:rev:1:state"]
    assert [change.key for change in found] == told
    assert [(change.kind, change.value) for change in found] == [
        (ChangeKind.STATUS_REACHED, "Active"),
        (ChangeKind.LABEL_ADDED, "deploy"),
        (ChangeKind.STATUS_REACHED, "New"),
        (ChangeKind.LABEL_ADDED, "deploy"),
    ]
    assert found[0].account == "azure_boards:ada@example.com"
    assert found[0].project == "Shop"


def test_a_long_history_is_read_to_its_end(boards: FakeBoards, tracker: BoardsTracker) -> None:
    """It comes oldest first, in pages: what changed now stands on the last one."""
    for number in range(230):
        boards.change(title=f"Title {number}")
    boards.change(tags="deploy")
    assert [change.value for change in tracker.changes(EPOCH)][-1] == "deploy"
    assert len([call for call in boards.calls if call.path.endswith("/updates")]) == 2


def test_too_many_changes_are_not_half_told(
    boards: FakeBoards, tracker: BoardsTracker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next poll asks again."""
    monkeypatch.setattr(client, "MOST_CHANGED", 1)
    boards.add(13)
    with pytest.raises(Unavailable):
        tracker.changes(EPOCH)


def test_a_refused_token_is_told_from_a_page(connect: Connect) -> None:
    """A bad token is answered 203 with a page to sign in, which is no success."""
    with pytest.raises(AuthFailed) as caught:
        connect(token="wrong").tracker.issue("AB#12")
    assert caught.value.reason == "http_203"


@pytest.mark.parametrize(
    ("status", "body", "error"),
    [
        (200, b"<html>", AuthFailed),
        (200, {"id": 12}, Unavailable),
        (302, None, AuthFailed),
        (400, {"message": "TF401320: Rule Error"}, Rejected),
        (401, None, AuthFailed),
        (429, None, RateLimited),
        (503, None, Unavailable),
    ],
)
def test_answers_are_told_apart(
    boards: FakeBoards, tracker: BoardsTracker, status: int, body: Any, error: type[Exception]
) -> None:
    """What will pass, what an operator must see to, and what will never work."""
    boards.fail("workitems/12", status, body)
    with pytest.raises(error):
        tracker.issue("AB#12")


def test_a_change_whose_answer_is_lost_is_in_doubt(boards: FakeBoards, tracker: BoardsTracker) -> None:
    """A comment that may have been written is looked for the next time."""
    boards.fail("/comments", 200, {"comments": []})
    boards.fail("/comments", 500)
    with pytest.raises(OutcomeUnknown):
        tracker.comment("AB#12", SECTIONS, MARKER)


def test_the_probe_names_the_project(connect: Connect) -> None:
    """And whether service hooks are taken."""
    assert connect().probe() == "Azure Boards project Shop, 2 types of work items, service hooks are taken"
    assert connect(webhook=None).probe().endswith("no service hooks")
