"""Slack's signed HTTP requests, authenticated here and handed to Bolt.

https://docs.slack.dev/authentication/verifying-requests-from-slack. Bolt checks again, but answers a timestamp that is
no number with 500, and reads bodies of any size.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from typing import TYPE_CHECKING

from flask import Blueprint, Response, jsonify, request
from slack_bolt.adapter.flask import SlackRequestHandler
from werkzeug.exceptions import RequestEntityTooLarge

from bot.errors import InputError, SignatureInvalid, TooLarge
from bot.ports import Clock
from bot.telemetry import WEBHOOKS, logger
from handlers.slack_payloads import PLATFORM

if TYPE_CHECKING:
    from slack_bolt import App

PATH = "/slack/events"
MOST_BYTES = 1024 * 1024
MOST_DRIFT_S = 300

_SECONDS = re.compile(r"[0-9]{1,12}", re.ASCII)

log = logger(__name__)


def flask_blueprint(app: App, signing_secret: str, clock: Clock) -> Blueprint:
    """POST /slack/events: 413 over 1 MiB, 401 with the reason for what Slack did not sign, else what Bolt answers."""
    blueprint = Blueprint("slack", __name__)
    handler = SlackRequestHandler(app)

    @blueprint.post(PATH)
    def events() -> Response:
        try:
            body = _read()
            verify(
                signing_secret,
                body,
                timestamp=request.headers.get("X-Slack-Request-Timestamp"),
                signature=request.headers.get("X-Slack-Signature"),
                now=clock.now().timestamp(),
            )
        except InputError as problem:
            WEBHOOKS.labels(PLATFORM, str(problem.status), str(problem)).inc()
            log.warning("slack request refused", reason=str(problem))
            answer = jsonify(error=str(problem))
            answer.status_code = problem.status
            return answer
        return handler.handle(request)

    return blueprint


def verify(signing_secret: str, body: bytes, *, timestamp: str | None, signature: str | None, now: float) -> None:
    """Raise SignatureInvalid, naming the reason, unless Slack signed `body` within five minutes of `now` (seconds)."""
    if not timestamp:
        raise SignatureInvalid("missing_timestamp")
    if not _SECONDS.fullmatch(timestamp):
        raise SignatureInvalid("malformed_timestamp")
    if abs(now - int(timestamp)) > MOST_DRIFT_S:
        raise SignatureInvalid("stale_timestamp")
    if not signature:
        raise SignatureInvalid("missing_signature")
    signed = b"v0:" + timestamp.encode() + b":" + body
    expected = "v0=" + hmac.new(signing_secret.encode(), signed, hashlib.sha256).hexdigest()
    if not hmac.compare_digest(expected.encode(), signature.encode()):
        raise SignatureInvalid("bad_signature")


def _read() -> bytes:
    """The raw body; TooLarge before more than the limit is read, whatever the headers claim."""
    if (request.content_length or 0) > MOST_BYTES:
        raise TooLarge("too_large")
    request.max_content_length = MOST_BYTES
    try:
        return request.get_data(cache=True)
    except RequestEntityTooLarge:
        raise TooLarge("too_large") from None
