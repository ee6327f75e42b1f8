"""A Buildbot with one failed build that can be rebuilt, over HTTP: it outlives the bot and counts what it was asked."""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self

import requests

from tests.integrations.buildbot.stand_in import Answer, Call, StandIn, build, rows, usual_answers

PROJECT = "user-service"
TOKEN = "token-of-a-buildbot-that-outlives-the-bot"


class _Server(ThreadingHTTPServer):
    def handle_error(self, request: Any, client_address: Any) -> None:
        """A bot that died does not read its answer: nothing to say."""


class LastingBuildbot:
    """Serves a StandIn; each `rebuild` makes the next build, which succeeds at once."""

    def __init__(self) -> None:
        self.rebuilds = 0
        self.stand_in = StandIn(usual_answers())
        self._lock = threading.Lock()
        self._server = _Server(("127.0.0.1", 0), self._handler())
        self._thread = threading.Thread(target=self._server.serve_forever, name="buildbot")
        self.stand_in.answers |= {
            "POST builds/1": self._rebuild,
            "GET buildsets": self._buildsets,
            "GET buildrequests": lambda call: rows("buildrequests", *self._requests()),
        }

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self._server.server_port}"

    @property
    def push(self) -> dict[str, Any]:
        """What its reporter says of the failed build."""
        return {**build(), "builder": {"name": PROJECT}, "url": f"{self.url}/#/builders/1/builds/1"}

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, _kind: type[BaseException] | None, _error: object, _trace: TracebackType | None) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def _rebuild(self, _call: Call) -> Answer:
        self.rebuilds += 1
        number = 1 + self.rebuilds
        now = int(datetime.now(UTC).timestamp())
        made = build(number, results=0, state_string="build successful", started_at=now, complete_at=now)
        buildset = {"bsid": number, "reason": "rebuild", "rebuilt_buildid": 1, "submitted_at": now}
        self.stand_in.answers |= {
            f"GET builders/{PROJECT}/builds/{number}": rows("builds", made),
            f"GET builds/{number}/steps": rows("steps"),
            f"GET builds/{number}/changes": rows("changes"),
            f"GET buildrequests/{number}": rows("buildrequests", {"buildrequestid": number, "buildsetid": number}),
            f"GET buildrequests/{number}/builds": rows("builds", made),
            f"GET buildsets/{number}": rows("buildsets", buildset),
        }
        return 200, {"result": [number, {"7": number}]}

    def _buildsets(self, _call: Call) -> Answer:
        found = [self.stand_in.answers[f"GET buildsets/{number}"][1] for number in range(2, 2 + self.rebuilds)]
        return rows("buildsets", *(one["buildsets"][0] for one in found))

    def _requests(self) -> list[dict[str, Any]]:
        return [{"buildrequestid": number, "buildsetid": number} for number in range(2, 2 + self.rebuilds)]

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self._answer()

            def do_POST(self) -> None:
                self._answer()

            def _answer(self) -> None:
                length = int(self.headers.get("Content-Length") or 0)
                status, headers, body = outer.answer(self.command, self.path, self.rfile.read(length))
                self.send_response_only(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: Any) -> None:
                """Say nothing on the tests' standard error."""

        return Handler

    def answer(self, method: str, path: str, body: bytes) -> tuple[int, Mapping[str, str], bytes]:
        """What the stand-in says to a request."""
        given = requests.Request(method, f"http://buildbot{path}", json=json.loads(body) if body else None).prepare()
        with self._lock:
            self.stand_in.date = datetime.now(UTC)
            said = self.stand_in.send(given)
        return said.status_code, dict(said.headers), said.content


class ManyBuilds(LastingBuildbot):
    """The same for any number of builds of several projects, each rebuilt and forced as often as it is asked for.

    `rebuilt` are the numbers of the builds that were rebuilt, `forced` the reasons of those that were forced, one entry
    a time.
    """

    def __init__(self) -> None:
        super().__init__()
        self.rebuilt: list[int] = []
        self.forced: list[str] = []
        self._last = 0
        self._sets: dict[int, dict[str, Any]] = {}
        self.stand_in.answers |= {
            "POST forceschedulers/force": self._force,
            "GET buildsets": self._found_sets,
            "GET buildrequests": self._found_requests,
        }

    def make(self, project: str, results: int, **of: Any) -> int:
        """A build that has ended; its number."""
        self._last += 1
        number, now = self._last, int(datetime.now(UTC).timestamp())
        made = build(number, results=results, started_at=now, complete_at=now)
        self._sets[number] = {"bsid": number, "reason": "", "rebuilt_buildid": None, "submitted_at": now, **of}
        request = {"buildrequestid": number, "buildsetid": number, "complete": True, "results": results}
        self.stand_in.answers |= {
            f"GET builders/{project}": rows("builders", {"builderid": 7, "name": project, "masterids": [1]}),
            f"GET builders/{project}/builds/{number}": rows("builds", made),
            f"GET builds/{number}/steps": rows("steps"),
            f"GET builds/{number}/changes": rows("changes"),
            f"GET buildrequests/{number}": rows("buildrequests", request),
            f"GET buildrequests/{number}/builds": rows("builds", made),
            f"GET buildsets/{number}": rows("buildsets", self._sets[number]),
            f"POST builds/{number}": lambda _call: self._rebuilt(project, number),
        }
        return number

    def fail(self, project: str) -> int:
        """A build that has failed; its number."""
        with self._lock:
            return self.make(project, 2)

    def told(self, project: str, number: int, *, is_over: bool) -> dict[str, Any]:
        """What the reporter says of a build, at its beginning or its end."""
        made = dict(self.stand_in.answers[f"GET builders/{project}/builds/{number}"][1]["builds"][0])
        if not is_over:
            made |= {"complete": False, "complete_at": None, "results": None, "state_string": "building"}
        return {**made, "builder": {"name": project}, "url": f"{self.url}/#/builders/7/builds/{number}"}

    def _rebuilt(self, project: str, number: int) -> Answer:
        self.rebuilt.append(number)
        made = self.make(project, 0, reason="rebuild", rebuilt_buildid=number)
        return 200, {"result": [made, {"7": made}]}

    def _force(self, call: Call) -> Answer:
        reason = str(call.body["params"]["reason"])
        self.forced.append(reason)
        made = self.make(PROJECT, 0, reason=reason)
        return 200, {"result": [made, {"7": made}]}

    def _found_sets(self, call: Call) -> Answer:
        roots = [int(one) for key, given in call.query.items() if key.startswith("rebuilt_buildid") for one in given]
        found = [one for one in self._sets.values() if not roots or one["rebuilt_buildid"] in roots]
        return rows("buildsets", *found)

    def _found_requests(self, call: Call) -> Answer:
        wanted = [int(one) for key, given in call.query.items() if key.startswith("buildsetid") for one in given]
        found = [{"buildrequestid": one, "buildsetid": one} for one in self._sets if not wanted or one in wanted]
        return rows("buildrequests", *found)
