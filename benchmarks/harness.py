"""What all benchmarks share: a temporary folder, servers as processes, and figures beside their targets."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from base64 import urlsafe_b64encode
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.signed import WEBHOOK_SECRET
from playground import world
from playground.children import Child, start_child
from playground.loopback import NotReachable, fetch, free_port

ROOT = Path(__file__).parent.parent
READY_S = 30.0
STOP_S = 12.0
_KEY = urlsafe_b64encode(b"a key for nothing but benchmarks").decode()


@dataclass(slots=True)
class Report:
    """Prints figures as they come and remembers which targets were missed."""

    missed: list[str] = field(default_factory=list)

    def say(self, line: str) -> None:
        """A figure without a target."""
        print(f"  {line}", flush=True)

    def judge(self, what: str, figure: float, limit: float, *, unit: str = "", at_least: bool = False) -> None:
        """A figure with its target."""
        is_reached = figure >= limit if at_least else figure <= limit
        if not is_reached:
            self.missed.append(what)
        sign = "≥" if at_least else "≤"
        verdict = "reached" if is_reached else "MISSED"
        self.say(f"{what}: {figure:.4g}{unit} (target {sign} {limit:g}{unit}: {verdict})")


@dataclass(slots=True)
class Ground:
    """A temporary folder and the processes started in it."""

    folder: Path
    children: list[Child] = field(default_factory=list)

    def start(self, name: str, command: Sequence[str | Path], ready_url: str, **environment: str) -> Child:
        """Start a server and wait until it answers."""
        child = start_child(
            name,
            command,
            self.folder / f"{name}.log",
            environment={**_environment(), **environment},
            folder=ROOT,
        )
        self.children.append(child)
        wait_until(lambda: _answers(ready_url) or child.process.poll() is not None, READY_S, f"{name} is ready")
        if child.process.poll() is not None:
            raise RuntimeError(f"{name} ended:\n{child.tail()}")
        return child

    def stop(self, child: Child) -> None:
        """End one of them."""
        self.children.remove(child)
        child.stop(time.monotonic() + STOP_S)

    def gunicorn(self, target: str, port: int, **environment: str) -> Child:
        """The yardstick's server: one worker with eight threads."""
        command = [sys.executable, "-m", "gunicorn", "--worker-class", "gthread", "--workers", "1", "--threads", "8"]
        command += ["--keep-alive", "30", "--bind", f"127.0.0.1:{port}", "--worker-tmp-dir", str(self.folder), target]
        return self.start("gunicorn", command, f"http://127.0.0.1:{port}/readyz", **environment)

    def playground(self, *arguments: str) -> int:
        """The chat platforms' stand-in; its port."""
        port = free_port()
        command = [sys.executable, "-m", "playground", "--port", str(port), *arguments]
        self.start("playground", command, f"http://127.0.0.1:{port}/api/calls?since=0")
        return port

    def bot(self, settings: Mapping[str, Any], role: str = "run") -> tuple[Child, int]:
        """Shipmate with these settings, its database new; the process and its port."""
        path, port = self.configure(settings)
        if role != "run":
            run_once([*bot_command(path, "db upgrade")], **secrets())
        child = self.start("shipmate", bot_command(path, role), f"http://127.0.0.1:{port}/readyz", **secrets())
        return child, port

    def configure(self, settings: Mapping[str, Any]) -> tuple[Path, int]:
        """Write a configuration into a folder of its own; the file and the port chosen for it."""
        port = free_port()
        folder = Path(tempfile.mkdtemp(prefix="bot-", dir=self.folder))
        path = folder / "shipmate.yaml"
        path.write_text(json.dumps({"server": {"listen": f"127.0.0.1:{port}"}, **settings}), encoding="utf-8")
        return path, port


def bot_command(path: Path, role: str = "run") -> list[str]:
    """Shipmate as everybody starts it."""
    return [sys.executable, "-m", "bot", *role.split(), "--config", str(path)]


@contextmanager
def ground() -> Iterator[Ground]:
    """A temporary folder; processes in it are ended and it is removed, whatever happens."""
    made = Ground(Path(tempfile.mkdtemp(prefix="shipmate-benchmark-")))
    try:
        yield made
    finally:
        deadline = time.monotonic() + STOP_S
        for child in reversed(made.children):
            child.stop(deadline)
        shutil.rmtree(made.folder, ignore_errors=True)


def slack_settings(
    playground_port: int,
    routed: Mapping[str, str],
    *,
    mode: str = "socket",
    budgets: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """A configuration with the generic source and Slack: `routed` says which project goes to which channel."""
    slack: dict[str, Any] = {
        "mode": mode,
        "bot_token": "${SLACK_BOT_TOKEN}",
        "api_url": f"http://127.0.0.1:{playground_port}/slack/api/",
        "budgets": dict(budgets or {}),
    }
    slack |= {"app_token": "${SLACK_APP_TOKEN}"} if mode == "socket" else {"signing_secret": "${SLACK_SIGNING_SECRET}"}
    names = {channel: channel.strip("#") for channel in routed.values()}
    return {
        "platforms": {"slack": slack},
        "destinations": {name: {"slack": channel} for channel, name in names.items()},
        "sources": {"generic": {"kind": "generic", "secrets": ["${WEBHOOK_SECRET}"], "rate": "off"}},
        "routes": [
            {"match": {"kind": "build", "project": project}, "to": [names[channel]]}
            for project, channel in routed.items()
        ],
    }


def secrets() -> dict[str, str]:
    """The environment that the settings speak of."""
    return {
        "SLACK_BOT_TOKEN": world.SLACK_BOT_TOKEN,
        "SLACK_APP_TOKEN": world.SLACK_APP_TOKEN,
        "SLACK_SIGNING_SECRET": world.SLACK_SIGNING_SECRET,
        "WEBHOOK_SECRET": WEBHOOK_SECRET,
        "SHIPMATE_KEY": _KEY,
    }


def calls(playground_port: int, method: str = "", since: int = 0) -> list[dict[str, Any]]:
    """What the playground was asked, oldest first."""
    url = f"http://127.0.0.1:{playground_port}/api/calls?since={since}&method={method}"
    found = json.loads(fetch(url, timeout_s=30.0))
    return list(found["calls"] if isinstance(found, dict) else found)


def last_call(playground_port: int) -> int:
    """The number of the playground's newest record of a call; 0 where there is none."""
    return int(json.loads(fetch(f"http://127.0.0.1:{playground_port}/api/calls?since=1000000000"))["last"])


def wait_until(holds: Callable[[], bool], timeout_s: float, what: str, pause_s: float = 0.01) -> None:
    """Look again and again; TimeoutError when it does not come true."""
    deadline = time.monotonic() + timeout_s
    while not holds():
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited {timeout_s:g} s until {what}")
        time.sleep(pause_s)


def resident_mib(child: Child) -> float:
    """A process's resident memory."""
    for line in Path(f"/proc/{child.process.pid}/status").read_text("ascii").splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    return 0.0


def run_once(command: Sequence[str], **environment: str) -> float:
    """Seconds that a command takes."""
    started = time.perf_counter()
    subprocess.run(command, check=True, cwd=ROOT, env={**_environment(), **environment}, capture_output=True)
    return time.perf_counter() - started


def _answers(url: str) -> bool:
    try:
        fetch(url)
    except NotReachable:
        return False
    return True


def _environment() -> dict[str, str]:
    return {**os.environ, "NO_PROXY": "127.0.0.1,localhost", "no_proxy": "127.0.0.1,localhost"}
