"""Shipmate as several processes: what a Procfile starts, on one host or on many."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest
from cryptography.fernet import Fernet

from playground.children import Child, start_child
from playground.demo_setup import Ports, bot_program
from playground.loopback import NotReachable, fetch
from tests.scenarios.running import LOOK_S, POLL_S, READY_S, STOP_S, RunningBot

ROLES = ("web", "stream", "stream", "worker", "worker", "clock", "clock")


@dataclass
class Fleet(RunningBot):
    """A process for each role over one folder and one database; `child` is the web door."""

    roles: Sequence[str] = ROLES
    key: str = field(default_factory=lambda: Fernet.generate_key().decode())
    children: list[Child] = field(default_factory=list)

    def start(self) -> None:
        """Upgrade the schema, start all roles and wait until the web door is ready and all others run."""
        self._shipmate("db", "upgrade")
        for number, role in enumerate(self.roles):
            log = self.log if role == "web" else self.folder / f"{role}-{number}.log"
            self.children.append(self._start(role, log))
        self.child = self.children[0]
        deadline = time.monotonic() + 2 * READY_S
        while not self._is_up():
            if time.monotonic() > deadline or any(child.process.poll() is not None for child in self.children):
                self.stop()
                pytest.fail(f"not all processes run:\n{self.tail()}")
            time.sleep(POLL_S)

    def stop(self) -> None:
        """End all of them as an operator does; those that do not end are killed and fail the test."""
        deadline = time.monotonic() + STOP_S
        children, self.children, self.child = self.children, [], None
        for child in children:
            child.process.terminate()
        stuck = [child.name for child in children if not child.stop(deadline)]
        if stuck:
            pytest.fail(f"{', '.join(stuck)} did not end within {STOP_S:.0f} s:\n{self.tail()}")

    def replace(self, role: str) -> None:
        """End one process of a role as an operator does, and start another one; returns when it runs."""
        child = next(one for one in self.children if one.name == role)
        self.children.remove(child)
        if not child.stop(time.monotonic() + STOP_S):
            pytest.fail(f"{role} did not end within {STOP_S:.0f} s:\n{self.tail()}")
        log = self.folder / f"{role}-again-{len(list(self.folder.glob('*.log')))}.log"
        self.children.append(self._start(role, log))
        deadline = time.monotonic() + READY_S
        while "running " not in log.read_text("utf-8", "replace"):
            if time.monotonic() > deadline or self.children[-1].process.poll() is not None:
                pytest.fail(f"{role} does not run:\n{self.tail()}")
            time.sleep(POLL_S)

    def kill(self, role: str, words: str = "") -> None:
        """End one process of a role, whose log holds `words`, as a crash does."""
        of_role = [one for one in self.children if one.name == role]
        child = next(one for one in of_role if words in one.log.read_text("utf-8", "replace"))
        self.children.remove(child)
        child.process.kill()
        child.process.wait()

    def tail(self, lines: int = 15) -> str:
        """The last lines that each process printed."""
        return "\n".join(
            f"== {log.name}\n" + "\n".join(log.read_text("utf-8", "replace").splitlines()[-lines:])
            for log in sorted(self.folder.glob("*.log"))
        )

    def said(self, words: str) -> int:
        """How many lines of all processes hold `words`."""
        return sum(log.read_text("utf-8", "replace").count(words) for log in self.folder.glob("*.log"))

    def _is_up(self) -> bool:
        try:
            fetch(f"{self.url}/readyz", timeout_s=LOOK_S)
        except NotReachable:
            return False
        return self.said("running ") >= len(self.roles)

    def _start(self, role: str, log: object) -> Child:
        command = [*self._command(role), "--config", str(self.folder / "shipmate.yaml")]
        return start_child(role, command, log, environment=self._environment(), folder=self.folder)  # type: ignore[arg-type] # a path

    def _shipmate(self, *words: str) -> None:
        command = [*self._command(*words), "--config", str(self.folder / "shipmate.yaml")]
        subprocess.run(command, check=True, capture_output=True, env=self._environment(), cwd=self.folder, timeout=120)

    def _command(self, *words: str) -> list[str]:
        return [sys.executable, "-m", "bot", *words]

    def _environment(self) -> dict[str, str]:
        ports = Ports(playground=int(self.playground_url.rpartition(":")[2]), bot=self.port)
        program = bot_program(ports, self.folder / "shipmate.yaml")
        own = {"NO_PROXY": "127.0.0.1", "PYTHONUNBUFFERED": "1", "SHIPMATE_KEY": self.key}
        return {**os.environ, **program.environment, **own}
