"""slack_sdk's WebClient over a shared requests session: connections are kept open and a call has one total deadline.

The SDK opens a connection a call (urllib), which costs a TLS handshake each time and bounds only single reads.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any
from urllib.parse import urlencode

import requests
from slack_sdk.errors import SlackApiError
from slack_sdk.web import SlackResponse, WebClient

from bot.errors import OutcomeUnknown, Unavailable
from integrations.http import CALL_DEADLINE_S, GAVE_UP, call
from integrations.slack.config import SlackConfig
from integrations.slack.errors import REPEATABLE, SYSTEM, classify
from integrations.slack.times import SlackTime


class KeepAliveWebClient(WebClient):
    """The SDK's client with its one method that touches the network replaced; it never repeats a call."""

    def __init__(self, session: requests.Session, token: str | None, base_url: str) -> None:
        super().__init__(token=token, base_url=base_url, timeout=int(CALL_DEADLINE_S), retry_handlers=[])
        self._session = session
        self.time = SlackTime()

    def _perform_urllib_http_request(self, *, url: str, args: dict[str, dict[str, Any]]) -> dict[str, Any]:
        method = url.removeprefix(self.base_url)
        headers = {name: str(value) for name, value in args["headers"].items()}
        if args["json"]:
            content, kind = json.dumps(args["json"], ensure_ascii=False), "application/json;charset=utf-8"
        else:
            content, kind = urlencode(args["params"] or {}), "application/x-www-form-urlencoded"
        headers["Content-Type"] = kind
        changes = method not in REPEATABLE
        answer = call(self._session, SYSTEM, "POST", url, headers=headers, content=content.encode(), changes=changes)
        self.time.hear(answer.headers)
        body = answer.body.decode("utf-8", "replace")
        if not _is_object(body):  # a page of a proxy or of an outage, or cut off: the SDK takes it for an error word
            if answer.status != 429:
                unsure = changes and (answer.status < 300 or answer.status >= 500)
                reason = "timeout" if unsure and answer.status == GAVE_UP else "not_json"
                raise (OutcomeUnknown if unsure else Unavailable)(SYSTEM, reason, f"HTTP {answer.status}")
            body = "{}"
        return {"status": answer.status, "headers": answer.headers, "body": body}


def _is_object(body: str) -> bool:
    try:
        return isinstance(json.loads(body), dict)
    except (ValueError, RecursionError):
        return False


def web_client(config: SlackConfig, session: requests.Session) -> KeepAliveWebClient:
    """The client of the app's bot."""
    return KeepAliveWebClient(session, config.bot_token.get_secret_value(), config.api_url)


def ask(method: str, call_api: Callable[..., SlackResponse], **arguments: Any) -> dict[str, Any]:  # noqa: ANN401 - wire values
    """One call of `method` by the SDK's function for it; raises IntegrationError by Slack's own word."""
    try:
        response = call_api(**arguments)
    except SlackApiError as problem:
        raise classify(method, problem) from None
    except ValueError:
        kind = Unavailable if method in REPEATABLE else OutcomeUnknown
        raise kind(SYSTEM, "not_json") from None
    return response.data if isinstance(response.data, dict) else {}
