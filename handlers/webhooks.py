"""The door of sources and trackers: authenticate, translate, store, answer.

2xx is given only after the events are committed. 503 with Retry-After is the one answer to trouble of our own: other
codes make senders give up, or punish us.
"""

from __future__ import annotations

import json
import math
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Generic, TypeVar

from flask import Blueprint, Response, request
from werkzeug.exceptions import RequestEntityTooLarge

from bot.domain.budgets import Budget
from bot.domain.events import Event
from bot.domain.issues import IssueChange
from bot.errors import InputError, StorageUnavailable, TooLarge
from bot.ports import Clock, WebhookSource, Writing
from bot.ports.trackers import ChangeSource
from bot.services.ingest import Ingest, Outcome
from bot.services.tracking import ChangeInbox, Taken
from bot.telemetry import REFUSED, WEBHOOKS, expect_webhooks, logger
from handlers.gate import Gate
from handlers.later import Later

MAX_BODY_BYTES = 1024 * 1024
RETRY_AFTER_S = 5
BURST_S = 10.0

log = logger(__name__)
T = TypeVar("T", bound=Sequence[Any])
_TAKEN = {Outcome.ACCEPTED, Outcome.UNCHANGED, Taken.ACCEPTED}


class RateLimit:
    """How many requests one source may make: `per_second`, and at once what makes up for ten quiet seconds.

    One number a source, whatever it sends. Several processes each have their own.
    """

    def __init__(self, per_second: float) -> None:
        self._budget = Budget("", 1.0 / per_second, max(1, round(per_second * BURST_S)))
        self._arrival = 0.0
        self._lock = threading.Lock()

    def wait_s(self, now: float) -> float:
        """Take one request, or say in how many seconds one could be taken: 0 when it was."""
        with self._lock:
            # A clock that was set back does not lock a source out for longer than an empty bucket takes to fill.
            self._arrival = min(self._arrival, now + BURST_S + self._budget.interval_s)
            wait = self._budget.ready_at(self._arrival) - now
            if wait <= 0:
                self._arrival = self._budget.after(self._arrival, now)
            return max(wait, 0.0)


@dataclass(frozen=True, slots=True)
class Sender(Generic[T]):
    """Who may post here: how its body is understood, why nothing may be in it, and what is done with what is.

    `accept` says of each piece, once it is written, what became of it: `accepted`, `duplicate`, or another reason.
    """

    receive: Callable[[Mapping[str, str], bytes, datetime], tuple[T, str]]
    accept: Callable[[T], Writing[Sequence[str]]]


def events_of(source: WebhookSource, ingest: Ingest) -> Sender[Sequence[Event]]:
    """A source, whose events are folded and shown."""

    def receive(headers: Mapping[str, str], body: bytes, now: datetime) -> tuple[Sequence[Event], str]:
        received = source.receive(headers, body, now)
        return received.events, received.reason

    return Sender(receive, ingest.submit)


def changes_of(source: ChangeSource, tracker: str, inbox: ChangeInbox) -> Sender[Sequence[IssueChange]]:
    """A tracker, whose changes may start something."""

    def receive(headers: Mapping[str, str], body: bytes, now: datetime) -> tuple[Sequence[IssueChange], str]:
        received = source.receive(headers, body, now)
        return received.changes, received.reason

    def accept(changes: Sequence[IssueChange]) -> Writing[Sequence[str]]:
        return inbox.submit(tracker, changes)

    return Sender(receive, accept)


def webhooks(
    senders: Mapping[str, Sender[Any]],
    clock: Clock,
    *,
    rates: Mapping[str, float | None] | None = None,
    gate: Gate | None = None,
) -> Blueprint:
    """`POST /webhooks/<name>` for every configured source and tracker.

    `rates` are requests a second, None without a limit. What is too much is answered 503, not 429: Alertmanager drops a
    notification at 429 (https://github.com/prometheus/alertmanager/issues/2121), older GitLabs shut a webhook off
    for good after four 4xx (https://gitlab.com/gitlab-org/gitlab/-/issues/396577), and both try again after 503.
    Who is not let through the `gate` is told the same: nothing is read then, and nobody waits.
    """
    door = Blueprint("webhooks", __name__)
    expect_webhooks(senders)
    if gate is not None:
        gate.guard(door, lambda: _come_again(_known(senders), "overloaded", RETRY_AFTER_S))
    limits = {name: RateLimit(rate) for name, rate in (rates or {}).items() if rate is not None}

    @door.post("/webhooks/<name>")
    def receive(name: str) -> Response:
        sender = senders.get(name)
        if sender is None:
            return _answer("", 404, f"there is no source {name[:50]!r}")
        try:
            now = clock.now()
            found, reason = sender.receive(_headers(), _body(), now)
            # Only who is authentic uses up a source's rate.
            if name in limits and (wait := limits[name].wait_s(now.timestamp())) > 0:
                return _come_again(name, "rate_limited", max(1, math.ceil(wait)))
            if not found:
                return _answer(name, 202 if reason.startswith("unknown:") else 200, reason)
            writing = sender.accept(found)
        except (InputError, StorageUnavailable) as problem:
            return _refused(name, problem)
        return Later(writing, lambda: _written(name, writing))

    return door


def _written(source: str, writing: Writing[Sequence[str]]) -> Response:
    """The answer to what was to be stored."""
    try:
        outcomes = set(writing.result())
    except (InputError, StorageUnavailable) as problem:
        return _refused(source, problem)
    if outcomes & _TAKEN:
        return _answer(source, 202, "accepted")
    return _answer(source, 200, "duplicate" if Outcome.DUPLICATE in outcomes else "ignored:no_trigger")


def _refused(source: str, problem: InputError | StorageUnavailable) -> Response:
    """The answer where nothing was stored."""
    if isinstance(problem, InputError):
        log.warning("webhook refused", source=source, status=problem.status, error=problem)
        return _answer(source, problem.status, str(problem))
    log.error("webhook not stored", source=source, error=problem)
    return _come_again(source, "not_stored", RETRY_AFTER_S)


def _known(senders: Mapping[str, Sender[Any]]) -> str:
    """Whose door is knocked at; nothing where there is none of that name."""
    name = str((request.view_args or {}).get("name", ""))
    return name if name in senders else ""


def _headers() -> dict[str, str]:
    """By lower-case name, read from WSGI's own: Werkzeug's view of them takes three times as long."""
    found = {
        key[5:].replace("_", "-").lower(): value for key, value in request.environ.items() if key.startswith("HTTP_")
    }
    return found | {"content-type": request.environ.get("CONTENT_TYPE", "")}


def _body() -> bytes:
    if (request.content_length or 0) > MAX_BODY_BYTES:
        raise TooLarge(f"the body is larger than {MAX_BODY_BYTES} bytes")
    request.max_content_length = MAX_BODY_BYTES
    try:
        return request.get_data(cache=False)
    except RequestEntityTooLarge:
        raise TooLarge(f"the body is larger than {MAX_BODY_BYTES} bytes") from None


def _come_again(source: str, reason: str, retry_after_s: int) -> Response:
    """Nothing is wrong with the request: it is to come again."""
    answer = _answer(source, 503, f"{reason}: try again", reason)
    answer.headers["Retry-After"] = str(retry_after_s)
    return answer


def _answer(source: str, status: int, reason: str, label: str = REFUSED) -> Response:
    WEBHOOKS.labels(source, str(status), reason.partition(":")[0] if status < 300 else label).inc()
    said = {"reason": reason, "status": "ok" if status < 300 else "error"}
    return Response(f"{json.dumps(said)}\n", status, mimetype="application/json")
