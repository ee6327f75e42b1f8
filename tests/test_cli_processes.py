"""`shipmate run`, and the processes it can be split into, as an operator starts and ends them."""

from __future__ import annotations

import json
import os
import signal
import socket
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import requests
from cryptography.fernet import Fernet

from bot.signatures import sign
from bot.stopping import LONGEST_END_S
from bot.storage.schema import HEAD
from playground import world
from playground.children import Child, start_child
from playground.options import Options
from playground.server import Playground
from tests.listening import Listening, QuietHandler
from tests.stores import ENGINES

SECRET = "nightly-secret-of-32-characters"
PATIENCE_S = 60.0
MINIMAL = """
server: {listen: "127.0.0.1:0"}
log: {as_json: true}
sources: {nightly: {kind: generic, secrets: "${NIGHTLY_SECRET}"}}
"""
SIGNALLED_AT_ITS_WAIT = """
import os, signal, sys, threading

wait = threading.Condition.wait

def signalled(self, timeout=None):
    if sys._getframe(2).f_code.co_name == "_serve":
        os.kill(os.getpid(), signal.SIGTERM)
    return wait(self, timeout)

threading.Condition.wait = signalled
"""
SIGNALLED_AT_A_WAIT_WITHOUT_END = """
import os, signal, threading

from bot import bootstrap, cli

cli.LONGEST_END_S = 0.1

def build(*_):
    os.kill(os.getpid(), signal.SIGTERM)
    threading.Event().wait()

bootstrap.build = build
"""
LOOKS_SELDOM = """
from bot.services import dispatcher

dispatcher.LONGEST_SLEEP_S = 600.0
"""
TOLD = (
    MINIMAL
    + """
platforms: {dingtalk: {budgets: {lifted: true}}}
destinations: {group: {dingtalk: {robot: {webhook_url: "${ROBOT_URL}"}}}}
routes: [{to: group}]
"""
)


@dataclass
class Shipmate:
    """One process of the bot over a folder; what it logs is JSON."""

    child: Child
    seen: int = field(default=0)

    def lines(self) -> list[dict[str, Any]]:
        """What it has logged so far."""
        found = []
        for line in self.child.log.read_text("utf-8").splitlines():
            assert line.startswith("{"), f"not a log line: {line}"
            found.append(json.loads(line))
        return found

    def wait_for(self, event: str) -> dict[str, Any]:
        """The first line that logs `event`."""
        return wait_until(lambda: next((line for line in self.lines() if line["event"] == event), None), self)

    @property
    def url(self) -> str:
        """Where its web door listens, as it logged."""
        return str(self.wait_for("listening")["url"])

    def readiness(self) -> tuple[int, str]:
        """What /readyz answers."""
        answer = requests.get(f"{self.url}/readyz", timeout=30)
        return answer.status_code, answer.text

    def is_ready(self) -> bool:
        """Whether it takes work."""
        return self.readiness()[0] == 200

    def end(self, number: int = signal.SIGTERM) -> int:
        """Signal it and return its exit status."""
        self.child.process.send_signal(number)
        return self.child.process.wait(PATIENCE_S)


def wait_until(wanted: Callable[[], Any], *processes: Shipmate) -> Any:
    """The first true result of `wanted`; the processes' output is shown when there is none."""
    deadline = time.monotonic() + PATIENCE_S
    while not (found := wanted()):
        if time.monotonic() > deadline:
            pytest.fail("\n".join(["waited in vain", *(one.child.tail(30) for one in processes)]))
        time.sleep(0.01)
    return found


Start = Callable[..., Shipmate]


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A folder in which nothing may appear: the process's home, its temporary files, its working directory."""
    folder = tmp_path / "home"
    folder.mkdir()
    return folder


@pytest.fixture
def start(tmp_path: Path, home: Path) -> Iterator[Start]:
    """Starts processes over `tmp_path/bot`; ends what is left of them after the test."""
    started: list[Shipmate] = []
    folder = tmp_path / "bot"
    folder.mkdir()

    def start_one(role: str, config: str = MINIMAL, **environment: str) -> Shipmate:
        path = folder / "shipmate.yaml"
        path.write_text(config, encoding="utf-8")
        inherited = {name: os.environ[name] for name in ("PATH", "LANG", "LC_ALL") if name in os.environ}
        own = {"NIGHTLY_SECRET": SECRET, "HOME": str(home), "TMPDIR": str(home), "PYTHONDONTWRITEBYTECODE": "1"}
        command = [sys.executable, "-P", "-m", "bot", role, "--config", str(path)]
        child = start_child(
            role,
            command,
            tmp_path / f"{role}-{len(started)}.log",
            environment={**inherited, **own, "PYTHONPATH": str(Path(__file__).parent.parent), **environment},
            folder=home,
        )
        started.append(Shipmate(child))
        return started[-1]

    yield start_one
    for one in started:
        one.child.stop(time.monotonic() + PATIENCE_S)


@pytest.fixture
def key() -> str:
    """A key that several processes share."""
    return Fernet.generate_key().decode()


class Robot(Listening):
    """DingTalk's robot webhook: keeps each text; while `is_stuck` it answers nobody."""

    def __init__(self) -> None:
        self.received: list[str] = []
        self.is_stuck = False
        self.is_over = threading.Event()
        super().__init__(_RobotRequest)
        self.url += "/robot/send?access_token=not-a-real-token"


class _RobotRequest(QuietHandler):
    server: Robot

    def respond(self) -> None:
        """Keep the text, then answer as DingTalk does."""
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.received.append(body["markdown"]["text"])
        if self.server.is_stuck:
            self.server.is_over.wait(PATIENCE_S)
            return
        answer = b'{"errcode":0,"errmsg":"ok"}'
        self.send_response(200)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)


@pytest.fixture
def robot() -> Iterator[Robot]:
    """A robot on a free port."""
    server = Robot()
    yield server
    server.is_over.set()
    server.close()


def tell(shipmate: Shipmate, number: int) -> requests.Response:
    """Say over the generic door that a build started."""
    body = json.dumps({"event": "build.started", "project": "user-service", "number": number}).encode()
    now = int(time.time())
    headers = {
        "webhook-id": f"start-{number}",
        "webhook-timestamp": str(now),
        "webhook-signature": sign(SECRET, f"start-{number}", now, body),
    }
    return requests.post(f"{shipmate.url}/webhooks/nightly", body, headers=headers, timeout=30)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_run_makes_all_it_needs_in_its_folder_and_ends_cleanly(
    start: Start, tmp_path: Path, home: Path, number: int
) -> None:
    """Ready on a port it logs, a key that only its owner reads, nothing elsewhere, exit status 0."""
    run = start("run")
    wait_until(run.is_ready, run)
    assert requests.get(f"{run.url}/healthz", timeout=30).text == "ok\n"
    assert run.end(number) == 0
    assert run.lines()[-1]["event"] == "ending"
    var = tmp_path / "bot" / "var"
    assert sorted(path.name for path in var.iterdir()) == ["key", "shipmate.db"]
    assert stat.S_IMODE((var / "key").stat().st_mode) == 0o600
    assert list(home.iterdir()) == []


def test_run_starts_again_on_what_it_made(start: Start, tmp_path: Path) -> None:
    """The key and the schema of the first start serve the second."""
    first = start("run")
    wait_until(first.is_ready, first)
    key = (tmp_path / "bot" / "var" / "key").read_bytes()
    assert first.end() == 0
    second = start("run")
    wait_until(second.is_ready, second)
    assert (tmp_path / "bot" / "var" / "key").read_bytes() == key


def test_two_that_start_at_once_on_an_empty_folder_do_not_collide(start: Start) -> None:
    """One makes the key and the schema, the other finds them."""
    both = [start("run"), start("run")]
    for one in both:
        wait_until(one.is_ready, *both)
    assert [one.end() for one in both] == [0, 0]


def test_a_second_signal_ends_the_process_at_once(start: Start, robot: Robot) -> None:
    """The first drains and waits for a call in flight; who signals again does not wait."""
    robot.is_stuck = True
    run = start("run", TOLD, ROBOT_URL=robot.url)
    wait_until(run.is_ready, run)
    assert tell(run, 1).status_code == 202
    wait_until(lambda: robot.received, run)
    run.child.process.terminate()
    run.wait_for("ending")
    assert run.child.process.poll() is None
    assert run.end() == 128 + signal.SIGTERM


def test_a_signal_may_come_at_any_moment(start: Start, tmp_path: Path) -> None:
    """Also at the one at which the process holds the lock of what it is about to wait for."""
    (tmp_path / "sitecustomize.py").write_text(SIGNALLED_AT_ITS_WAIT, encoding="utf-8")
    run = start("run", PYTHONPATH=f"{tmp_path}:{Path(__file__).parent.parent}")
    assert run.child.process.wait(PATIENCE_S) == 0
    assert [line["event"] for line in run.lines()][-2:] == ["running", "ending"]


def test_a_start_that_hangs_ends_too(start: Start, tmp_path: Path) -> None:
    """A process that waits for something, such as another one's upgrade of the database, is soon over all the same."""
    (tmp_path / "sitecustomize.py").write_text(SIGNALLED_AT_A_WAIT_WITHOUT_END, encoding="utf-8")
    run = start("run", PYTHONPATH=f"{tmp_path}:{Path(__file__).parent.parent}")
    assert run.child.process.wait(PATIENCE_S) == 128 + signal.SIGTERM


@pytest.mark.slow
def test_the_call_in_flight_has_ten_seconds_at_most(start: Start, robot: Robot) -> None:
    """A destination that answers nobody is given up after its eight seconds, and that is recorded before the end."""
    robot.is_stuck = True
    run = start("run", TOLD, ROBOT_URL=robot.url)
    wait_until(run.is_ready, run)
    tell(run, 1)
    wait_until(lambda: robot.received, run)
    began = time.monotonic()
    assert run.end() == 0
    assert time.monotonic() - began < 15
    (attempt,) = [line for line in run.lines() if line["event"] == "attempt"]
    assert attempt["outcome"].startswith("failed:")


def test_an_idle_connection_does_not_hold_up_the_end(start: Start) -> None:
    """A sender that keeps its connection open, as proxies do, is not waited for."""
    run = start("run")
    with requests.Session() as session:
        wait_until(run.is_ready, run)
        assert session.get(f"{run.url}/healthz", timeout=30).status_code == 200
        began = time.monotonic()
        assert run.end() == 0
        assert time.monotonic() - began < LONGEST_END_S  # which is what an end takes that waits for somebody


def test_a_taken_port_is_said_in_a_line(start: Start) -> None:
    """The setting, the address and what to do; no traceback."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        run = start("run", MINIMAL.replace("127.0.0.1:0", address))
        assert run.child.process.wait(PATIENCE_S) == 1
    assert run.child.log.read_text("utf-8") == (
        f"shipmate: server.listen (line 2): {address} is taken by another program (another Shipmate?): "
        "end it, or choose another port\n"
    )


@pytest.mark.parametrize("host", ["no-such-host.invalid", "192.0.2.1"])
def test_an_address_of_no_host_or_another_is_said_in_a_line(start: Start, host: str) -> None:
    """A misspelt name, and an address that this host does not have."""
    run = start("run", MINIMAL.replace("127.0.0.1:0", f"{host}:18080"))
    assert run.child.process.wait(PATIENCE_S) == 1
    assert run.child.log.read_text("utf-8") == f"shipmate: server.listen (line 2): {host} is no address of this host\n"


@pytest.mark.parametrize("role", ["web", "worker", "stream", "clock"])
def test_a_single_process_refuses_to_start_without_a_key(start: Start, tmp_path: Path, role: str) -> None:
    """Each would make a key of its own and could not read what the others wrote."""
    process = start(role)
    assert process.child.process.wait(PATIENCE_S) == 1
    words = process.child.log.read_text("utf-8")
    assert words.startswith("shipmate: SHIPMATE_KEY: is not set, and every process of one database needs the same key")
    assert words.count("\n") == 1
    assert not (tmp_path / "bot" / "var" / "key").exists()


def test_processes_wait_for_the_schema_and_then_go_on(start: Start, key: str) -> None:
    """None migrates; the web door answers that it is not ready, and why, until the schema is there."""
    web, others = start("web", SHIPMATE_KEY=key), [start(role, SHIPMATE_KEY=key) for role in ("worker", "clock")]
    for one in (web, *others):
        assert "run `shipmate db upgrade`" in one.wait_for("waiting")["reason"]
    status, words = web.readiness()
    assert (status, words.partition("\n")[0]) == (
        503,
        f"the database's schema is missing, not {HEAD}: run `shipmate db upgrade`",
    )
    assert tell(web, 1).status_code == 503
    _upgrade(web)
    for one in (web, *others):
        one.wait_for("running")
    assert web.readiness() == (200, "ready\n")
    assert tell(web, 1).status_code == 202
    assert [one.end() for one in (web, *others)] == [0, 0, 0]


@pytest.mark.parametrize("engine", ENGINES)
def test_a_web_and_a_worker_process_show_a_card_without_waiting_for_the_poll(
    start: Start, robot: Robot, key: str, engine: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """What one process commits wakes the other, which looks by itself once in ten minutes only."""
    (tmp_path / "sitecustomize.py").write_text(LOOKS_SELDOM, encoding="utf-8")
    path = f"{tmp_path}:{Path(__file__).parent.parent}"
    environment = {"SHIPMATE_KEY": key, "ROBOT_URL": robot.url, "PYTHONPATH": path}
    config = TOLD
    if engine == "postgres":
        server = request.getfixturevalue("postgres")
        config += f"database_url: {server.url(server.fresh())}\n"
    web, worker = start("web", config, **environment), start("worker", config, **environment)
    _upgrade(worker)
    wait_until(web.is_ready, web, worker)
    worker.wait_for("running")
    for number in range(1, 8):
        assert tell(web, number).status_code == 202
        wait_until(lambda wanted=number: len(robot.received) >= wanted, web, worker)
        assert f"user-service #{number} " in robot.received[-1]
    assert [web.end(), worker.end()] == [0, 0]


@pytest.fixture
def playground() -> Iterator[Playground]:
    """Slack and DingTalk to connect to."""
    running = Playground(Options(port=0)).start()
    yield running
    running.stop()


def _connected(playground: Playground) -> tuple[str, dict[str, str]]:
    """A configuration that connects to the playground, and its secrets."""
    platforms = f"""
platforms:
  slack: {{bot_token: "${{B}}", app_token: "${{A}}", api_url: "{playground.url}/slack/api/"}}
  dingtalk:
    client_id: {world.DINGTALK_CLIENT_ID}
    client_secret: ${{C}}
    api_url: {playground.url}/dingtalk/api
    oapi_url: {playground.url}/dingtalk/oapi
"""
    tokens = {"B": world.SLACK_BOT_TOKEN, "A": world.SLACK_APP_TOKEN, "C": world.DINGTALK_CLIENT_SECRET}
    return MINIMAL + platforms, tokens


def test_a_command_heard_by_one_process_is_answered_by_another(start: Start, playground: Playground, key: str) -> None:
    """`stream` hears a slash command and a mention, `worker` answers both."""
    config, tokens = _connected(playground)
    stream, worker = (start(role, config, SHIPMATE_KEY=key, **tokens) for role in ("stream", "worker"))
    _upgrade(worker, **tokens)
    worker.wait_for("running")
    stream.wait_for("slack socket connected")
    stream.wait_for("dingtalk stream connected")
    assert playground.act(platform="slack", channel="#ci", as_="alice", say="/ship help")["ok"]
    assert playground.act(platform="dingtalk", channel="研发群", say="@Shipmate 帮助")["ok"]

    def answers() -> bool:
        platforms = playground.state()["platforms"]
        whispers = [one["text"] for one in platforms["slack"]["ephemeral"]]
        said = [one["text"] for one in platforms["dingtalk"]["channels"]["研发群"]["messages"]]
        is_whispered = any("/ship status" in text and "retry" in text for text in whispers)
        return is_whispered and any("@Shipmate 状态" in text and "重试" in text for text in said)

    wait_until(answers, stream, worker)
    assert [stream.end(), worker.end()] == [0, 0]


def test_readiness_says_whether_the_platforms_are_connected(start: Start, playground: Playground) -> None:
    """A line for each, after the one that decides."""
    config, tokens = _connected(playground)
    run = start("run", config, **tokens)
    wait_until(lambda: run.readiness() == (200, "ready\nslack: connected\ndingtalk: connected\n"), run)
    assert run.end() == 0


def _upgrade(process: Shipmate, **secrets: str) -> None:
    """Run `shipmate db upgrade` over the folder of a process."""
    arguments = process.child.process.args
    assert isinstance(arguments, list)
    at = arguments.index("-m") + 2
    subprocess.run(
        [*arguments[:at], "db", "upgrade", *arguments[at + 1 :]],
        check=True,
        capture_output=True,
        timeout=PATIENCE_S,
        env={**os.environ, "NIGHTLY_SECRET": SECRET, "ROBOT_URL": "http://127.0.0.1:9/?access_token=x", **secrets},
    )


def test_the_command_line_imports_nothing_heavy() -> None:
    """`shipmate --help` answers at once: what needs a database, a web server or an SDK loads it when it is used."""
    code = "import sys, bot.cli; print(sorted(set(sys.argv[1:]) & set(sys.modules)))"
    heavy = ["sqlalchemy", "flask", "alembic", "slack_sdk", "slack_bolt", "dingtalk_stream", "requests", "pydantic"]
    shown = subprocess.run([sys.executable, "-c", code, *heavy], capture_output=True, text=True, check=True, timeout=60)
    assert shown.stdout == "[]\n"
