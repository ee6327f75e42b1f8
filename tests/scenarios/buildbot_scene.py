"""The demo's own configuration with a real Buildbot behind it: a plugin for the scenarios and the browser's tests."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from playground.buildbot import PROJECT_ROOT
from playground.children import Child, start_child
from playground.demo_setup import Ports, prometheus_program, sample_configuration
from playground.loopback import free_port
from playground.repository import ALICE, Author
from tests.buildbot_server import BuildbotServer
from tests.scenarios.running import CI, STOP_S, Scene, a_playground, scene_of
from tests.stores import MakeDatabase

ERRORS = {
    "kind": "metric",
    "source": "prometheus",
    "query": 'sum(rate(http_requests_total{job="{{service}}",status=~"5.."}[{{window}}])) or vector(0)',
    "max_value": "0.01",
    "window": "4s",  # what the version before answered is forgotten by then
    "interval": "1s",
    "duration": "6s",
    "delay": "4s",
}
SLOW_S = 60.0  # builds start, fail and end in a second or two; a loaded machine takes its time


@dataclass
class BuildbotScene:
    """A scene whose builds are real ones."""

    scene: Scene
    buildbot: BuildbotServer

    def push(self, subject: str = "Say hello", *, branch: str = "main", author: Author = ALICE) -> str:
        """Push a commit that will fail once (on main), or always (elsewhere); the title of its card."""
        self.buildbot.forget_cache()
        known = self.builds("user-service")
        self.buildbot.running.paths.repository.push(subject, author=author, branch=branch)
        self.scene.eventually(lambda: self.builds("user-service") > known, "Buildbot to start a build", SLOW_S)
        return f"user-service #{known + 1}"

    def failed(self) -> tuple[str, dict[str, Any]]:
        """A build that has just failed, on its card in #ci with everything that is asked for later: title and card."""
        title = self.push()
        return title, self.scene.card(CI, title, "failed", "test_known_person", "AssertionError", timeout_s=SLOW_S)

    def wait_for_releases(self) -> None:
        """Until both versions of the greeter are built."""
        path = "builders/greeter/builds?results=0&limit=2"
        self.scene.eventually(lambda: len(self.buildbot.read(path)["builds"]) == 2, "both versions to be built", SLOW_S)

    def builds(self, builder: str) -> int:
        """How many builds of a builder Buildbot knows."""
        newest = self.buildbot.read(f"builders/{builder}/builds?order=-number&limit=1")["builds"]
        return int(newest[0]["number"]) if newest else 0

    def requests(self) -> int:
        """How many builds have ever been asked for, of all builders."""
        return len(self.buildbot.read("buildrequests?limit=1000")["buildrequests"])


@pytest.fixture(scope="session")
def buildbot_scene(
    buildbot_server: BuildbotServer, bot_database: MakeDatabase, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[BuildbotScene]:
    """The sample configuration as the demo uses it, on other ports and without budgets, over each engine."""
    folder = tmp_path_factory.mktemp("buildbot-scene")
    with a_playground(budgets=False) as playground:
        port = int(playground.url.rpartition(":")[2])
        buildbot_port = int(buildbot_server.url.rpartition(":")[2])
        ports = Ports(port, 3000, buildbot_port, buildbot_server.greeter_port, free_port())
        has_prometheus = shutil.which("prometheus") is not None
        written = sample_configuration(ports, has_prometheus=has_prometheus)
        configuration = yaml.load(written, yaml.BaseLoader)  # `on` is a word there, as it is to the bot
        configuration |= bot_database()
        del configuration["server"]
        for platform in configuration["platforms"].values():
            platform["budgets"] = {"lifted": True}
        # Beyond the demo: somebody is called, and a project whose builder was taken away.
        configuration["routes"][0]["mention"] = ["slack:U024ALICE01", "dingtalk:manager4220"]
        configuration["sources"]["buildbot"]["projects"]["gone"] = {"builder": "gone-service"}
        if has_prometheus:  # what people get decides; the page is looked at too
            checks = configuration["services"]["greeter"]["checks"]
            checks["health"]["on"], checks["errors"] = {"failed": "alert"}, dict(ERRORS)
            for check in checks.values():
                check["duration"] = "6s"
        secrets = {"buildbot-password": buildbot_server.password, "buildbot-token": buildbot_server.bot_token}
        with scene_of(folder, playground, configuration, secrets) as scene:
            buildbot_server.relay.target = scene.bot.url
            children = [_start_greeter(buildbot_server, folder)]
            if has_prometheus:
                children.append(_start_prometheus(ports, folder))
            try:
                yield BuildbotScene(scene, buildbot_server)
            finally:
                buildbot_server.relay.target = None
                for child in children:
                    child.stop(time.monotonic() + STOP_S)


def _start_greeter(server: BuildbotServer, folder: Path) -> Child:
    """The host that the greeter is deployed to, and its two versions pushed."""
    paths = server.running.paths
    command = [sys.executable, "-m", "playground.greeter_host", paths.greeter, "--port", str(server.greeter_port)]
    for version in ("v1", "v2"):
        paths.repository.release(version)
    return start_child("greeter", command, folder / "greeter.log", folder=PROJECT_ROOT)


def _start_prometheus(ports: Ports, folder: Path) -> Child:
    """The demo's own, which scrapes the greeter every second."""
    program = prometheus_program(ports, folder / "prometheus")
    return start_child(program.name, program.command, folder / "prometheus.log")
