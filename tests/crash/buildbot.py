"""A Buildbot over HTTP that outlives the bot and counts what it was asked: builds that fail, run on, are rebuilt."""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Self

import requests

from tests.integrations.buildbot.stand_in import Answer, Call, StandIn, build, field_of, rows, scheduler, usual_answers
from tests.listening import Listening, QuietHandler

PROJECT = "user-service"
TOKEN = "token-of-a-buildbot-that-outlives-the-bot"
FAILED, SUCCESS, CANCELLED = 2, 0, 6
Json = dict[str, Any]


class LastingBuildbot:
    """Any number of builds of several projects; each can be rebuilt, those that run can be stopped, others forced.

    `rebuilt` and `stopped` are the numbers of builds, `forced` the reasons of those that were forced, one entry a time,
    `deployed` the versions that a deployment brought. What was rebuilt or forced succeeds at once, and a service that
    is deployed has a health page, which is no good in the version `bad`.

    Of services that go by the project `shipping`, `shipped` are the orders: service and version. Runs of `endless`
    versions go on until they are stopped (`halted`) or let go, those of `broken` versions fail.
    """

    def __init__(self, deploying: str = "", bad: str = "", shipping: str = "") -> None:
        self.deployed: list[str] = []
        self._deploying, self._bad, self._shipping = deploying, bad, shipping
        self.shipped: list[str] = []
        self.halted: list[int] = []
        self.endless: set[str] = set()
        self.broken: set[str] = set()
        self.rebuilt: list[int] = []
        self.stopped: list[int] = []
        self.forced: list[str] = []
        self._builds: dict[int, tuple[str, Json]] = {}
        self._sets: dict[int, Json] = {}
        self._stand_in = StandIn(usual_answers())
        self._lock = threading.RLock()
        self._stand_in.answers |= {
            "POST forceschedulers/force": self._force,
            "GET forceschedulers/deploy": scheduler(
                field_of("reason"), field_of("version"), name="deploy", builder_names=[deploying]
            ),
            f"GET builders/{deploying}": rows("builders", {"builderid": 7, "name": deploying, "masterids": [1]}),
            "POST forceschedulers/deploy": self._deploy,
            "GET forceschedulers/ship": scheduler(
                *map(field_of, ("reason", "version", "service")), name="ship", builder_names=[shipping]
            ),
            f"GET builders/{shipping}": rows("builders", {"builderid": 7, "name": shipping, "masterids": [1]}),
            "POST forceschedulers/ship": self._ship,
            "GET /health": lambda _: self._health(),
            "GET buildsets": self._found_sets,
            "GET buildrequests": self._found_requests,
        }
        self._server = Listening(self._handler())
        self.url = self._server.url

    def __enter__(self) -> Self:
        return self

    def __exit__(self, _kind: type[BaseException] | None, _error: object, _trace: TracebackType | None) -> None:
        self._server.close()

    # --- builds

    def begin(self, project: str) -> int:
        """A build that runs; its number."""
        with self._lock:
            return self._make(project, complete=False, complete_at=None, results=None, state_string="building")

    def fail(self, project: str) -> int:
        """A build that has failed; its number."""
        with self._lock:
            return self._make(project)

    def end(self, number: int, results: int = FAILED, state_string: str = "failed unit tests (failure)") -> None:
        """Let a build that runs end."""
        with self._lock:
            now = int(datetime.now(UTC).timestamp())
            self._builds[number][1].update(complete=True, complete_at=now, results=results, state_string=state_string)

    def let_go(self) -> None:
        """Let the runs that would go on end well."""
        with self._lock:
            for number, (project, row) in self._builds.items():
                if project == self._shipping and not row["complete"]:
                    self.end(number, SUCCESS, "finished")

    def told(self, number: int, *, is_over: bool) -> Json:
        """What the reporter says of a build, at its beginning or its end."""
        project, row = self._builds[number]
        if not is_over:
            row = {**row, "complete": False, "complete_at": None, "results": None, "state_string": "building"}
        return {**row, "builder": {"name": project}, "url": f"{self.url}/#/builders/7/builds/{number}"}

    def _make(self, project: str, *, of: int | None = None, reason: str = "", **changed: Any) -> int:
        number, now = 1 + len(self._builds), int(datetime.now(UTC).timestamp())
        row = build(number, **{"results": FAILED, "started_at": now, "complete_at": now, **changed})
        self._builds[number] = (project, row)
        self._sets[number] = {"bsid": number, "reason": reason, "rebuilt_buildid": of, "submitted_at": now}
        request = {"buildrequestid": number, "buildsetid": number, "builderid": 7}
        self._stand_in.answers |= {
            f"GET builders/{project}": rows("builders", {"builderid": 7, "name": project, "masterids": [1]}),
            f"GET builders/{project}/builds": lambda _: self._newest(project),
            f"GET builders/{project}/builds/{number}": lambda _: rows("builds", row),
            f"GET builds/{number}/steps": rows("steps"),
            f"GET builds/{number}/changes": rows("changes"),
            f"GET buildrequests/{number}": lambda _: rows("buildrequests", {**request, "complete": row["complete"]}),
            f"GET buildrequests/{number}/builds": lambda _: rows("builds", row),
            f"GET buildsets/{number}": rows("buildsets", self._sets[number]),
            f"POST builds/{number}": lambda call: self._control(project, number, call),
        }
        return number

    # --- what it is asked for

    def _newest(self, project: str) -> Answer:
        return rows("builds", *[row for name, row in reversed(self._builds.values()) if name == project][:10])

    def _control(self, project: str, number: int, call: Call) -> Answer:
        if call.body["method"] == "stop":
            (self.halted if project == self._shipping else self.stopped).append(number)
            self.end(number, CANCELLED, f"build stopped: {call.body['params']['reason']} (cancelled)")
            return 200, {"result": None}
        self.rebuilt.append(number)
        made = self._make(project, of=number, reason="rebuild", results=SUCCESS)
        return 200, {"result": [made, {"7": made}]}

    def _force(self, call: Call) -> Answer:
        reason = str(call.body["params"]["reason"])
        self.forced.append(reason)
        made = self._make(PROJECT, reason=reason, results=SUCCESS)
        return 200, {"result": [made, {"7": made}]}

    def _deploy(self, call: Call) -> Answer:
        version, reason = str(call.body["params"]["version"]), str(call.body["params"]["reason"])
        self.deployed.append(version)
        made = self._make(self._deploying, reason=reason, results=SUCCESS)
        return 200, {"result": [made, {"7": made}]}

    def _ship(self, call: Call) -> Answer:
        service, version, reason = (str(call.body["params"][name]) for name in ("service", "version", "reason"))
        self.shipped.append(f"{service} {version}")
        self._stand_in.answers[f"GET /health/{service}"] = (503 if version == self._bad else 200, {"version": version})
        known: Json = {"results": FAILED if version in self.broken else SUCCESS}
        if version in self.endless:
            known = {"complete": False, "complete_at": None, "results": None, "state_string": "shipping"}
        made = self._make(self._shipping, reason=reason, **known)
        return 200, {"result": [made, {"7": made}]}

    def _health(self) -> Answer:
        is_well = bool(self.deployed) and self.deployed[-1] != self._bad
        return (200 if is_well else 503), {"version": self.deployed[-1:]}

    def _found_sets(self, call: Call) -> Answer:
        roots = [int(one) for key, given in call.query.items() if key.startswith("rebuilt_buildid") for one in given]
        found = [one for one in self._sets.values() if not roots or one["rebuilt_buildid"] in roots]
        return rows("buildsets", *found)

    def _found_requests(self, call: Call) -> Answer:
        wanted = [int(one) for key, given in call.query.items() if key.startswith("buildsetid") for one in given]
        found = [{"buildrequestid": one, "buildsetid": one} for one in self._sets if not wanted or one in wanted]
        return rows("buildrequests", *found)

    # --- HTTP

    def _handler(self) -> type[QuietHandler]:
        outer = self

        class Handler(QuietHandler):
            def respond(self) -> None:
                length = int(self.headers.get("Content-Length") or 0)
                status, headers, body = outer.answer(self.command, self.path, self.rfile.read(length))
                self.send_response_only(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

        return Handler

    def answer(self, method: str, path: str, body: bytes) -> tuple[int, Mapping[str, str], bytes]:
        """What it says to a request."""
        given = requests.Request(method, f"http://buildbot{path}", json=json.loads(body) if body else None).prepare()
        with self._lock:
            self._stand_in.date = datetime.now(UTC)
            said = self._stand_in.send(given)
        return said.status_code, dict(said.headers), said.content
