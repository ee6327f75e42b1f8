"""Slack's signed HTTP requests, authenticated and read here, then handed to Bolt.

https://docs.slack.dev/authentication/verifying-requests-from-slack. Bolt's own reading is not used: it answers 500 to a
timestamp that is no number and to a body that is no payload, takes bodies of any size, and loses some commands.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import re
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl

from flask import Blueprint, Response, jsonify, request
from slack_bolt.adapter.flask.handler import to_flask_response
from werkzeug.exceptions import RequestEntityTooLarge

from bot.errors import InputError, PayloadInvalid, SignatureInvalid, TooLarge
from bot.ports import Clock
from bot.telemetry import REFUSED, WEBHOOKS, expect_webhooks, logger
from handlers.gate import Gate
from handlers.slack import NO_SENSE, RETRY_AFTER_S, RETRY_LATER, dispatch
from handlers.slack_payloads import PLATFORM

if TYPE_CHECKING:
    from slack_bolt import App

PATH = "/slack/events"
MOST_BYTES = 1024 * 1024
MOST_DRIFT_S = 300

_SECONDS = re.compile(r"[0-9]{1,12}", re.ASCII)

log = logger(__name__)


def flask_blueprint(app: App, signing_secret: str, clock: Clock, *, gate: Gate | None = None) -> Blueprint:
    """POST /slack/events: 413 over 1 MiB, 401 for what Slack did not sign, 400 for no payload, else Bolt's answer.

    Who is not let through the `gate` is answered 503, and nothing is read. Slack sends an event again, and shows the
    person an error beside a button or a command.
    """
    blueprint = Blueprint("slack", __name__)
    expect_webhooks([PLATFORM])
    if gate is not None:
        gate.guard(blueprint, _later)

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
            payload = parse(body)
        except InputError as problem:
            _count(problem.status)
            log.warning("slack request refused", reason=str(problem))
            answer = jsonify(error=str(problem))
            answer.status_code = problem.status
            return answer
        answered = dispatch(app, payload, dict(request.headers))
        response = to_flask_response(answered.response)
        _count(response.status_code)
        for work in answered.after:
            response.call_on_close(work)  # when the server has taken the whole answer
        return response

    return blueprint


def _later() -> Response:
    """Nothing is wrong with the request: it may come again."""
    _count(RETRY_LATER, "overloaded")
    answer = jsonify(error="overloaded")
    answer.status_code = RETRY_LATER
    answer.headers["Retry-After"] = str(RETRY_AFTER_S)
    return answer


def _count(status: int, put_off_for: str = "not_stored") -> None:
    """Count an answer; why a request was refused is in the log alone."""
    reason = "accepted" if status < 300 else put_off_for if status == RETRY_LATER else REFUSED
    WEBHOOKS.labels(PLATFORM, str(status), reason).inc()


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


def parse(body: bytes) -> dict[str, Any]:
    """The payload: JSON (events), a form with JSON in it (presses, windows), or a form (slash commands).

    Raises PayloadInvalid for anything else. The body's first byte decides, as the content type adds nothing to it.
    """
    try:
        words = body.decode()
        if words.lstrip().startswith(("{", "[")):
            payload = json.loads(words)
        else:
            fields = dict(parse_qsl(words, keep_blank_values=True))
            payload = json.loads(fields["payload"]) if "payload" in fields else fields
    except (ValueError, RecursionError):
        raise PayloadInvalid(NO_SENSE) from None
    if not isinstance(payload, dict) or not payload:
        raise PayloadInvalid(NO_SENSE)
    return payload


def _read() -> bytes:
    """The raw body; TooLarge before more than the limit is read, whatever the headers claim."""
    if (request.content_length or 0) > MOST_BYTES:
        raise TooLarge("too_large")
    request.max_content_length = MOST_BYTES
    try:
        return request.get_data(cache=True)
    except RequestEntityTooLarge:
        raise TooLarge("too_large") from None
