"""Jira's webhooks: signed, parsed, and told by the same keys as a poll."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.domain.issues import ChangeKind
from bot.errors import InputError, PayloadInvalid, SignatureInvalid
from bot.ports.trackers import ReceivedChanges
from integrations.jira.config import Config
from integrations.jira.webhook import JiraWebhook
from tests.fakes import EPOCH
from tests.jira_server import SECRET, FakeJira

NOW = EPOCH
AUTH = {"method": "basic", "user": "bot", "token": "x"}
BARE = {"url": "https://acme.atlassian.net", "auth": AUTH}
# As Jira Cloud sent it, but for names: https://developer.atlassian.com/cloud/jira/platform/webhooks/
MINIMAL = {
    "timestamp": 1795234072918,
    "webhookEvent": "jira:issue_updated",
    "issue_event_type_name": "issue_generic",
    "user": {"self": "https://acme.atlassian.net/rest/api/2/user?accountId=557058", "accountId": "557058:18cf"},
    "issue": {"id": "77256", "self": "https://acme.atlassian.net/rest/api/2/77256", "key": "USER-14"},
    "changelog": {"id": "10044", "items": [{"field": "status", "fromString": "To Do", "toString": "Done"}]},
}


@pytest.fixture
def jira() -> Iterator[FakeJira]:
    """A Jira that is not called: it only writes webhooks."""
    with FakeJira() as server:
        server.add(fix_versions=["1.4.2"])
        yield server


def receive(jira: FakeJira, body: dict[str, Any]) -> ReceivedChanges:
    """What a signed webhook tells."""
    headers, raw = jira.signed(body)
    return hook().receive(headers, raw, NOW)


def hook(**settings: Any) -> JiraWebhook:
    """The door of a Jira with a secret."""
    return JiraWebhook(Config.model_validate({**BARE, "webhook_secret": SECRET, **settings}))


def test_a_moved_issue_is_told(jira: FakeJira) -> None:
    """The status reached, by whom and when, and the issue as it stood."""
    [change] = receive(jira, jira.move("USER-12", "In Staging")).changes
    assert (change.kind, change.value, change.target) == (ChangeKind.STATUS_REACHED, "In Staging", "USER-12")
    assert (change.account, change.person, change.occurred_at) == ("jira:5b10", "Ada Nowak", EPOCH)
    assert change.issue is not None
    assert (change.issue.fix_versions, change.issue.url) == (
        ("1.4.2",),
        "https://acme.atlassian.net/browse/USER-12",
    )
    assert change.key == f"changelog:{jira.issues['USER-12'].histories[-1]['id']}:status"


def test_labels_added_are_told_each(jira: FakeJira) -> None:
    """Those that were there before, and those that were taken away, are not."""
    jira.label("USER-12", "old", "gone")
    received = receive(jira, jira.label("USER-12", "old", "deploy-a", "deploy-b"))
    assert [(change.kind, change.value) for change in received.changes] == [
        (ChangeKind.LABEL_ADDED, "deploy-a"),
        (ChangeKind.LABEL_ADDED, "deploy-b"),
    ]
    assert receive(jira, jira.label("USER-12")).reason == "ignored:other_fields"


def test_a_version_released_is_told(jira: FakeJira) -> None:
    """With its project's id alone, and a key that stays when it is released again."""
    body = jira.release("2.0", "PAY")
    [change] = receive(jira, body).changes
    assert (change.kind, change.value, change.project) == (ChangeKind.VERSION_RELEASED, "2.0", "")
    assert change.release is not None
    assert change.release.project_id == "101"
    again = receive(jira, {**body, "timestamp": body["timestamp"] + 60_000}).changes[0]
    assert again.key == change.key


def test_a_new_issue_has_its_first_status_and_labels(jira: FakeJira) -> None:
    """It has no changelog; an issue born with the label counts as given it."""
    jira.add("USER-13", labels=["deploy-a"])
    changes = receive(jira, jira.created("USER-13")).changes
    assert [(change.kind, change.value) for change in changes] == [
        (ChangeKind.STATUS_REACHED, "To Do"),
        (ChangeKind.LABEL_ADDED, "deploy-a"),
    ]


def test_a_short_webhook_is_enough(jira: FakeJira) -> None:
    """Without the issue's fields the change is told all the same; its project is in the key."""
    [change] = receive(jira, MINIMAL).changes
    assert (change.key, change.value, change.project) == ("changelog:10044:status", "Done", "USER")
    assert change.occurred_at == datetime.fromtimestamp(1795234072.918, UTC)


def test_a_long_label_has_a_short_key(jira: FakeJira) -> None:
    """Keys are bounded, and still tell two labels apart."""
    changes = receive(jira, jira.label("USER-12", "x" * 250, "x" * 249 + "y")).changes
    assert len({change.key for change in changes}) == 2
    assert all(len(change.key) <= 200 for change in changes)


def test_labels_that_cannot_be_stored_are_made_fit(jira: FakeJira) -> None:
    """No control character gets into a key or a value; one that is nothing else is no label."""
    changes = receive(jira, jira.label("USER-12", "a\x00b", "\x01")).changes
    assert [(change.value, change.key.rpartition(":")[2]) for change in changes] == [("a b", "a b")]


@pytest.mark.parametrize(
    ("event", "reason"),
    [
        ("jira:issue_deleted", "ignored:jira:issue_deleted"),
        ("comment_created", "ignored:comment_created"),
        ("jira:version_created", "ignored:jira:version_created"),
        ("something_else", "unknown:something_else"),
    ],
)
def test_other_events_are_told_apart(jira: FakeJira, event: str, reason: str) -> None:
    """Known and of no interest, or not known at all."""
    assert receive(jira, {"timestamp": 1, "webhookEvent": event}) == ReceivedChanges((), reason)


def test_only_signed_bodies_are_read(jira: FakeJira) -> None:
    """The raw bytes, the right secret, and GitHub's old header is none."""
    headers, raw = jira.signed(MINIMAL)
    assert hook().receive(headers, raw, NOW).changes
    for wrong in (
        {},
        {"x-hub-signature": "sha1=abc"},
        {"x-hub-signature": "sha256=é"},
        jira.signed(MINIMAL, "y" * 20)[0],
    ):
        with pytest.raises(SignatureInvalid):
            hook().receive(wrong, raw, NOW)
    with pytest.raises(SignatureInvalid):
        hook().receive(headers, raw + b" ", NOW)


def test_without_a_secret_no_webhook_is_taken(jira: FakeJira) -> None:
    """An unsigned door that starts deployments is no door."""
    headers, raw = jira.signed(MINIMAL)
    with pytest.raises(SignatureInvalid):
        JiraWebhook(Config.model_validate(BARE)).receive(headers, raw, NOW)


@pytest.mark.parametrize(
    ("changed", "field"),
    [
        ({"webhookEvent": 7}, "webhookEvent"),
        ({"timestamp": "soon"}, "timestamp"),
        ({"timestamp": 5}, "timestamp"),
        ({"issue": None}, "issue"),
        ({"issue": {"key": "USER-1"}}, "issue.id"),
        ({"webhookEvent": "jira:version_released"}, "version"),
        ({"webhookEvent": "jira:version_released", "version": {"name": "x"}}, "version.id"),
    ],
)
def test_what_is_wrong_is_named(jira: FakeJira, changed: dict[str, Any], field: str) -> None:
    """By its field, never by its value."""
    with pytest.raises(PayloadInvalid, match=field):
        receive(jira, {**MINIMAL, **changed})


def test_bodies_that_are_no_objects_are_refused() -> None:
    """JSON of another kind, and no JSON."""
    for raw in (b"[]", b"7", b"", b"{", b"[" * 100_000):
        signature = "sha256=" + hmac.new(SECRET.encode(), raw, hashlib.sha256).hexdigest()
        with pytest.raises(PayloadInvalid):
            hook().receive({"x-hub-signature": signature}, raw, NOW)


JSON = st.recursive(
    st.none() | st.integers() | st.text(max_size=8), lambda inner: st.lists(inner, max_size=3), max_leaves=6
)


@given(st.dictionaries(st.sampled_from(["items", "id", "fields", "key", "histories"]), JSON, max_size=4), JSON)
def test_no_signed_body_breaks_the_door(odd: dict[str, Any], other: Any) -> None:
    """Changes, or a reason why there are none; never another error."""
    server = FakeJira.__new__(FakeJira)
    for body in (
        {**MINIMAL, "changelog": odd},
        {**MINIMAL, "issue": {"id": "1", "key": "USER-1", "fields": odd}},
        {**MINIMAL, "user": other, "changelog": {"id": "1", "items": [odd, other]}},
        {**MINIMAL, "webhookEvent": "jira:version_released", "version": odd},
    ):
        headers, raw = server.signed(json.loads(json.dumps(body)))
        try:
            received = hook().receive(headers, raw, NOW)
        except InputError:
            continue
        assert received.changes or received.reason
