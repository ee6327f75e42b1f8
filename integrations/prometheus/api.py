"""Calls to the HTTP API: forms out, one envelope for all answers in."""

from __future__ import annotations

import base64
import json
from typing import Any
from urllib.parse import urlencode

import requests

from bot.errors import DestinationGone, Rejected, Unavailable
from integrations.http import CALL_DEADLINE_S, Answer, call, raise_for_status
from integrations.prometheus.config import SYSTEM, Config
from integrations.texts import clean_line

Json = dict[str, Any]
MAX_WORDS = 300
MAX_WARNINGS = 5
SERVER_TIMEOUT = "7s"  # it stops working on what nobody waits for any more
_HTTP_OF_THE_API = (400, 422, 503)


class PrometheusApi:
    """One server, reached over a session; safe for several threads."""

    def __init__(self, session: requests.Session, config: Config) -> None:
        self._session = session
        self._url = config.url
        self._headers = {"Accept": "application/json"}
        if config.token is not None:
            self._headers["Authorization"] = f"Bearer {config.token.get_secret_value()}"
        if config.user is not None and config.password is not None:
            pair = f"{config.user}:{config.password.get_secret_value()}"
            self._headers["Authorization"] = f"Basic {base64.b64encode(pair.encode()).decode()}"

    def ask(self, path: str, **form: str) -> tuple[Json, tuple[str, ...]]:
        """The data of an answer, and what was said beside it. Raises IntegrationError with the server's words."""
        answer = call(
            self._session,
            SYSTEM,
            "POST",
            f"{self._url}/api/v1/{path}",
            changes=False,
            headers={**self._headers, "Content-Type": "application/x-www-form-urlencoded"},
            content=urlencode({**form, "timeout": SERVER_TIMEOUT}),
            deadline_s=CALL_DEADLINE_S,
        )
        return _read(answer)

    def version(self) -> str:
        """The version of the server, `of unknown version` for what only speaks its API."""
        answer = call(
            self._session, SYSTEM, "GET", f"{self._url}/api/v1/status/buildinfo", headers=self._headers, deadline_s=3.0
        )
        try:
            return clean_line(str(answer.json()["data"]["version"]), 40)
        except (ValueError, LookupError, TypeError):
            return "of unknown version"


def _read(answer: Answer) -> tuple[Json, tuple[str, ...]]:
    body = _envelope(answer)
    if answer.status == 429:  # Mimir wraps it up as an error of a query
        raise_for_status(SYSTEM, answer)
    if (answer.status in _HTTP_OF_THE_API and "errorType" in body) or body.get("status") == "error":
        raise _failure(answer.status, body)
    if answer.status in (404, 410):
        raise DestinationGone(SYSTEM, f"http_{answer.status}", "is there a Prometheus at this address?")
    if 300 <= answer.status < 400:
        raise Rejected(SYSTEM, "redirected", "the address, or a login that stands before it, leads elsewhere")
    raise_for_status(SYSTEM, answer)
    data = body.get("data")
    if body.get("status") != "success" or not isinstance(data, dict):
        raise Unavailable(SYSTEM, "bad_answer", "is this the address of a Prometheus?")
    said = ["isPartial: true"] if body.get("isPartial") is True else []  # VictoriaMetrics gives no warning
    said += [words for name in ("warnings", "infos") for words in _texts(body.get(name))]
    return data, tuple(clean_line(words, MAX_WORDS) for words in said[:MAX_WARNINGS])


def _envelope(answer: Answer) -> Json:
    """The JSON object of an answer; empty for HTML, plain text and what else proxies send."""
    try:
        body = json.loads(answer.body)
    except (ValueError, RecursionError):
        return {}
    return body if isinstance(body, dict) else {}


def _failure(status: int, body: Json) -> Rejected | Unavailable:
    words = clean_line(str(body.get("error", "")), MAX_WORDS)
    match body.get("errorType"):
        case "bad_data":
            return Rejected(SYSTEM, "bad_data", words)
        case "execution":
            return Rejected(SYSTEM, "execution", words)
        case "timeout" | "canceled":
            return Unavailable(SYSTEM, "timeout", words)
        case _ if status == 400:
            return Rejected(SYSTEM, "http_400", words)
        case _:
            return Unavailable(SYSTEM, "unavailable", words)


def _texts(given: object) -> list[str]:
    return [str(one) for one in given] if isinstance(given, list) else []
