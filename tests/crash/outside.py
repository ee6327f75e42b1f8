"""Those around a bot that dies: Buildbot, which tells it things, and people, each repeating all until it was taken."""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import requests

from playground.client import Client, ControlError
from playground.server import Playground
from tests.crash.buildbot import PROJECT, TOKEN, LastingBuildbot
from tests.crash.life import Life
from tests.crash.places import (
    CI,
    GREETER,
    GROUP,
    OTHER,
    PLACES,
    SIDE,
    platform_of,
    shows,
)
from tests.crash.record import Record
from tests.crash.trackers import Expected, LivingBoards, LivingJira

PATIENCE_S = 90.0
WINDOW_S = 2.0
Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Told:
    """What is to be seen of a build in the end: any of `words` at each of `places`."""

    places: tuple[str, ...]
    words: tuple[str, ...] = ("failed", "失败")


@dataclass
class Outside:
    """Buildbot and the people of both platforms; several threads may let things happen at once.

    `told` are the builds that a webhook was taken for, `unwanted` those that may not be shown at a place; `taken`
    counts what people asked for and were told that it arrived, by verb and aim; `answered` counts webhooks; `newest`
    is the deployment that was confirmed last. `expected` is what must come of each issue, `releases` are the versions
    that were released in a tracker and what they deploy, `locked` are the services that must be locked in the end.
    """

    life: Life
    record: Record
    buildbot: LastingBuildbot
    playground: Playground
    jira: LivingJira
    boards: LivingBoards
    expected: dict[str, Expected] = field(default_factory=dict)
    releases: dict[str, str] = field(default_factory=dict)
    locked: set[str] = field(default_factory=set)
    told: dict[tuple[str, int], Told] = field(default_factory=dict)
    unwanted: list[tuple[str, str, int]] = field(default_factory=list)
    taken: Counter[str] = field(default_factory=Counter)
    answered: int = 0
    newest: int = 0
    deploying: threading.Lock = field(default_factory=threading.Lock)
    aged: set[str] = field(default_factory=set)
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def pressed(self) -> set[int]:
        """The builds that somebody asked to retry."""
        return {int(name.rpartition("#")[2]) for name in self.taken if name.startswith("retry ")}

    def until(self, found: Callable[[], Any], what: str, timeout_s: float = PATIENCE_S) -> Any:
        """The first true value; AssertionError when it takes too long."""
        deadline = time.monotonic() + timeout_s
        while not (value := found()):
            if self.life.is_over.is_set() or time.monotonic() > deadline:
                raise AssertionError(f"waited in vain for {what}")
            time.sleep(0.02)
        return value

    def shown(self, channel: str) -> list[Json]:
        """The messages of a channel."""
        return Client(self.playground.url).messages(platform_of(channel), channel)

    def card(self, channel: str, project: str, number: int) -> Json | None:
        """The message that shows a build."""
        return next((one for one in self.shown(channel) if shows(project, number, one["text"])), None)

    # --- webhooks

    def tell(self, project: str, number: int, *, is_over: bool, expects: Told | None = None) -> None:
        """Buildbot pushes until it is answered well."""
        body = self.buildbot.told(number, is_over=is_over)

        def push() -> bool:
            with requests.Session() as session:
                session.trust_env = False
                try:
                    url = f"{self.life.url}/webhooks/buildbot"
                    return session.post(url, json=body, headers={"X-Bot-Token": TOKEN}, timeout=20).ok
                except (requests.ConnectionError, requests.Timeout):
                    return False

        self.until(push, f"{project} #{number} to be taken")
        with self.lock:
            self.answered += 1
            self.told[project, number] = expects or self.told.get((project, number)) or Told(PLACES[project])

    def fail(self, project: str, expects: Told | None = None) -> int:
        """A build begins, and fails."""
        number = self.buildbot.fail(project)
        self.tell(project, number, is_over=False, expects=expects)
        self.tell(project, number, is_over=True)
        return number

    def leave_unheard(self) -> int:
        """A build begins and fails, and nobody tells of its end."""
        number = self.buildbot.begin(PROJECT)
        self.tell(PROJECT, number, is_over=False)
        self.until(lambda: self.card(CI, PROJECT, number), f"the card of #{number}")
        self.life.arm()
        self.buildbot.end(number)
        return number

    # --- people

    def say(self, channel: str, line: str, name: str) -> None:
        """Somebody types a line, and does so again when the platform says that it did not arrive."""

        def type_it() -> bool:
            client, platform = Client(self.playground.url), platform_of(channel)
            if not client.state(platform=platform)["platforms"][platform]["connections"]:
                return False  # it would be told later, each time that it was said
            said = client.act(platform=platform, channel=channel, say=line)
            ack = said.get("ack")
            return ack is not None and ack.get("code", 200) == 200

        self.until(type_it, f"{line} to be taken")
        with self.lock:
            self.taken[name] += 1

    def press_retry(self, number: int, channel: str = CI) -> None:
        """Somebody presses Retry until it is said that the press arrived, or the button is gone for it did."""
        self.until(lambda: self._press(channel, number, "retry"), f"a press on #{number}")
        with self.lock:
            self.taken[f"retry #{number}"] += 1

    def _press(self, channel: str, number: int, action: str) -> bool:
        card = self.card(channel, PROJECT, number)
        if card is None:
            return False
        button = next((one["id"] for one in card["actions"] if action in str(one["id"])), None)
        if button is None:
            return "🔁" in card["text"]
        click = {"message": card["id"], "action": button}
        try:
            done = Client(self.playground.url).act(platform=platform_of(channel), channel=channel, click=click)
        except ControlError:  # the card changed at this moment
            return False
        return done.get("ack") is not None

    def run(self) -> None:
        """Alice types a run."""
        self.say(CI, f"/ship run {PROJECT}", f"run {PROJECT}")

    def cancel(self) -> int:
        """A build begins, and Alice stops it."""
        number = self.buildbot.begin(PROJECT)
        words = ("cancelled", "已取消")
        self.tell(PROJECT, number, is_over=False, expects=Told(PLACES[PROJECT], words))
        self.say(CI, f"/ship cancel {PROJECT}#{number}", f"cancel #{number}")
        self.until(lambda: number in self.buildbot.stopped, f"the end of #{number}")
        self.tell(PROJECT, number, is_over=True)
        return number

    def look(self, number: int) -> None:
        """Alice opens the window of a build's details, until one tells more than that it waits."""

        def see() -> bool:
            client, card = Client(self.playground.url), self.card(CI, PROJECT, number)
            button = next((one["id"] for one in (card or {}).get("actions", ()) if "details" in str(one["id"])), None)
            if card is None or button is None:
                return False
            click = {"message": card["id"], "action": button}
            opened = client.act(platform="slack", channel=CI, as_="alice", click=click, wait_s=WINDOW_S)["modal"]
            deadline = time.monotonic() + WINDOW_S
            while opened is not None and time.monotonic() < deadline:
                view = client.state(platform="slack", channel=CI)["platforms"]["slack"]["modals"].get(opened["id"])
                if view is not None and "Loading" not in view["text"]:
                    return True
                time.sleep(0.02)
            return False

        self.until(see, f"the details of #{number}")
        with self.lock:
            self.taken["look"] += 1

    def deploy(self, version: str, state: str) -> None:
        """Alice asks for a version of the greeter and confirms it, Zhang Min approves it in DingTalk; how it must end.

        What was rolled back is unlocked.
        """
        line = f"deploy {GREETER} {version} to production"
        self.say(CI, f"/ship {line}", line)
        number = self.newest = int(self.until(lambda: self._requested(version), "the request to be filed"))
        self.say(CI, f"/ship confirm {GREETER}#{number}", f"confirm #{number}")
        self.until(lambda: self.state(number) == "awaiting_approval", f"{GREETER}#{number} to wait for approval")
        self.say(GROUP, f"@Shipmate 批准 {GREETER}#{number}", f"approve #{number}")
        self.until(lambda: self.state(number) == state, f"{GREETER}#{number} to be {state}")
        if state == "rolled_back":
            self.say(CI, f"/ship unlock {GREETER} in production", f"unlock {GREETER} in production")

    def state(self, number: int) -> str:
        """How far a deployment has come."""
        (row,) = self.record.rows(f"SELECT state FROM deployments WHERE number = {number}")
        return str(row["state"])

    def deployments(self) -> list[Json]:
        """All that there are, as they stand."""
        return [_snapshot(row) for row in self.record.rows("SELECT snapshot FROM deployments ORDER BY number")]

    def released(self, name: str) -> list[Json]:
        """The deployments that the release of a version asked for, as they stand."""
        return [one for one in self.deployments() if one["reason"].startswith(f"{name}: ")]

    def asked_by(self, issue: str) -> list[Json]:
        """The deployments that an issue asked for; what undoes one is none of them."""
        return [one for one in self.deployments() if issue in one["issues"] and not one["rollback_of"]]

    def becomes(self, issue: str, state: str) -> int:
        """Wait until the deployment that an issue asked for is in a state; its number."""
        found = self.until(
            lambda: [one["number"] for one in self.asked_by(issue) if one["state"] == state],
            f"what {issue} asked for to be {state}",
        )
        return int(found[0])

    def _requested(self, version: str) -> int:
        """The first request of a version after the one that was confirmed last; 0 where there is none."""
        wanted = f"state = 'requested' AND number > {self.newest}"
        rows = self.record.rows(f"SELECT number, snapshot FROM deployments WHERE {wanted} ORDER BY number")
        return next((row["number"] for row in rows if _snapshot(row)["version"]["name"] == version), 0)

    def wish(self, verb: str) -> None:
        """Alice subscribes a channel to a project, or mutes it there; it is done when she is told."""
        name = f"{verb} {SIDE}"
        self.say(OTHER, f"/ship {verb} {SIDE}", name)

    def wishes_done(self, verb: str) -> int:
        """How many of them are on the trail."""
        return self.record.count(f"SELECT count(*) FROM audit WHERE verb = '{verb}' AND outcome = 'done'")


def _snapshot(row: Mapping[str, Any]) -> Json:
    """PostgreSQL gives the value, SQLite its text."""
    found = row["snapshot"]
    return dict(json.loads(found) if isinstance(found, str) else found)
