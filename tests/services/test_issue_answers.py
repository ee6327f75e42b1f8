"""Issues in chat: asked for by key, and linked where a build's branch or commit names them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from bot.domain.builds import BuildStatus
from bot.domain.cards import Card, Link, Notice
from bot.domain.issues import KeyRules
from bot.errors import AuthFailed, Unavailable
from bot.services.trackers import TrackerAccess
from tests.services.tracker_world import FakeTracker
from tests.services.world import World
from tests.stores import event_of

pytestmark = pytest.mark.one_engine

RULES = KeyRules(frozenset({"USER"}), page="https://acme.atlassian.net/browse/{key}")


@pytest.fixture
def tracker() -> FakeTracker:
    """One issue, USER-12."""
    return FakeTracker()


@pytest.fixture
def world(make_world: Callable[..., World], tracker: FakeTracker) -> World:
    """A world with one tracker."""
    return make_world(known_trackers={"jira": TrackerAccess(tracker, RULES)})


def plain(notice: object) -> str:
    """The words of a remark."""
    assert isinstance(notice, Notice)
    return "".join(getattr(part, "text", "") for part in notice.body)


@pytest.mark.parametrize(("platform", "typed"), [("slack", "issue user-12"), ("dingtalk", "任务USER-12")])
def test_an_issue_is_shown(world: World, platform: str, typed: str) -> None:
    """Whoever may look at builds may look at issues; Chinese needs no space."""
    world.ask(typed, "U9", platform=platform)
    world.work()
    card = world.card_answer()
    assert card.title == "USER-12 · Log in"
    assert card.fields[0].label == ("Status" if platform == "slack" else "状态")
    assert world.trail() == []


@pytest.mark.parametrize(
    ("typed", "words"),
    [
        ("issue", "Something is missing."),
        ("issue SHOP-1", "not one of a project that I know. USER"),
        ("issue nonsense", "no issue's key"),
        ("issue USER-99", "jira has no such issue"),
    ],
)
def test_what_is_no_issue_is_said(world: World, typed: str, words: str) -> None:
    """With the projects that there are."""
    world.ask(typed)
    world.work()
    assert words in plain(world.answer)


def test_a_tracker_that_is_away_is_said(world: World, tracker: FakeTracker) -> None:
    """After a few tries; one that refuses us at once."""
    tracker.fails = [AuthFailed("jira", "http_401")]
    world.ask("issue USER-12")
    world.work()
    assert "refuses my credentials" in plain(world.answer)
    tracker.fails = [Unavailable("jira", "unreachable")] * 2
    world.ask("issue USER-12")
    world.work(30)
    assert world.card_answer().title == "USER-12 · Log in"


def test_without_a_tracker_that_is_said(make_world: Callable[..., World]) -> None:
    """Nothing else has changed."""
    bare = make_world()
    bare.ask("issue USER-12")
    bare.work()
    assert "none is configured" in plain(bare.answer)


def test_issues_are_linked_on_a_builds_card(world: World) -> None:
    """From its branch and its commit; others' keys and UTF-8 are left alone."""
    world.accept(event_of(12, branch="feature/user-12-login", commit_title="USER-7: log in with UTF-8 (SHOP-1)"))
    world.deliver()
    card = world.messenger.calls[-1].content
    assert isinstance(card, Card)
    [issues] = [field for field in card.fields if field.label == "Issues"]
    assert [part for part in issues.value if isinstance(part, Link)] == [
        Link("USER-12", "https://acme.atlassian.net/browse/USER-12"),
        Link("USER-7", "https://acme.atlassian.net/browse/USER-7"),
    ]


def test_a_builds_details_link_them_too(world: World) -> None:
    """In the window and in the answer."""
    key = world.builds.start()
    world.builds.finish(key, BuildStatus.SUCCESS)
    run = world.builds.runs[key]
    run.facts = replace(run.facts, branch="fix/USER-12")
    world.ask("show user-service#1")
    world.work()
    assert "Issues" in [field.label for field in world.card_answer().fields]


def test_a_build_without_keys_has_no_such_field(world: World) -> None:
    """Nothing is shown where nothing is known."""
    world.accept(event_of(12, branch="main"))
    world.deliver()
    card = world.messenger.calls[-1].content
    assert isinstance(card, Card)
    assert "Issues" not in [field.label for field in card.fields]
