"""What every door promises to whoever posts to it."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pytest

from bot import signatures
from bot.errors import PayloadInvalid, SignatureInvalid
from bot.ports import WebhookSource
from integrations import generic
from integrations.buildbot.config import Config as BuildbotConfig
from integrations.buildbot.webhook import BuildbotWebhook

NOW = datetime(2026, 11, 21, 4, 10, tzinfo=UTC)
SECRET = "whsec_" + base64.b64encode(b"0123456789abcdef0123456789abcdef").decode()
Headers = dict[str, str]

BUILDBOT_BUILD = {
    "buildid": 4,
    "number": 2,
    "masterid": 1,
    "started_at": 1795234072,
    "complete_at": 1795234080,
    "complete": True,
    "results": 0,
    "state_string": "build successful",
    "builder": {"name": "user-service"},
}
GENERIC_BUILD = {"event": "build.finished", "project": "user-service", "number": 2, "status": "success"}


@dataclass(frozen=True)
class Door:
    """A door and how to knock: `sign` gives the headers of a body, `forge` those of somebody without the secret."""

    source: WebhookSource
    sign: Callable[[bytes], Headers]
    forge: Callable[[bytes], Headers]
    good: Mapping[str, Any]
    wrong: Mapping[str, Any]
    wrong_field: str
    unknown: Mapping[str, Any]


def _signed(secret: str) -> Callable[[bytes], Headers]:
    def sign(body: bytes) -> Headers:
        sent_at = int(NOW.timestamp())
        signature = signatures.sign(secret, "msg_1", sent_at, body)
        return {"webhook-id": "msg_1", "webhook-timestamp": str(sent_at), "webhook-signature": signature}

    return sign


DOORS = {
    "buildbot": Door(
        BuildbotWebhook("ci", BuildbotConfig.model_validate({"url": "http://ci", "webhook_token": "the-right-token"})),
        lambda _: {"x-bot-token": "the-right-token"},
        lambda _: {"x-bot-token": "the-wrong-token"},
        BUILDBOT_BUILD,
        {**BUILDBOT_BUILD, "started_at": "soon"},
        "started_at",
        {"workerid": 1},
    ),
    "generic": Door(
        generic.GenericWebhook("ci", generic.Config.model_validate({"secrets": [SECRET]})),
        _signed(SECRET),
        _signed("another secret of enough characters"),
        GENERIC_BUILD,
        {**GENERIC_BUILD, "attempt": "first"},
        "attempt",
        {"event": "deployment.finished", "environment": "production"},
    ),
}


@pytest.fixture(params=DOORS)
def door(request: pytest.FixtureRequest) -> Door:
    """Each door in turn."""
    return DOORS[request.param]


def knock(door: Door, body: object, headers: Headers | None = None) -> Any:
    """Post a body, properly signed unless other headers are given."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return door.source.receive(door.sign(content) if headers is None else headers, content, NOW)


def test_a_good_body_is_one_event(door: Door) -> None:
    """An event names its source and subject, and its times are UTC."""
    [event] = knock(door, door.good).events
    assert event.source == "ci"
    assert str(event.subject) == "build:ci/user-service#2"
    assert event.occurred_at.utcoffset() is not None
    assert 0 < len(event.delivery_key) <= 200


def test_the_same_delivery_twice_is_the_same_event(door: Door) -> None:
    """A repeated delivery is equal to the first, key and all."""
    assert knock(door, door.good) == knock(door, door.good)


def test_an_unsigned_body_is_refused(door: Door) -> None:
    """Without credentials nothing is parsed: a body that is not even JSON gets the same answer."""
    for body in (door.good, b"not JSON"):
        with pytest.raises(SignatureInvalid):
            knock(door, body, {})


def test_a_wrong_secret_is_refused(door: Door) -> None:
    """Somebody else's secret opens no door."""
    body = json.dumps(door.good).encode()
    with pytest.raises(SignatureInvalid):
        knock(door, body, door.forge(body))


@pytest.mark.parametrize("body", [b"", b"not JSON", b"[" * 200_000, b"\xff\xfe\x00"])
def test_a_body_that_is_not_json_is_refused(door: Door, body: bytes) -> None:
    """Whatever the bytes are, the answer is a reason."""
    with pytest.raises(PayloadInvalid, match="JSON"):
        knock(door, body)


@pytest.mark.parametrize("body", [[], "text", 5, None])
def test_json_of_another_kind_is_refused(door: Door, body: object) -> None:
    """A list is no event."""
    with pytest.raises(PayloadInvalid, match="object"):
        knock(door, body)


def test_a_wrong_field_is_named(door: Door) -> None:
    """The reason says where the body is wrong, and does not repeat what stood there."""
    with pytest.raises(PayloadInvalid) as caught:
        knock(door, door.wrong)
    assert str(caught.value).startswith(door.wrong_field)
    assert str(door.wrong[door.wrong_field]) not in str(caught.value)


def test_an_unknown_event_is_counted_and_not_refused(door: Door) -> None:
    """What a newer sender reports is no mistake of the sender's."""
    received = knock(door, door.unknown)
    assert received.events == ()
    assert received.reason.startswith("unknown:")
