"""A real Buildbot for tests, started once a test process, and the relay that stands between it and a bot under test.

A plugin. Tests that use the fixture carry the mark `buildbot`, which looks whether Buildbot is installed. Each makes
builds of its own and leaves the others' alone.
"""

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

import pytest
import requests

from playground.buildbot import ADMIN, BuildbotPaths, RunningBuildbot, create, environment_python
from playground.loopback import free_port
from tests.listening import Listening, QuietHandler

BOT_TOKEN = "the-bots-token"
DEADLINE_S = 60.0

Json = dict[str, Any]
Found = TypeVar("Found")


def wait_for(found: Callable[[], Found], what: str, timeout_s: float = DEADLINE_S) -> Found:
    """Return the first true value of `found`; fail, naming `what`, after `timeout_s`."""
    deadline = time.monotonic() + timeout_s
    while not (value := found()):
        if time.monotonic() > deadline:
            pytest.fail(f"waited {timeout_s:.0f} s for {what}")
        time.sleep(0.02)
    return value


@dataclass(frozen=True, slots=True)
class Push:
    """One webhook as Buildbot sent it."""

    path: str
    headers: Mapping[str, str]
    body: bytes


class Relay:
    """Keeps what Buildbot pushes and, while `target` is set, passes it on to the bot listening there."""

    def __init__(self) -> None:
        self.pushes: list[Push] = []
        self.target: str | None = None
        self._server = Listening(self._handler())
        self.url = self._server.url

    def close(self) -> None:
        """Stop listening."""
        self._server.close()

    def _handler(self) -> type[QuietHandler]:
        relay = self

        class Handler(QuietHandler):
            def respond(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                push = Push(self.path, dict(self.headers), body)
                relay.pushes.append(push)
                self.send_response(relay.pass_on(push))
                self.send_header("Content-Length", "0")
                self.end_headers()

        return Handler

    def pass_on(self, push: Push) -> int:
        """Post `push` to the target; the bot's status, 202 without a target, 503 when the bot is down."""
        if self.target is None:
            return 202
        try:
            with requests.Session() as session:
                session.trust_env = False
                headers = {
                    name: value for name, value in push.headers.items() if name not in {"Host", "Content-Length"}
                }
                return session.post(f"{self.target}{push.path}", push.body, headers=headers, timeout=30).status_code
        except requests.ConnectionError:
            return 503


@dataclass(slots=True)
class BuildbotServer:
    """A running Buildbot with its user, its webhook's secret, and what a test wants to do with it."""

    running: RunningBuildbot
    relay: Relay
    session: requests.Session
    username: str = ADMIN
    bot_token: str = BOT_TOKEN
    _logged_in: bool = field(default=False, init=False)

    @property
    def url(self) -> str:
        """Its address, without a slash at the end."""
        return self.running.url.rstrip("/")

    @property
    def password(self) -> str:
        """The password of `username`."""
        return self.running.settings.admin_password

    @property
    def greeter_port(self) -> int:
        """Where the greeter answers, once it was deployed and its host runs."""
        return int(self.running.settings.greeter_url.rpartition(":")[2])

    def read(self, path: str) -> Json:
        """Return the API's answer to `path`, as in `builds/1?property=*`."""
        return self.running.read(path)

    def control(self, path: str, method: str, **params: str) -> Any:
        """Call a control method as the logged-in user and return its result."""
        if not self._logged_in:
            self.session.get(f"{self.url}/auth/login", auth=(self.username, self.password), timeout=30)
            self._logged_in = True
        call = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
        answer = self.session.post(f"{self.url}/api/v2/{path}", json=call, timeout=30)
        answer.raise_for_status()
        return answer.json()["result"]

    def forget_cache(self) -> None:
        """Let the next build of user-service on main fail once more: none still runs that would fill the cache."""
        path = f"builders/{self._builder_id('user-service')}/buildrequests?complete=false&limit=1"
        wait_for(lambda: not self.read(path)["buildrequests"], "the builds of user-service to end")
        self.running.paths.profile_cache.unlink(missing_ok=True)

    def force(self, builder: str, **params: str) -> Json:
        """Force a build of `builder` and return it once it runs."""
        builder_id = self._builder_id(builder)
        _, requests_made = self.control("forceschedulers/force", "force", builderid=str(builder_id), **params)
        return self.build_of_request(requests_made[str(builder_id)])

    def _builder_id(self, builder: str) -> int:
        return int(self.read(f"builders/{builder}")["builders"][0]["builderid"])

    def rebuild(self, build_id: int) -> Json:
        """Rebuild and return the new build once it runs."""
        _, requests_made = self.control(f"builds/{build_id}", "rebuild")
        return self.build_of_request(next(iter(requests_made.values())))

    def build_of_request(self, request_id: int) -> Json:
        """Return the first build of a build request once it exists."""
        path = f"builds?buildrequestid={request_id}&property=*"
        builds: list[Json] = wait_for(lambda: self.read(path)["builds"], f"a build of request {request_id}")
        return builds[0]

    def finished(self, build_id: int) -> Json:
        """Return the build, with its properties, once it is complete."""

        def complete() -> Json | None:
            build: Json = self.read(f"builds/{build_id}?property=*")["builds"][0]
            return build if build["complete"] else None

        build = wait_for(complete, f"the end of build {build_id}")
        assert build is not None
        return build

    def steps(self, build_id: int) -> dict[str, Json]:
        """Return the build's steps so far by name, in order."""
        return {step["name"]: step for step in self.read(f"builds/{build_id}/steps")["steps"]}

    def log(self, build_id: int, step: str) -> str:
        """Return the lines of a step's output, each with its o, e or h in front."""
        number = self.steps(build_id)[step]["number"]
        content: str = self.read(f"builds/{build_id}/steps/{number}/logs/stdio/contents")["logchunks"][0]["content"]
        return content


@pytest.fixture(scope="session")
def buildbot_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BuildbotServer]:
    """One Buildbot for the whole session, quick but for slow-service.

    That one takes as long as a loaded machine may need until somebody has stopped it.
    """
    python = environment_python()
    paths = BuildbotPaths(tmp_path_factory.mktemp("buildbot") / "root")
    relay = Relay()
    try:
        greeter_url = f"http://127.0.0.1:{free_port()}"
        create(
            paths,
            python=python,
            bot_url=relay.url,
            bot_token=BOT_TOKEN,
            slow_seconds=20,
            greeter_url=greeter_url,
        )
        with RunningBuildbot(paths, python=python) as running, requests.Session() as session:
            session.trust_env = False
            yield BuildbotServer(running, relay, session)
    finally:
        relay.close()
