"""The sources' door: authenticate, translate, store, answer.

2xx is given only after the events are committed. 503 with Retry-After is the one answer to trouble of our own: other
codes make senders give up, or punish us.
"""

from __future__ import annotations

from collections.abc import Mapping

from flask import Blueprint, Response, jsonify, request
from werkzeug.exceptions import RequestEntityTooLarge

from bot.errors import InputError, StorageUnavailable, TooLarge
from bot.ports import Clock, WebhookSource
from bot.services.ingest import Ingest, Outcome
from bot.telemetry import WEBHOOKS, logger

MAX_BODY_BYTES = 1024 * 1024
RETRY_AFTER_S = 5

log = logger(__name__)


def webhooks(sources: Mapping[str, WebhookSource], ingest: Ingest, clock: Clock) -> Blueprint:
    """`POST /webhooks/<source>` for every configured source."""
    door = Blueprint("webhooks", __name__)

    @door.post("/webhooks/<name>")
    def receive(name: str) -> Response:
        source = sources.get(name)
        if source is None:
            return _answer("", 404, f"there is no source {name[:50]!r}")
        try:
            received = source.receive(_headers(), _body(), clock.now())
            outcomes = ingest.accept(received.events)
        except InputError as problem:
            log.warning("webhook refused", source=name, status=problem.status, error=problem)
            return _answer(name, problem.status, str(problem))
        except StorageUnavailable as problem:
            log.error("webhook not stored", source=name, error=problem)
            answer = _answer(name, 503, "not stored, try again")
            answer.headers["Retry-After"] = str(RETRY_AFTER_S)
            return answer
        if not received.events:
            return _answer(name, 202 if received.reason.startswith("unknown:") else 200, received.reason)
        is_new = any(outcome is not Outcome.DUPLICATE for outcome in outcomes)
        return _answer(name, 202, "accepted") if is_new else _answer(name, 200, "duplicate")

    return door


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


def _answer(source: str, status: int, reason: str) -> Response:
    WEBHOOKS.labels(source, str(status), reason.partition(":")[0] if status < 300 else "refused").inc()
    answer = jsonify({"status": "ok" if status < 300 else "error", "reason": reason})
    answer.status_code = status
    return answer
