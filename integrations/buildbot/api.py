"""Calls to Buildbot's API: reads, JSON-RPC control, and the login that control needs.

API: https://docs.buildbot.net/4.3.0/developer/rest.html. `GET /auth/login` with Basic sets a session cookie, which
everything after must carry: Basic on a call itself is ignored. Without a valid cookie reads go on as anonymous and
control is answered 403, with nothing done; so one new login and one more try are safe.

Since 4.2 Buildbot now and then loses the body of an answer to a read, which it writes beside Twisted's own thread
(https://github.com/buildbot/buildbot/issues/9065). So each read has a connection of its own, which then ends early
instead of keeping us waiting, and is made once more.
"""

from __future__ import annotations

import base64
import re
import threading
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

import requests

from bot.errors import AuthFailed, DestinationGone, OutcomeUnknown, Rejected, Unavailable
from integrations.buildbot.config import SYSTEM
from integrations.http import CALL_DEADLINE_S, Answer, call, raise_for_status
from integrations.texts import clean_line

Json = dict[str, Any]
Parameter = str | int | list[int] | list[str]
INVALID_PARAMETERS = -32602
_WORTH_REPEATING_S = 1.0

_COOKIE = re.compile(r"(TWISTED_(?:SECURE_)?SESSION[^=;,\s]*)=([^;,\s]+)")


class Deadline:
    """The end of one operation, however many calls it takes."""

    def __init__(self, seconds: float = CALL_DEADLINE_S) -> None:
        self._ends_at = time.monotonic() + seconds

    def left_s(self) -> float:
        """Seconds left; Unavailable when the next call had better not be made."""
        left = self._ends_at - time.monotonic()
        if left <= 0.05:
            raise Unavailable(SYSTEM, "deadline")
        return left

    def is_past(self, reserve_s: float = 0.0) -> bool:
        """Whether less than `reserve_s` is left."""
        return self._ends_at - time.monotonic() <= reserve_s


class BuildbotApi:
    """One Buildbot, reached over a session; safe for several threads."""

    def __init__(self, session: requests.Session, url: str, user: str | None, password: str | None) -> None:
        self._session = session
        self._url = url
        self._credentials = f"{user}:{password}" if user is not None else None
        self._cookie: str | None = None
        self._login = threading.Lock()

    def rows(self, path: str, name: str, deadline: Deadline, **params: Parameter) -> list[Json]:
        """The objects of a read: Buildbot wraps even a single one in a list. DestinationGone when there is no such."""
        answer = self._send("GET", f"/api/v2/{path}", deadline, params=params)
        if answer.status == 404 and not _says_why(answer):
            raise Unavailable(SYSTEM, "http_404", "it is not Buildbot that says so: is this its address?")
        raise_for_status(SYSTEM, answer)
        return _rows(answer, name)

    def row(self, path: str, name: str, deadline: Deadline, **params: Parameter) -> Json:
        """The one object of a read."""
        rows = self.rows(path, name, deadline, **params)
        if not rows:
            raise DestinationGone(SYSTEM, "not_found")
        return rows[0]

    def read(self, path: str, deadline: Deadline) -> tuple[Json, datetime | None]:
        """An object outside the REST API, and the time on Buildbot's clock (whole seconds) where it is told."""
        answer = self._send("GET", path, deadline)
        raise_for_status(SYSTEM, answer)
        body = _decode(answer)
        if not isinstance(body, dict):
            raise Unavailable(SYSTEM, "bad_answer")
        return body, _date(answer.headers)

    def control(self, path: str, method: str, params: Mapping[str, str], deadline: Deadline) -> Any:  # noqa: ANN401 - JSON
        """The result of a JSON-RPC call; null also means that nothing happened, so read again what it should change."""
        if self._credentials is not None and self._cookie is None:
            self.log_in(None, deadline)
        request = {"jsonrpc": "2.0", "id": 1, "method": method, "params": dict(params)}
        answer = self._send("POST", f"/api/v2/{path}", deadline, json=request)
        if answer.status == 400:
            raise _refusal(answer)
        if answer.status == 501:
            raise Rejected(SYSTEM, "unknown_method")
        raise_for_status(SYSTEM, answer, changes=True)
        try:
            return answer.json()["result"]
        except (ValueError, LookupError, TypeError):
            raise OutcomeUnknown(SYSTEM, "bad_answer") from None

    def check_login(self, deadline: Deadline) -> None:
        """Log in anew, where there are credentials; AuthFailed when Buildbot refuses them."""
        if self._credentials is not None:
            self.log_in(self._cookie, deadline)

    def log_in(self, refused: str | None, deadline: Deadline) -> None:
        """Get a session cookie in place of `refused`, unless another thread has done so. Raises AuthFailed."""
        assert self._credentials is not None
        with self._login:
            if self._cookie != refused:
                return
            basic = base64.b64encode(self._credentials.encode()).decode()
            answer = call(
                self._session,
                SYSTEM,
                "GET",
                f"{self._url}/auth/login",
                headers={"Authorization": f"Basic {basic}"},
                deadline_s=deadline.left_s(),
            )
            if answer.status >= 400:
                raise_for_status(SYSTEM, answer)
            # The anonymous session's cookie may come first in the same answer: the last one counts.
            found = _COOKIE.findall(answer.headers.get("Set-Cookie", ""))
            if not found:
                raise AuthFailed(SYSTEM, "no_session", "the login set no session cookie")
            self._cookie = "=".join(found[-1])

    def _send(
        self,
        method: str,
        path: str,
        deadline: Deadline,
        *,
        params: Mapping[str, Any] | None = None,
        json: object = None,
    ) -> Answer:
        cookie = self._cookie
        try:
            answer = self._try(method, path, deadline, cookie, params, json)
        except Unavailable:
            if method != "GET" or deadline.is_past(_WORTH_REPEATING_S):
                raise
            answer = self._try(method, path, deadline, cookie, params, json)
        if answer.status not in (401, 403) or self._credentials is None:
            return answer
        self.log_in(cookie, deadline)
        return self._try(method, path, deadline, self._cookie, params, json)

    def _try(
        self,
        method: str,
        path: str,
        deadline: Deadline,
        cookie: str | None,
        params: Mapping[str, Any] | None,
        json: object,
    ) -> Answer:
        headers = {"Accept": "application/json"}
        if method == "GET":
            headers["Connection"] = "close"
        if cookie is not None:
            # Said outright: the session's own jar also takes the anonymous cookies that Buildbot hands out.
            headers["Cookie"] = cookie
        return call(
            self._session,
            SYSTEM,
            method,
            self._url + path,
            headers=headers,
            params=params,
            json=json,
            deadline_s=deadline.left_s(),
        )


def number_in(row: Json, name: str) -> int:
    """A number that each object of its kind has; Unavailable when this one has not."""
    value = row.get(name)
    if type(value) is not int:
        raise Unavailable(SYSTEM, "bad_answer", f"no number {name}")
    return value


def _decode(answer: Answer) -> Any:  # noqa: ANN401 - any JSON value
    try:
        return answer.json()
    except (ValueError, RecursionError):
        raise Unavailable(SYSTEM, "bad_answer", "not JSON: is this the address of a Buildbot?") from None


def _says_why(answer: Answer) -> bool:
    """Whether an error is Buildbot's own, which is an object with `error`, and not a page of something in between."""
    try:
        body = answer.json()
    except (ValueError, RecursionError):
        return False
    return isinstance(body, dict) and "error" in body


def _rows(answer: Answer, name: str) -> list[Json]:
    body = _decode(answer)
    rows = body.get(name) if isinstance(body, dict) else None
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise Unavailable(SYSTEM, "bad_answer", f"no list of {name}")
    return rows


def _refusal(answer: Answer) -> Rejected:
    """Why Buildbot did not accept the call; what it says of a parameter is for the person who gave it."""
    try:
        error = answer.json()["error"]
        code, words = error["code"], error["message"]
    except (ValueError, LookupError, TypeError):
        return Rejected(SYSTEM, "http_400")
    if isinstance(words, dict):
        words = "; ".join(str(problem) for problem in words.values())
    reason = "invalid_parameters" if code == INVALID_PARAMETERS else "http_400"
    return Rejected(SYSTEM, reason, clean_line(str(words), 300))


def _date(headers: Mapping[str, str]) -> datetime | None:
    try:
        date = parsedate_to_datetime(headers.get("Date", ""))
    except ValueError:
        return None
    return date if date.tzinfo else date.replace(tzinfo=UTC)
