"""Service hooks of Azure Boards: proved by a password or a header, parsed, and never answered with an error of ours."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from bot.domain.issues import ChangeKind
from bot.errors import InputError, PayloadInvalid, SignatureInvalid
from bot.ports.trackers import ReceivedChanges
from integrations.azure_boards.config import Config
from integrations.azure_boards.webhook import BoardsWebhook
from tests.boards_server import PASSWORD, FakeBoards
from tests.fakes import EPOCH

BARE = {"url": "https://dev.azure.com/acme", "project": "Shop", "token": "x"}
HEADER = {"header": "X-Shipmate", "token": "a-token-in-a-header"}
# A sample of the vendor's older form: people as text, and fractions of seven digits.
OLD = {
    "eventType": "workitem.updated",
    "createdDate": "2021-08-07T15:41:56.5943909Z",
    "resource": {
        "id": 2,
        "workItemId": 13,
        "rev": 2,
        "revisedBy": {"displayName": "Ou Jun", "uniqueName": "ou@example.com"},
        "fields": {"System.State": {"oldValue": "New", "newValue": "Approved"}},
        "revision": {
            "id": 13,
            "fields": {"System.TeamProject": "shop", "System.AssignedTo": "Ou Jun <ou@example.com>"},
        },
    },
}


def hook(webhook: dict[str, str] | None = None) -> BoardsWebhook:
    """The door of the project Shop."""
    settings = {**BARE, "webhook": webhook or {"user": "azure", "password": PASSWORD}}
    return BoardsWebhook(Config.model_validate(settings), "https://dev.azure.com/acme/Shop/_workitems/edit/{key}")


def receive(body: Any) -> ReceivedChanges:
    """What a service hook tells."""
    return hook().receive(*FakeBoards.sent(body), EPOCH)


def test_a_moved_item_is_told() -> None:
    """In the older form too."""
    [change] = receive(OLD).changes
    assert (change.kind, change.value, change.target) == (ChangeKind.STATUS_REACHED, "Approved", "AB#13")
    assert (change.key, change.project, change.person) == ("workitem:13:rev:2:state", "Shop", "Ou Jun")
    assert change.issue is not None
    assert change.issue.assignee == "Ou Jun"


@pytest.mark.parametrize("opened", ["<a ", '<a b="', "<!--"])
def test_a_description_of_open_tags_holds_up_nobody(opened: str) -> None:
    """Whoever may write an issue writes it, and the whole process waits for who reads it at the door."""
    description = {"System.Description": f"<p>Broken{opened * 20_000}"}
    revision = {"fields": {"System.TeamProject": "shop", **description}}
    began = time.process_time()
    [change] = receive({**OLD, "resource": {**OLD["resource"], "revision": revision}}).changes  # type: ignore[dict-item]  # a dict
    assert time.process_time() - began < 0.5
    assert change.issue is not None
    assert change.issue.description.startswith("Broken<")


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"eventType": "workitem.commented"}, "ignored:workitem.commented"),
        ({"eventType": "build.complete"}, "unknown:build.complete"),
        ({"resource": None}, "unknown:no_details"),
        ({"resource": {"id": 13, "url": "https://dev.azure.com"}}, "unknown:no_details"),
        ({"resource": {**OLD["resource"], "fields": {"System.Rev": {"newValue": 3}}}}, "ignored:other_fields"),  # type: ignore[dict-item]  # a dict
        (
            {"resource": {**OLD["resource"], "revision": {"fields": {"System.TeamProject": "Fabrikam"}}}},  # type: ignore[dict-item]  # a dict
            "ignored:other_project",
        ),
    ],
)
def test_what_is_of_no_interest_is_told_apart(changed: dict[str, Any], reason: str) -> None:
    """Known or unknown; a subscription that sends too little says so by its count."""
    assert receive({**OLD, **changed}) == ReceivedChanges((), reason)


@pytest.mark.parametrize(
    "changed",
    [
        {"eventType": 7},
        {"createdDate": "soon"},
        {"resource": {**OLD["resource"], "workItemId": "x"}},  # type: ignore[dict-item]  # a dict
        {"eventType": "workitem.created", "resource": {"id": "x", "fields": {}}},
    ],
)
def test_what_is_wrong_is_named(changed: dict[str, Any]) -> None:
    """By its field."""
    with pytest.raises(PayloadInvalid):
        receive({**OLD, **changed})


def test_only_those_with_the_proof_are_read() -> None:
    """Basic authorisation, or a header of our own."""
    headers, raw = FakeBoards.sent(OLD)
    assert hook(HEADER).receive({"x-shipmate": "a-token-in-a-header"}, raw, EPOCH).changes
    for door, given_headers in (
        (hook(), {}),
        (hook(), FakeBoards.sent(OLD, password="wrong")[0]),
        (hook(HEADER), headers),
        (hook(HEADER), {"x-shipmate": "é"}),
        (BoardsWebhook(Config.model_validate(BARE), ""), headers),
    ):
        with pytest.raises(SignatureInvalid):
            door.receive(given_headers, raw, EPOCH)
    for body in (b"[]", b"{"):
        with pytest.raises(PayloadInvalid):
            hook().receive(headers, body, EPOCH)


JSON = st.recursive(
    st.none() | st.integers() | st.text(max_size=8), lambda inner: st.lists(inner, max_size=3), max_leaves=6
)


@given(st.dictionaries(st.sampled_from(["System.State", "System.Tags", "rev"]), JSON, max_size=3), JSON)
def test_no_body_breaks_the_door(fields: dict[str, Any], other: Any) -> None:
    """Changes, or a reason why there are none; never another error."""
    resource = {"id": 13, "workItemId": 13, "rev": other, "revisedBy": other, "fields": fields, "revision": other}
    for kind in ("workitem.updated", "workitem.created"):
        try:
            received = receive({**OLD, "eventType": kind, "resource": json.loads(json.dumps(resource))})
        except InputError:
            continue
        assert received.changes or received.reason


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"url": "dev.azure.com/acme"}, "organisation's address"),
        ({"url": "https://a:b@dev.azure.com/acme"}, "must not hold credentials"),
        ({"project": "a/b"}, "should match pattern"),
        ({"webhook": {"user": "azure"}}, "needs user and password, or header and token"),
        ({"webhook": {**HEADER, "user": "azure"}}, "needs user and password, or header and token"),
        ({"webhook": {"header": "X: y", "token": "a-long-enough-token"}}, "is no header's name"),
        ({"webhook": {"user": "azure", "password": "short"}}, "at least 16 characters"),
    ],
)
def test_settings_that_do_not_fit_are_refused(changed: dict[str, Any], words: str) -> None:
    """With a sentence that says what to do."""
    with pytest.raises(ValidationError, match=words):
        Config.model_validate({**BARE, **changed})
