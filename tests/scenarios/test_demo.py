"""The demo as its visitor meets it: v2 is asked for and approved, answers people with errors, and v1 is back."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

import pytest
import requests

from playground.buildbot import ENVIRONMENT, PROJECT_ROOT
from playground.client import Client
from playground.demo_setup import Ports
from playground.loopback import free_port, is_listening
from playground.options import Json
from tests.scenarios.running import CI, DEV_GROUP
from tests.waiting import wait_until

pytestmark = [pytest.mark.buildbot, pytest.mark.slow]

PROMISED_S = 120.0
STARTED_S = 120.0
ENDED_S = 60.0


@contextmanager
def demo(folder: Path, path: str) -> Iterator[tuple[Ports, Client]]:
    """The program that `make demo` runs, with what it finds on `path`; Ctrl-C ends it with success and all it began."""
    (folder / "buildbot-env").symlink_to(ENVIRONMENT)
    ports = Ports(*(free_port() for _ in asdict(Ports())))
    command = [sys.executable, "-m", "playground.demo", f"--folder={folder}"]
    command += [f"--{name}-port={port}" for name, port in asdict(ports).items()]
    environment = {**os.environ, "PATH": path}
    with (
        (folder / "said").open("w") as said,
        subprocess.Popen(command, cwd=PROJECT_ROOT, env=environment, stdout=said, start_new_session=True) as process,
    ):
        try:
            yield ports, Client(f"http://127.0.0.1:{ports.playground}")
        finally:  # what it began ends with it, whatever became of the test
            process.send_signal(signal.SIGINT)
            try:
                ended = process.wait(ENDED_S)
            finally:
                process.kill()
        assert ended == 0, (folder / "said").read_text()
    assert not [port for port in asdict(ports).values() if is_listening(port)]


def without(program: str, folder: Path) -> str:
    """A search path on which everything is found but one program."""
    folder.mkdir()
    for place in os.environ["PATH"].split(os.pathsep):
        for found in Path(place).iterdir() if Path(place).is_dir() else ():
            if found.name != program and not (folder / found.name).is_symlink():
                (folder / found.name).symlink_to(found)
    return str(folder)


def card(client: Client, channel: str, *words: str) -> Json | None:
    """The message that holds all words, where there is one."""
    platform = "slack" if channel.startswith("#") else "dingtalk"
    messages = client.messages(platform, channel)
    return next((one for one in messages if all(word in one["text"] for word in words)), None)


def is_said_to_alice(client: Client, *words: str) -> bool:
    """Whether Alice alone was shown a text with all words."""
    said = json.dumps(client.state(platform="slack")["platforms"]["slack"]["ephemeral"], ensure_ascii=False)
    return all(word in said for word in words)


def running(ports: Ports) -> str:
    """The version of the greeter that answers people; none while one is ended, perhaps amid its answer."""
    try:
        return str(requests.get(f"http://127.0.0.1:{ports.greeter}/version", timeout=30).json()["version"])
    except requests.RequestException:
        return ""


@pytest.mark.prometheus
def test_a_visitor_sees_v1_come_back(tmp_path: Path) -> None:
    """With Prometheus, as long as the README says it takes."""
    _visit(tmp_path, os.environ["PATH"], "v2", {"health", "up"})


def test_a_visitor_without_prometheus_sees_it_too(tmp_path: Path) -> None:
    """The service's own answers decide, and nothing speaks of what is not there; the newest build is v2."""
    path = without("prometheus", tmp_path / "bin")
    assert shutil.which("prometheus", path=path) is None
    _visit(tmp_path, path, "latest green", {"health"})


def _visit(folder: Path, path: str, version: str, checks: set[str]) -> None:
    """From the first line that is typed to the end of the roll-back."""
    with demo(folder, path) as (ports, client):
        wait_until(lambda: is_listening(ports.playground), "the playground", STARTED_S)
        first = wait_until(lambda: card(client, CI, "greeter#1", "deployed"), "v1", STARTED_S)
        assert first is not None
        assert set(re.findall(r"✅ (\w+) .* passed", first["text"])) == checks
        began = time.monotonic()
        client.act(platform="slack", channel=CI, as_="alice", say=f"/ship deploy greeter {version} to production")
        wait_until(lambda: is_said_to_alice(client, "greeter#2", "Confirm within"), "a preview")
        client.act(platform="slack", channel=CI, as_="alice", say="/ship confirm greeter#2")
        asked = wait_until(lambda: card(client, DEV_GROUP, "greeter#2", "等待批准"), "a card to approve")
        assert asked is not None
        [button] = [one["id"] for one in asked["actions"] if "approve" in str(one["id"])]
        press = {"message": asked["id"], "action": button}
        client.act(platform="dingtalk", channel=DEV_GROUP, as_="张敏", click=press)
        wait_until(lambda: running(ports) == "v2", "v2", PROMISED_S)
        left = began + PROMISED_S - time.monotonic()
        wait_until(lambda: card(client, CI, "greeter#2", "rolled back", "health"), "the roll-back", left)
        assert running(ports) == "v1"
        wait_until(lambda: card(client, DEV_GROUP, "greeter#3", "已部署"), "the roll-back's own card")
