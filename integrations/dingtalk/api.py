"""Calls to DingTalk: signed robot webhooks, and the app's API with its access token.

Token: https://open.dingtalk.com/document/orgapp/obtain-the-access_token-of-an-internal-app (two hours).
Signature: https://open.dingtalk.com/document/robots/customize-robot-security-settings (drift of up to one hour).
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from typing import Any

import requests

from bot.errors import AuthFailed, IntegrationError, Rejected, Unavailable
from integrations.dingtalk.config import SYSTEM, Robot
from integrations.dingtalk.failures import is_token_refused, read_errcode, read_result
from integrations.dingtalk.render import encode
from integrations.http import CALL_DEADLINE_S, Answer, call
from integrations.transport import end_of_all, together

EARLY_S = 600.0
TOKEN_HEADER = "x-acs-dingtalk-access-token"  # noqa: S105 - the name of a header


def sign(secret: str, timestamp_ms: int) -> str:
    """The signature of a robot's secret at a time: base64 of HMAC-SHA256 over `timestamp\\nsecret`."""
    digest = hmac.new(secret.encode(), f"{timestamp_ms}\n{secret}".encode(), hashlib.sha256).digest()
    return base64.b64encode(digest).decode()


def send_to_robot(session: requests.Session, robot: Robot, payload: Mapping[str, Any], now: datetime) -> None:
    """Post to a custom robot's webhook; raises IntegrationError by errcode."""
    params: dict[str, Any] = {}
    if robot.secret is not None:
        timestamp = int(now.timestamp() * 1000)
        params = {"timestamp": timestamp, "sign": sign(robot.secret.get_secret_value(), timestamp)}
    _post(session, robot.webhook_url.get_secret_value(), payload, params)


def post_markdown(session: requests.Session, url: str, payload: Mapping[str, Any]) -> None:
    """Post to a session webhook, whose address is the permission; raises IntegrationError by errcode."""
    _post(session, url, payload, {})


def _post(session: requests.Session, url: str, payload: Mapping[str, Any], params: Mapping[str, Any]) -> None:
    headers = {"Content-Type": "application/json; charset=utf-8"}
    read_errcode(call(session, SYSTEM, "POST", url, params=params, headers=headers, content=encode(payload)))


class App:
    """The API as an app: one cached token, made anew ten minutes before it ends and once when it is refused."""

    def __init__(
        self,
        session: requests.Session,
        client_id: str,
        client_secret: str,
        *,
        api_url: str,
        oapi_url: str,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.client_id = client_id
        self._session = session
        self._client_secret = client_secret
        self._api_url = api_url
        self._oapi_url = oapi_url
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._token = ""
        self._ends_at = 0.0

    def request(self, method: str, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """One call of the new API and its body, with its tokens within 8 s; raises IntegrationError."""
        with together(CALL_DEADLINE_S):
            token = self.token()
            answer = self._call(method, path, body, token)
            if is_token_refused(answer):
                answer = self._call(method, path, body, self.token(refused=token))
            return read_result(answer)

    def ask_old(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """One reading call of the old API (`topapi`), whose token stands in the address; raises IntegrationError."""
        with together(CALL_DEADLINE_S):
            token = self.token()
            try:
                return self._call_old(path, body, token)
            except AuthFailed as problem:
                if problem.reason != "token_invalid":
                    raise
            return self._call_old(path, body, self.token(refused=token))

    def token(self, refused: str | None = None) -> str:
        """The access token; a `refused` one is replaced, unless another thread has done so already."""
        with together(CALL_DEADLINE_S), self._alone():
            is_good = self._token and self._token != refused and self._monotonic() < self._ends_at
            if not is_good:
                self._token, self._ends_at = "", 0.0
                self._token, self._ends_at = self._new_token()
            return self._token

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """One thread at a time asks for a token; Unavailable when that takes the others' whole time."""
        if not self._lock.acquire(timeout=max(0.0, end_of_all() - time.monotonic())):
            raise Unavailable(SYSTEM, "deadline")
        try:
            yield
        finally:
            self._lock.release()

    def _new_token(self) -> tuple[str, float]:
        asked_at = self._monotonic()
        body = {"appKey": self.client_id, "appSecret": self._client_secret}
        url = f"{self._api_url}/v1.0/oauth2/accessToken"
        answer = call(self._session, SYSTEM, "POST", url, json=body, changes=False)
        try:
            result = read_result(answer)
            token, lifetime = result["accessToken"], float(result["expireIn"])
        except (KeyError, TypeError, ValueError):
            raise Unavailable(SYSTEM, "unreadable_answer", "no token") from None
        except (AuthFailed, Rejected) as problem:
            raise AuthFailed(SYSTEM, "credentials_refused", problem.detail) from None
        except IntegrationError as problem:
            if problem.recoverable and problem.retry_after_s is None:
                raise Unavailable(SYSTEM, problem.reason, problem.detail) from None
            raise
        if not isinstance(token, str) or not token:
            raise Unavailable(SYSTEM, "unreadable_answer", "no token")
        return token, asked_at + max(0.0, lifetime - min(EARLY_S, lifetime / 2))

    def _call(self, method: str, path: str, body: Mapping[str, Any], token: str) -> Answer:
        headers = {TOKEN_HEADER: token}
        return call(self._session, SYSTEM, method, f"{self._api_url}{path}", headers=headers, json=dict(body))

    def _call_old(self, path: str, body: Mapping[str, Any], token: str) -> dict[str, Any]:
        url = f"{self._oapi_url}{path}"
        params = {"access_token": token}
        return read_errcode(call(self._session, SYSTEM, "POST", url, params=params, json=dict(body), changes=False))
