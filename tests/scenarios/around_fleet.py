"""Those around a fleet whose processes are replaced: a CI system on a schedule, and people of both platforms."""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from itertools import count
from typing import Any

import requests

from playground import world
from playground.client import ControlError
from tests.crash.buildbot import PROJECT, LastingBuildbot
from tests.scenarios.running import BUILDBOT_TOKEN, CI, DEV_GROUP, Json, Scene, signed

SENDERS = 32
PATIENCE_S = 60.0
SENT_AGAIN_S, PRESSED_AGAIN_S = 0.1, 0.5  # how long senders and people wait before they repeat what did not arrive
PACE_S = 0.4


class Driver:
    """A CI system that tells of builds, start and end, on a schedule, and repeats what got no 2xx.

    The schedule is kept by the clock: what the sending threads are late with is sent as soon as they can. `offered`
    counts deliveries, each once, however often it is repeated.
    """

    def __init__(self, scene: Scene, project: str, per_second: float) -> None:
        self._url = f"{scene.bot.url}/webhooks/generic"
        self._project = project
        self._pace_s = 2 / per_second
        self._is_over = threading.Event()
        self._lock = threading.Lock()
        self._senders = ThreadPoolExecutor(SENDERS)
        self._thread = threading.Thread(target=self._run)
        self.builds = 0
        self.offered = 0
        self.answers: Counter[int | str] = Counter()
        self.given_up: list[int] = []

    def __enter__(self) -> Driver:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        self._thread.join()
        self._senders.shutdown()

    def _run(self) -> None:
        began = time.monotonic()
        while not self._is_over.wait(max(0.0, began + self.builds * self._pace_s - time.monotonic())):
            self.builds += 1
            self._senders.submit(self._tell_of, self.builds)

    def _tell_of(self, number: int) -> None:
        is_taken = all(
            self._send({"event": f"build.{event}", "project": self._project, "number": number, **facts})
            for event, facts in (("started", {}), ("finished", {"status": "success"}))
        )
        if not is_taken:
            self.given_up.append(number)

    def _send(self, said: dict[str, Any]) -> bool:
        """One delivery, under one id however often it is sent."""
        body = json.dumps(said).encode()
        name = f"{self._project}.{said['number']}.{said['event']}"
        with self._lock:
            self.offered += 1
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline:
            try:
                answer = requests.post(self._url, body, headers=signed(body, delivery_id=name), timeout=PATIENCE_S)
            except requests.ConnectionError:
                self._count("refused")
            else:
                self._count(answer.status_code)
                if answer.ok:
                    return True
            time.sleep(SENT_AGAIN_S)
        return False

    def _count(self, answer: int | str) -> None:
        with self._lock:
            self.answers[answer] += 1


class People:
    """Alice and 张敏 press Retry on one failed build after the other, Bob and 李雷 ask of one build after the other.

    Each repeats what the platform does not say to have arrived. `pressed` are the builds, `asked` says how often each
    build was asked of; `unheard` counts what was said not to have arrived.
    """

    def __init__(self, scene: Scene, project: str, cards: dict[str, Sequence[tuple[int, Json]]]) -> None:
        self._scene, self._project = scene, project
        self._cards = {channel: iter(found) for channel, found in cards.items()}
        self._questions = {CI: count(1, 2), DEV_GROUP: count(2, 2)}
        self._is_over = threading.Event()
        self._lock = threading.Lock()
        self.pressed: list[int] = []
        self.asked: Counter[str] = Counter()
        self.unheard = 0

    @contextmanager
    def busy(self, presses: int) -> Iterator[None]:
        """All four go on as long as the block lasts and until what they are at has arrived.

        Each presses at most so often.
        """
        self._is_over.clear()
        with ThreadPoolExecutor(4) as pool:
            going = [pool.submit(self._press_on, channel, presses) for channel in (CI, DEV_GROUP)]
            going += [pool.submit(self._ask_on, channel) for channel in (CI, DEV_GROUP)]
            try:
                yield
            finally:
                self._is_over.set()
            for one in going:
                one.result()

    def _press_on(self, channel: str, presses: int) -> None:
        for _ in range(presses):
            if self._is_over.wait(PACE_S):
                return
            number, card = next(self._cards[channel])
            self._until_heard(partial(self._press, channel, card))
            with self._lock:
                self.pressed.append(number)

    def _press(self, channel: str, card: Json) -> bool:
        try:
            return self._scene.click(channel, card, "retry")["ack"] is not None
        except ControlError:  # the button is gone: a press that was not acknowledged has arrived all the same
            return True

    def _ask_on(self, channel: str) -> None:
        person, prefix = {CI: ("bob", "/ship"), DEV_GROUP: ("李雷", "@Shipmate")}[channel]
        while not self._is_over.wait(PACE_S):
            build = f"{self._project}#{next(self._questions[channel])}"
            self._until_heard(partial(self._ask, channel, person, f"{prefix} explain {build}", build))

    def _ask(self, channel: str, person: str, line: str, build: str) -> bool:
        with self._lock:
            self.asked[build] += 1
        return self._scene.say(channel, line, person).get("ack") is not None

    def _until_heard(self, act: Callable[[], bool]) -> None:
        deadline = time.monotonic() + PATIENCE_S
        while not act():
            with self._lock:
                self.unheard += 1
            assert time.monotonic() < deadline, "nobody hears what people press and type"
            time.sleep(PRESSED_AGAIN_S)


def failed_builds(scene: Scene, buildbot: LastingBuildbot, count: int) -> dict[str, Sequence[tuple[int, Json]]]:
    """Failed builds, half of them with the card that stands in the one place, half with that in the other."""
    numbers = [buildbot.fail(PROJECT) for _ in range(count)]
    for number in numbers:
        body = json.dumps(buildbot.told(number, is_over=True)).encode()
        headers = {"Content-Type": "application/json", "X-Bot-Token": BUILDBOT_TOKEN}
        assert scene.post(body, headers, source="buildbot").ok
    halves = {CI: numbers[::2], DEV_GROUP: numbers[1::2]}
    return {
        channel: [(number, scene.card(channel, f"{PROJECT} #{number}", timeout_s=PATIENCE_S)) for number in half]
        for channel, half in halves.items()
    }


def said_to_people(scene: Scene) -> dict[str, list[str]]:
    """All answers, by platform: what Slack shows to one person alone, and what stands in the group and is no card."""
    whispers = scene.playground.state(platform="slack", channel=CI)["platforms"]["slack"]["ephemeral"]
    posts = [one for one in scene.messages(DEV_GROUP) if one["payload"].get("msgtype") != "card"]
    heard = {"slack": whispers, "dingtalk": posts}
    return {
        platform: [one["text"] for one in said if one["author"] == world.BOT_NAME] for platform, said in heard.items()
    }
