"""Finding the issue that people mean, among several trackers."""

from __future__ import annotations

import pytest

from bot.domain.cards import Link
from bot.domain.issues import KeyRules, KeyStyle
from bot.errors import CommandInvalid
from bot.services.trackers import TrackerAccess, Trackers
from tests.services.tracker_world import FakeTracker

JIRA = KeyRules(frozenset({"USER"}), page="https://acme.atlassian.net/browse/{key}")
ANY = KeyRules(page="https://old.example.com/browse/{key}")
BOARDS = KeyRules(style=KeyStyle.WORK_ITEM, page="https://dev.azure.com/acme/Shop/_workitems/edit/{key}")


def trackers(**rules: KeyRules) -> Trackers:
    """Trackers by name."""
    return Trackers({name: TrackerAccess(FakeTracker(), one) for name, one in rules.items()})


def test_a_key_leads_to_its_tracker() -> None:
    """By project, by style, or by the tracker's name before it."""
    all_three = trackers(jira=JIRA, old=ANY, boards=BOARDS)
    assert all_three.locate("user-12") == ("jira", "USER-12")
    assert all_three.locate("SHOP-1") == ("old", "SHOP-1")
    assert all_three.locate("#7") == ("boards", "AB#7")
    assert all_three.locate("old/USER-12") == ("old", "USER-12")
    assert all_three.home_of("USER-12") == "jira"


@pytest.mark.parametrize(
    ("found", "word", "problem", "suggestion"),
    [
        (trackers(), "USER-12", "no_tracker", None),
        (trackers(jira=JIRA), "SHOP-1", "unknown_issue", "USER"),
        (trackers(jira=JIRA), "jira/SHOP-1", "unknown_issue", "USER"),
        (trackers(one=ANY, two=ANY), "SHOP-1", "ambiguous", "one/SHOP-1, two/SHOP-1"),
        (trackers(one=ANY), "hello", "unknown_issue", None),
    ],
)
def test_what_is_no_key_is_said(found: Trackers, word: str, problem: str, suggestion: str | None) -> None:
    """With the projects that there are, or the spellings that would do."""
    with pytest.raises(CommandInvalid) as caught:
        found.locate(word)
    assert (caught.value.problem, caught.value.suggestion) == (problem, suggestion)


def test_keys_in_texts_are_linked() -> None:
    """Each once, to the page of its own tracker."""
    found = trackers(jira=JIRA, boards=BOARDS)
    assert found.links_in("feature/user-12-login", None, "USER-12: log in, AB#7") == (
        Link("USER-12", "https://acme.atlassian.net/browse/USER-12"),
        Link("AB#7", "https://dev.azure.com/acme/Shop/_workitems/edit/7"),
    )
    assert found.keys_in("UTF-8 USER-12") == ("USER-12",)
    assert trackers().links_in("USER-12") == ()
