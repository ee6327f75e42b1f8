"""Issue keys in texts, and issues as the database keeps them."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.domain.issues import (
    MOST_KEYS,
    ChangeKind,
    Issue,
    IssueChange,
    KeyRules,
    KeyStyle,
    Release,
    StatusCategory,
    issue_keys,
)

AT = datetime(2026, 11, 21, 4, 10, tzinfo=UTC)
PROJECTS = frozenset({"USER", "OPS2", "PAY_EU"})


@pytest.mark.parametrize(
    ("text", "keys"),
    [
        ("feature/USER-12-login", ("USER-12",)),
        ("fix(USER-12): log in with a one-time code", ("USER-12",)),
        ("feature/user-12-login", ("USER-12",)),
        ("alice_user-12_login", ("USER-12",)),
        ("Merge User-12, OPS2-7 and USER-12 again", ("USER-12", "OPS2-7")),
        ("PAY_EU-3: 退款 (USER-1)", ("PAY_EU-3", "USER-1")),
        ("修复USER-9的登录", ("USER-9",)),
        ("UTF-8 and SHA-256 in SHOP-1", ()),
        ("SUPERUSER-12 and USER-12a and USER-012 and USER-", ()),
        ("", ()),
    ],
)
def test_keys_of_configured_projects_are_found(text: str, keys: tuple[str, ...]) -> None:
    """Only theirs, in whatever case, whole, each once."""
    assert issue_keys(text, PROJECTS) == keys


@pytest.mark.parametrize(
    ("text", "keys"),
    [
        ("feature/SHOP-1-cart", ("SHOP-1",)),
        ("feature/shop-1-cart", ()),
        ("UTF-8, SHA-256, ISO-8601, RFC-2119 and CVE-2026-1234 are none", ()),
        ("A-1 is too short, B2-3 is not", ("B2-3",)),
        ("v1.2-3 JDK-17 release-2026", ()),
    ],
)
def test_without_projects_only_what_looks_like_a_key_counts(text: str, keys: tuple[str, ...]) -> None:
    """Upper case, and no name of a standard."""
    assert issue_keys(text) == keys


def test_a_text_full_of_keys_gives_a_bounded_number() -> None:
    """A pasted list does not become a card of its own."""
    assert len(issue_keys(" ".join(f"USER-{number}" for number in range(1, 500)), PROJECTS)) == MOST_KEYS


@given(st.text())
def test_no_text_is_too_strange(text: str) -> None:
    """Whatever a commit is called, looking for keys ends, and what is found is a key."""
    for rules in (KeyRules(PROJECTS), KeyRules(), KeyRules(style=KeyStyle.WORK_ITEM)):
        assert all(rules.parse(key) == key for key in rules.find(text))


def test_work_items_are_written_with_a_hash() -> None:
    """Azure Boards: `AB#12` in a commit, and the number alone where a person types it."""
    rules = KeyRules(style=KeyStyle.WORK_ITEM, page="https://dev.azure.com/acme/Shop/_workitems/edit/{key}")
    assert rules.find("Fix AB#12, ab#13 and #14, CAB#15") == ("AB#12", "AB#13")
    assert [rules.parse(word) for word in ("12", "#12", "ab#12", "AB#0", "USER-12")] == [
        "AB#12",
        "AB#12",
        "AB#12",
        None,
        None,
    ]
    assert rules.url("AB#12") == "https://dev.azure.com/acme/Shop/_workitems/edit/12"


def test_a_typed_key_is_taken_in_any_case() -> None:
    """Who types a key means one, if the tracker has such a project."""
    assert KeyRules().parse("shop-12") == "SHOP-12"
    assert KeyRules(PROJECTS).parse("shop-12") is None
    assert KeyRules(PROJECTS).parse("pay_eu-12") == "PAY_EU-12"
    assert KeyRules().parse("shop-12; DROP") is None
    assert KeyRules(page="https://acme.atlassian.net/browse/{key}").url("SHOP-12").endswith("/browse/SHOP-12")


def test_changes_are_read_as_they_were_written() -> None:
    """What is stored comes back, but for the description, which is asked for when it is needed."""
    issue = Issue(
        "USER-12",
        "Log in",
        "Ready",
        StatusCategory.IN_PROGRESS,
        "Story",
        labels=("deploy",),
        fix_versions=("1.4",),
        updated_at=AT,
        description="long",
    )
    moved = IssueChange(ChangeKind.STATUS_REACHED, "changelog:1:status:ready", "Ready", AT, issue, account="jira:a")
    released = IssueChange(ChangeKind.VERSION_RELEASED, "version:7", "1.4", AT, release=Release("7", "1.4", "", "100"))
    assert IssueChange.from_json(released.to_json()) == released
    read = IssueChange.from_json(moved.to_json())
    assert read.issue is not None
    assert (read.issue.labels, read.issue.updated_at, read.issue.description) == (("deploy",), AT, "")
    assert (read.target, released.target, released.project) == ("USER-12", "1.4", "")
