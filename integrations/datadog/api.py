"""Calls to Datadog's HTTP API, and every way in which it says no."""

from __future__ import annotations

import json as json_codec
import math
from collections.abc import Mapping
from typing import Any

import requests

from bot.errors import RateLimited, Rejected, Unavailable
from integrations.datadog.config import SYSTEM, Config
from integrations.http import Answer, call, raise_for_status
from integrations.texts import clean_line

Json = dict[str, Any]
LEAST_PAUSE_S = 1.0
MAX_WORDS = 300


class DatadogApi:
    """One organisation, reached over a session; calls may be made again without harm."""

    def __init__(self, config: Config, session: requests.Session) -> None:
        self._session = session
        self._base_url = config.base_url
        self._headers = {
            "Accept": "application/json",
            "DD-API-KEY": config.api_key.get_secret_value(),
            "DD-APPLICATION-KEY": config.application_key.get_secret_value(),
        }

    def ask(self, method: str, path: str, *, params: Mapping[str, str] | None = None, json: object = None) -> Json:
        """The object that is answered; raises IntegrationError."""
        answer = call(
            self._session,
            SYSTEM,
            method,
            self._base_url + path,
            changes=False,
            headers=self._headers,
            params=params,
            json=json,
        )
        return _read(answer)


def _read(answer: Answer) -> Json:
    if answer.status == 429:
        raise RateLimited(SYSTEM, "rate_limited", _pause_s(answer.headers), scope="account")
    try:
        body = json_codec.loads(answer.body)
    except (ValueError, RecursionError):
        body = None
    if answer.status in (400, 422):
        words = body.get("errors") if isinstance(body, dict) else None
        detail = "; ".join(_word(one) for one in words) if isinstance(words, list) else ""
        raise Rejected(SYSTEM, "bad_query", clean_line(detail, MAX_WORDS))
    raise_for_status(SYSTEM, answer)
    if not isinstance(body, dict):
        raise Unavailable(SYSTEM, "bad_answer", "not JSON: is this the address of Datadog's API?")
    return body


def _word(error: object) -> str:
    """A text, or an object of JSON:API with its `detail` or `title`."""
    return str(error.get("detail") or error.get("title") or "") if isinstance(error, dict) else str(error)


def _pause_s(headers: Mapping[str, str]) -> float:
    """Seconds from now, not an instant; 30 where it is missing or no number."""
    try:
        seconds = float(headers.get("X-RateLimit-Reset", ""))
    except ValueError:
        return 30.0
    return max(LEAST_PAUSE_S, seconds) if math.isfinite(seconds) else 30.0
