"""What stands behind Slack's door in its tests."""

from __future__ import annotations

import hashlib
import hmac
import json
import threading
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode

from bot.domain.cards import Card, Question, Tone
from bot.domain.commands import Actor, ReplyTo
from bot.errors import ShipmateError, StorageUnavailable

SECRET = "test-signing-secret"
NOW = datetime(2026, 7, 30, 12, 0, tzinfo=UTC)
NOW_S = NOW.timestamp()


class FakeClock:
    """Time that stands still."""

    def now(self) -> datetime:
        """The instant of all requests."""
        return NOW


@dataclass(frozen=True)
class Stored:
    """A command as the inbox got it."""

    typed: str
    dedup_key: str
    actor: Actor
    reply_to: ReplyTo
    via: str


class FakeInbox:
    """Keeps one of each key; refuses as often as it is told to."""

    def __init__(self) -> None:
        self.stored: list[Stored] = []
        self.offered = 0
        self.refusals = 0
        self.changed = threading.Condition()

    def accept(self, *, typed: str, dedup_key: str, actor: Actor, reply_to: ReplyTo, via: str) -> bool:
        """Store, or say that it cannot be."""
        with self.changed:
            self.offered += 1
            self.changed.notify_all()
            if self.refusals:
                self.refusals -= 1
                raise StorageUnavailable("locked")
            if any(one.dedup_key == dedup_key for one in self.stored):
                return False
            self.stored.append(Stored(typed, dedup_key, actor, reply_to, via))
            return True

    def wait_for(self, *, stored: int = 0, offered: int = 0) -> bool:
        """Whether so much was stored and offered within half a minute."""
        with self.changed:
            return self.changed.wait_for(lambda: len(self.stored) >= stored and self.offered >= offered, 30.0)


class FakeViews:
    """Cards named after what was asked; raises what it is told to."""

    def __init__(self) -> None:
        self.refusal: ShipmateError | None = None
        self.actors: list[Actor] = []

    def loading(self, typed: str, actor: Actor, reply_to: ReplyTo) -> Card:
        """What is known at once."""
        self.actors.append(actor)
        if self.refusal:
            raise self.refusal
        return Card(Tone.RUNNING, f"loading {typed}")

    def details(self, typed: str, reply_to: ReplyTo) -> Card:
        """What the source tells."""
        return Card(Tone.SUCCESS, f"details {typed}")

    def question(self, typed: str, reply_to: ReplyTo) -> Question:
        """What is asked for."""
        if self.refusal:
            raise self.refusal
        return Question("Reject", f"why {typed}", "Reject", "Never mind", typed, 300)


class FakeModals:
    """Remembers windows; raises what it is told to."""

    def __init__(self) -> None:
        self.history: list[tuple[str, str, str]] = []
        self.refusal: ShipmateError | None = None
        self._has_refused = threading.Event()
        self._changed = threading.Condition()

    def open(self, trigger: str, card: Card) -> str:
        """Open a window."""
        if self.refusal:
            refusal = self.refusal
            self._has_refused.set()
            raise refusal
        self._note("open", trigger, card)
        return "V1"

    def update(self, view_id: str, card: Card) -> None:
        """Fill a window."""
        self._note("update", view_id, card)

    def ask(self, trigger: str, question: Question, reply_to: ReplyTo) -> None:
        """Open a window that asks for words."""
        self.open(trigger, Card(Tone.NEUTRAL, question.label))

    def wait_for(self, count: int) -> bool:
        """Whether so many calls came within half a minute."""
        with self._changed:
            return self._changed.wait_for(lambda: len(self.history) >= count, 30.0)

    def wait_until_refused(self) -> bool:
        """Whether a window was refused within half a minute."""
        return self._has_refused.wait(30.0)

    def _note(self, call: str, target: str, card: Card) -> None:
        with self._changed:
            self.history.append((call, target, card.title))
            self._changed.notify_all()


def signed(body: str, *, at: str | None = None, secret: str = SECRET) -> dict[str, str]:
    """The headers Slack sends with a body."""
    at = str(int(NOW_S)) if at is None else at
    digest = hmac.new(secret.encode(), f"v0:{at}:{body}".encode(), hashlib.sha256).hexdigest()
    is_form = not body.startswith("{")
    kind = "application/x-www-form-urlencoded" if is_form else "application/json"
    return {"X-Slack-Request-Timestamp": at, "X-Slack-Signature": f"v0={digest}", "Content-Type": kind}


def command(**changes: str) -> dict[str, Any]:
    """A slash command's fields."""
    return {
        "team_id": "T1",
        "channel_id": "C1",
        "user_id": "U1",
        "user_name": "alice",
        "command": "/ship",
        "text": "status",
        "response_url": "https://hooks.slack.com/commands/x",
        "trigger_id": "1.2.abc",
    } | changes


def press(value: str = "retry user-service#12", *, user: str = "U1", **action: Any) -> dict[str, Any]:
    """A press of a button on a message."""
    return {
        "type": "block_actions",
        "user": {"id": user, "username": "alice", "name": "alice", "team_id": "T1"},
        "team": {"id": "T1"},
        "channel": {"id": "C1"},
        "container": {"type": "message", "message_ts": "100.1", "channel_id": "C1"},
        "response_url": "https://hooks.slack.com/actions/x",
        "trigger_id": "3.4.def",
        "actions": [{"action_id": "ship:retry", "type": "button", "value": value, "action_ts": "200.2"} | action],
    }


def event(kind: str, *, event_id: str = "Ev1", **fields: Any) -> dict[str, Any]:
    """An Events API callback."""
    inner = {"type": kind, "user": "U1", "channel": "C1", "team": "T1", "event_ts": "300.3"} | fields
    return {
        "type": "event_callback",
        "team_id": "T1",
        "event_id": event_id,
        "event": inner,
        "authorizations": [{"team_id": "T1", "user_id": "UBOT", "is_bot": True}],
    }


def encoded(payload: dict[str, Any]) -> str:
    """A payload as Slack sends it over HTTP."""
    if payload.get("type") in ("event_callback", "url_verification"):
        return json.dumps(payload)
    return urlencode(payload if "command" in payload else {"payload": json.dumps(payload)})
