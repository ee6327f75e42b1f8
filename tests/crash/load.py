"""What happens around a bot that dies: webhooks, presses and typed commands, each repeated until it was taken."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import requests
import yaml

from playground import world
from playground.client import Client, ControlError
from playground.options import Options
from playground.server import Playground
from tests.crash.buildbot import PROJECT, TOKEN, ManyBuilds
from tests.crash.life import CI, TEMPLATE, Life, configuration

STORM, DOOMED = "storm-service", "doomed-service"
CROWDED, LOST, ADMINS = "#deploys", "#lost", "#admins"
PATIENCE_S = 90.0


def shows(project: str, number: int, text: str) -> bool:
    """Whether a message is a build's own, or a digest that lists it: all else names builds without the space."""
    gap = " ?" if "Many builds at once" in text else " "
    return re.search(rf"{re.escape(project)}{gap}#{number}(?!\d)", text) is not None


@dataclass
class Outside:
    """Buildbot, and the people in Slack; several threads may let things happen at once."""

    life: Life
    buildbot: ManyBuilds
    told: list[tuple[str, int]] = field(default_factory=list)
    pressed: list[int] = field(default_factory=list)
    runs_taken: int = 0
    is_over: threading.Event = field(default_factory=threading.Event)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def until(self, found: Callable[[], Any], what: str) -> Any:
        """The first true value; AssertionError when it takes too long."""
        deadline = time.monotonic() + PATIENCE_S
        while not (value := found()):
            if self.is_over.is_set() or time.monotonic() > deadline:
                raise AssertionError(f"waited in vain for {what}")
            time.sleep(0.02)
        return value

    def tell(self, project: str, number: int, *, is_over: bool) -> None:
        """Buildbot pushes until it is answered well."""
        body = self.buildbot.told(project, number, is_over=is_over)

        def push() -> bool:
            with requests.Session() as session:
                session.trust_env = False
                try:
                    url = f"{self.life.url}/webhooks/buildbot"
                    return session.post(url, json=body, headers={"X-Bot-Token": TOKEN}, timeout=20).ok
                except (requests.ConnectionError, requests.Timeout):
                    return False

        self.until(push, f"{project} #{number} to be taken")
        with self._lock:
            if (project, number) not in self.told:
                self.told.append((project, number))

    def fail(self, project: str) -> int:
        """A build begins, and fails."""
        number = self.buildbot.fail(project)
        self.tell(project, number, is_over=False)
        self.tell(project, number, is_over=True)
        return number

    def press_retry(self, number: int) -> None:
        """Alice presses Retry until Slack was told that the press arrived, or the button is gone for it did."""
        self.until(lambda: self._press(number), f"a press on #{number}")
        with self._lock:
            self.pressed.append(number)

    def _press(self, number: int) -> bool:
        client = Client(self.life.playground.url)
        shown = client.messages("slack", CI)
        card = next((one for one in shown if shows(PROJECT, number, one["text"])), None)
        if card is None:
            return False
        button = next((one["id"] for one in card["actions"] if "retry" in str(one["id"])), None)
        if button is None:
            return "Retried by" in card["text"]
        click = {"message": card["id"], "action": button}
        try:
            return client.act(platform="slack", channel=CI, as_="alice", click=click)["ack"] is not None
        except ControlError:  # the card changed at this moment
            return False

    def run(self) -> None:
        """Alice types a run, and does so again when Slack says that it did not arrive."""

        def type_it() -> bool:
            said = Client(self.life.playground.url).act(
                platform="slack", channel=CI, as_="alice", say=f"/ship run {PROJECT}"
            )
            return said.get("ack") is not None

        self.until(type_it, "a typed run to be taken")
        with self._lock:
            self.runs_taken += 1


def usual(outside: Outside) -> None:
    """A build fails and is retried with success, and another is run by name."""
    number = outside.fail(PROJECT)
    outside.press_retry(number)
    outside.run()
    outside.until(lambda: number in outside.buildbot.rebuilt, f"the rebuild of #{number}")


def storm(outside: Outside) -> None:
    """More builds fail at once than the place takes cards of."""
    for _ in range(4):
        outside.fail(STORM)


def doomed(outside: Outside) -> None:
    """Two builds whose place refuses what is posted there."""
    for _ in range(2):
        outside.fail(DOOMED)


LOADS: dict[str, Callable[[Outside], None]] = {"usual": usual, "storm": storm, "doomed": doomed}


@contextmanager
def outside_of(folder: Path) -> Iterator[Outside]:
    """A configured bot that is not started yet, and all around it."""
    options = Options(
        port=0,
        budgets=False,
        dingtalk_templates=(f"{world.DINGTALK_TEMPLATE}={TEMPLATE}",),
        extra_channels=(LOST, ADMINS),
    )
    with Playground(options) as playground, ManyBuilds() as buildbot, requests.Session() as session:
        session.trust_env = False
        life = Life(folder, playground, buildbot, session)
        (folder / "token").write_text(TOKEN, "utf-8")
        written = configuration(playground, buildbot, life.port)
        written["destinations"] |= {
            "crowded": {"slack": CROWDED},
            "lost": {"slack": LOST},
            "admins": {"slack": ADMINS},
        }
        projects = (PROJECT, STORM, DOOMED)
        written["sources"]["buildbot"]["projects"] = {name: {"builder": name} for name in projects}
        written["routes"] = [
            {"match": {"project": PROJECT}, "to": ["ci", "group"]},
            {"match": {"project": STORM}, "to": ["crowded"], "group": {"more_than": 1, "per": "1m"}},
            {"match": {"project": DOOMED}, "to": ["lost"]},
        ]
        written["roles"]["devs"]["can"] = ["retry", "run"]
        written["admin"] = "admins"
        written["retention"] = {"attempts": "1d"}
        (folder / "shipmate.yaml").write_text(yaml.safe_dump(written), "utf-8")
        refusal = {"ok": False, "error": "restricted_action"}
        playground.client.faults(
            {"kind": "status", "method": "chat.postMessage", "place": LOST, "status": 200, "body": refusal}
        )
        yield Outside(life, buildbot)
        life.kill()
