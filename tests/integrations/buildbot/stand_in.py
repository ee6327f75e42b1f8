"""A Buildbot in memory, for what a real one cannot be brought to do: answers by path, a login, and every call kept."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Any
from urllib.parse import parse_qs, urlsplit

import requests
from requests.adapters import BaseAdapter

URL = "http://buildbot.example.com"
NOW = datetime(2026, 11, 21, 4, 10, tzinfo=UTC)
STARTED_AT = 1795234072
Answer = tuple[int, Any]


@dataclass(frozen=True, slots=True)
class Call:
    """One request as it came."""

    method: str
    path: str
    query: dict[str, list[str]]
    headers: dict[str, str]
    body: Any


@dataclass
class StandIn(BaseAdapter):
    """Answers `METHOD path` from `answers`: a status and JSON, an exception, or a function of the call giving either.

    With `password` set, POST needs the session cookie that the last login set, as Buildbot's own authorization does.
    """

    answers: dict[str, Any] = field(default_factory=dict)
    password: str | None = None
    date: datetime | None = NOW
    calls: list[Call] = field(default_factory=list)
    logins: int = 0

    def __post_init__(self) -> None:
        super().__init__()

    def close(self) -> None:
        """Nothing is open."""

    def send(self, request: requests.PreparedRequest, *args: Any, **kwargs: Any) -> requests.Response:
        """Answer one request."""
        parts = urlsplit(request.url or "")
        body = json.loads(request.body) if request.body else None
        headers = {name.lower(): value for name, value in request.headers.items()}
        call = Call(request.method or "", parts.path, parse_qs(parts.query), headers, body)
        self.calls.append(call)
        if call.path == "/auth/login":
            return self._log_in(call, request)
        if call.method == "POST" and self.password is not None and self._cookie not in headers.get("cookie", ""):
            return self._respond(request, 403, {"error": {"code": -32600, "message": "you need to have role 'admins'"}})
        answer = self.answers.get(f"{call.method} {call.path.removeprefix('/api/v2/')}", (404, {"error": "not found"}))
        if isinstance(answer, Callable):  # type: ignore[arg-type]  # mypy cannot narrow Any by an abstract Callable
            answer = answer(call)
        if isinstance(answer, Exception):
            raise answer
        status, said = answer
        return self._respond(request, status, said)

    def forget_sessions(self) -> None:
        """As after a reset of Buildbot's database: no cookie handed out so far is valid."""
        self.logins += 100

    def paths(self, method: str) -> list[str]:
        """The paths called with a method, in order."""
        return [call.path for call in self.calls if call.method == method]

    @property
    def _cookie(self) -> str:
        return f"TWISTED_SESSION=session-{self.logins}"

    def _log_in(self, call: Call, request: requests.PreparedRequest) -> requests.Response:
        expected = base64.b64encode(f"bot:{self.password}".encode()).decode()
        if call.headers.get("authorization") != f"Basic {expected}":
            return self._respond(request, 401, "Unauthorized")
        self.logins += 1
        cookies = f"TWISTED_SESSION=anonymous; Path=/, {self._cookie}; Path=/"
        return self._respond(request, 302, "", {"Set-Cookie": cookies, "Location": f"{URL}/#/"})

    def _respond(
        self, request: requests.PreparedRequest, status: int, said: Any, headers: dict[str, str] | None = None
    ) -> requests.Response:
        response = requests.Response()
        response.status_code = status
        response.request = request
        response.url = request.url or ""
        response.headers.update(headers or {})
        if self.date is not None:
            response.headers["Date"] = format_datetime(self.date, usegmt=True)
        content = said if isinstance(said, bytes) else json.dumps(said).encode()
        response.raw = io.BytesIO(content)
        return response


def build(number: int = 1, **changed: Any) -> dict[str, Any]:
    """A finished, failed build as the API writes it."""
    return {
        "buildid": number,
        "number": number,
        "builderid": 1,
        "buildrequestid": number,
        "complete": True,
        "complete_at": STARTED_AT + 5,
        "started_at": STARTED_AT,
        "results": 2,
        "state_string": "failed unit tests (failure)",
        "properties": {},
        **changed,
    }


def rows(name: str, *found: dict[str, Any]) -> Answer:
    """The envelope around objects."""
    return 200, {name: list(found), "meta": {}}


def field_of(name: str, kind: str = "text") -> dict[str, Any]:
    """One field of a force scheduler's form."""
    return {"name": name, "fullName": name, "type": kind}


def scheduler(*fields: dict[str, Any], **changed: Any) -> Answer:
    """A force scheduler that starts user-service."""
    form = {"type": "nested", "fullName": None, "fields": list(fields) or [field_of("reason"), field_of("username")]}
    known = {"name": "force", "builder_names": ["user-service"], "enabled": True, "all_fields": [form]}
    return rows("forceschedulers", {**known, **changed})


def living_builder(**changed: Any) -> Answer:
    """The builder user-service."""
    return rows("builders", {"builderid": 7, "name": "user-service", "masterids": [1], **changed})


def usual_answers() -> dict[str, Any]:
    """A Buildbot with one builder, one failed build and one force scheduler."""
    return {
        "GET /config": (200, {"buildbotURL": "https://ci.example.com/", "versions": [["Buildbot", "4.3.0"]]}),
        "GET builders/user-service": living_builder(),
        "GET builders/user-service/builds/1": rows("builds", build()),
        "GET builders/user-service/builds": rows("builds", build()),
        "GET builds/1/steps": rows("steps"),
        "GET builds/1/changes": rows("changes"),
        "GET buildrequests/1": rows("buildrequests", {"buildrequestid": 1, "buildsetid": 1}),
        "GET buildrequests/1/builds": rows("builds", build()),
        "GET buildsets/1": rows(
            "buildsets", {"bsid": 1, "reason": "", "rebuilt_buildid": None, "submitted_at": STARTED_AT}
        ),
        "GET forceschedulers/force": scheduler(),
        "POST builds/1": (200, {"result": [2, {"7": 2}]}),
        "POST forceschedulers/force": (200, {"result": [2, {"7": 2}]}),
    }
