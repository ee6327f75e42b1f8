"""A bot that is killed and comes back: one process or several, each started anew whenever it died."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from cryptography.fernet import Fernet

from playground import world
from playground.children import Child, start_child
from playground.loopback import NotReachable, fetch, free_port
from tests.crash.marks import Fuse

ROOT = Path(__file__).parent.parent.parent
WHOLE: tuple[str, ...] = ("run",)
FLEET: tuple[str, ...] = ("web", "stream", "worker", "worker", "clock")
LOOK_S = 0.003


@dataclass(frozen=True, slots=True)
class Doom:
    """How a bot dies: at `points`, one after the other, or `kills` times at moments that nobody chose.

    `tell` is given a line for each of those.
    """

    points: tuple[str, ...] = ()
    kills: int = 0
    draw: random.Random = field(default_factory=random.Random)
    tell: Callable[[str], None] = lambda _: None

    @property
    def deaths(self) -> int:
        """How often."""
        return len(self.points) + self.kills


class Life:
    """Keeps the processes of `roles` alive until `stop`, and kills them as their doom says.

    `deaths` counts; `problem` says what came to an end otherwise. Each process has its log in `folder`.
    """

    def __init__(self, folder: Path, roles: Sequence[str], doom: Doom) -> None:
        self.folder = folder
        self.port = free_port()
        self.doom = doom
        self.deaths = 0
        self.problem = ""
        self.is_over = threading.Event()
        self._key = Fernet.generate_key().decode() if tuple(roles) != WHOLE else ""
        self._roles = {f"{role}-{number}": role for number, role in enumerate(roles)}
        self._children: dict[str, Child] = {}
        self._start_s = 0.0
        self._thread = threading.Thread(target=self._keep, name="keeper")
        (folder / "marks").mkdir()

    @property
    def url(self) -> str:
        """Where the bot listens."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def is_doomed(self) -> bool:
        """Whether there is still a death to come."""
        return self.deaths < self.doom.deaths

    def arm(self) -> None:
        """Let the moment be now for the points that wait for what the load does."""
        for number in range(len(self.doom.points)):
            Fuse(self.folder / "marks", number).arm()

    def start(self) -> None:
        """Begin to live; several processes need their schema first, and one that dies at any moment gets it, too."""
        if self._key or self.doom.kills:
            self.shipmate("db", "upgrade")
        self._thread.start()

    def casualties(self) -> Iterator[tuple[str, str]]:
        """The points that were died at, and the role of who did."""
        for number, name in enumerate(self.doom.points):
            fuse = Fuse(self.folder / "marks", number)
            if fuse.is_burnt:
                yield name, fuse.burnt_by

    def is_ready(self) -> bool:
        """Whether the web door is open and all that it knows of works."""
        try:
            fetch(f"{self.url}/readyz", timeout_s=5.0)
        except NotReachable:
            return False
        return True

    def stop(self) -> None:
        """Start it no more, and end it as everything here ends."""
        self.is_over.set()
        if self._thread.is_alive():
            self._thread.join()
        for child in self._children.values():
            child.process.kill()
            child.process.wait(30)
        self._children.clear()

    def shipmate(self, *words: str, points: str = "none", marks: str = "marks") -> int:
        """Run a command to its end; how it ended. AssertionError when it was neither well nor killed."""
        (self.folder / marks).mkdir(exist_ok=True)
        done = subprocess.run(
            self._command(points, words, marks),
            env=self._environment(),
            cwd=self.folder,
            capture_output=True,
            check=False,
            timeout=120,
        )
        assert done.returncode in (0, -signal.SIGKILL), done.stderr.decode()[-2000:]
        return done.returncode

    # --- keeping it alive, and killing it

    def _keep(self) -> None:
        born_at = time.monotonic()
        for name in self._roles:
            self._start(name)
        while self.doom.kills and not self.is_over.is_set() and not self.is_ready():
            time.sleep(LOOK_S)
        self._start_s = time.monotonic() - born_at
        next_at = self._next_kill()
        while not self.is_over.is_set():
            for name, child in list(self._children.items()):
                if child.process.poll() is not None:
                    self._bury(name, child)
            if self.doom.kills and self.is_doomed and time.monotonic() > next_at:
                self._kill_one()
                next_at = self._next_kill()
            time.sleep(LOOK_S)

    def _next_kill(self) -> float:
        """Some are too soon after a start for any work, most are not."""
        return time.monotonic() + self.doom.draw.uniform(0.1, 2.0 + 2.5 * self._start_s)

    def _kill_one(self) -> None:
        name = self.doom.draw.choice(sorted(self._children))
        child = self._children[name]
        if child.process.poll() is None:
            child.process.kill()
            child.process.wait(30)
            self._bury(name, child)
            self.doom.tell(f"  kill {self.deaths} of {self.doom.kills}: {name}")

    def _bury(self, name: str, child: Child) -> None:
        if child.process.returncode != -signal.SIGKILL:
            self.problem = f"{name} ended by itself: {child.tail()}"
            self.is_over.set()
            return
        self.deaths += 1
        self._start(name)

    def _start(self, name: str) -> None:
        command = self._command(",".join(self.doom.points) or "none", (self._roles[name],), "marks")
        log = self.folder / f"{name}.log"
        self._children[name] = start_child(name, command, log, environment=self._environment(), folder=self.folder)

    def _command(self, points: str, words: Sequence[str], marks: str) -> list[str]:
        config = ["--config", str(self.folder / "shipmate.yaml")]
        program = [sys.executable, "-m", "tests.crash.runner", str(self.folder / marks), points]
        at = 2 if words[0] == "db" else 1
        return [*program, *words[:at], *config, *words[at:]]

    def _environment(self) -> Mapping[str, str]:
        keys = {"SHIPMATE_KEY": self._key} if self._key else {}
        return {
            **os.environ,
            **keys,
            "SLACK_BOT_TOKEN": world.SLACK_BOT_TOKEN,
            "SLACK_APP_TOKEN": world.SLACK_APP_TOKEN,
            "DINGTALK_CLIENT_ID": world.DINGTALK_CLIENT_ID,
            "DINGTALK_CLIENT_SECRET": world.DINGTALK_CLIENT_SECRET,
            "DINGTALK_ROBOT_SECRET": world.DINGTALK_ROBOT_SECRET,
            "NO_PROXY": "127.0.0.1",
            "PYTHONPATH": str(ROOT),
        }
