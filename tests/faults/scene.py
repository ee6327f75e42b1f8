"""A bot that reaches its chat platforms and its Buildbot through proxies that can break anything."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import select, update

from bot.storage import tables
from playground.server import Playground
from tests.crash.buildbot import TOKEN, LastingBuildbot
from tests.faults.proxy import FaultProxy
from tests.scenarios.conftest import EXTRA_CHANNELS, configuration
from tests.scenarios.running import PATIENCE_S, Json, RunningBot, Scene, a_playground, fresh, scene_of

PROJECT = "user-service"
POST, CHANGE = "/slack/api/chat.postMessage", "/slack/api/chat.update"
CARD, ROBOT = "/card/instances/createAndDeliver", "/robot/send"


@dataclass
class Faulty:
    """The scene, and what can be broken of it: the way to the chat platforms, the way to Buildbot, and Buildbot.

    A lane is a Slack channel and a DingTalk group of its own, where projects of its name are shown: what rests after a
    fault in one test delays no other.
    """

    scene: Scene
    chat: FaultProxy
    ci: FaultProxy
    buildbot: LastingBuildbot

    def heal(self) -> None:
        """Break nothing any more."""
        self.chat.breaks()
        self.ci.breaks()
        self.scene.playground.client.faults()

    def begin(self, *lanes: str) -> dict[str, str]:
        """A build that starts in each lane; its project by lane."""
        projects = {lane: fresh(f"lane-{lane}") for lane in lanes}
        for project in projects.values():
            assert self.scene.tell(project, 1, "started").status_code == 202
        return projects

    def card(self, lane: str, project: str, *words: str, timeout_s: float = PATIENCE_S) -> None:
        """Wait until the lane's channel and its group each show one card of the build, with all `words`."""
        for channel in (f"#{lane}", lane):
            self.scene.card(channel, f"{project} #1", *words, timeout_s=timeout_s)

    def posts(self, project: str) -> list[Json]:
        """The posts about a project that Slack carried out."""
        return [call for call in self.scene.calls("chat.postMessage", project) if call["answer"].get("ok")]

    def rests_s(self, project: str, slot: str = "card") -> dict[str, float]:
        """For how long each place of a project's cards rests, or the card there, by platform."""
        cards, places = tables.cards, tables.destinations
        query = select(places.c.key, places.c.free_at, cards.c.due_at).where(
            places.c.key == cards.c.destination, cards.c.subject_key.contains(f"/{project}#"), cards.c.slot == slot
        )
        rows = self.scene.rows(query)
        return {row.key.partition(":")[0]: max(row.free_at, row.due_at) - time.time() for row in rows}

    def reason(self, project: str, platform: str = "slack") -> str:
        """Why the card of a project's build is as it is."""
        found = self.scene.reasons(project)
        return next((why for (key, slot), why in found.items() if slot == "card" and key.startswith(platform)), "")

    def fail(self) -> int:
        """A build of Buildbot's that failed, and was told of; its number."""
        number = self.buildbot.fail(PROJECT)
        self.push(number)
        return number

    def is_read(self, number: int) -> bool:
        """Whether nothing more is going to be asked of Buildbot about a build."""
        return not self.scene.rows(select(tables.jobs).where(tables.jobs.c.subject_key.endswith(f"{PROJECT}#{number}")))

    def let_doubts_pass(self, seconds: float) -> None:
        """For commands of which it is not known what they did, let so much time have passed."""
        self.scene.change(update(tables.commands).values(triggered_at=tables.commands.c.triggered_at - seconds))

    def push(self, number: int, *, is_over: bool = True) -> None:
        """Buildbot's reporter tells of a build."""
        body = json.dumps(self.buildbot.told(number, is_over=is_over)).encode()
        answer = self.scene.post(body, {"X-Bot-Token": TOKEN, "Content-Type": "application/json"}, "buildbot")
        assert answer.status_code == 202, answer.text


@contextmanager
def faulty_scene(
    folder: Path,
    lanes: Sequence[str] = (),
    *,
    sections: Mapping[str, Any] | None = None,
    slack: FaultProxy | None = None,
    **of_bot: Any,
) -> Iterator[Faulty]:
    """A started bot behind proxies; `sections` replace the bot's settings, `of_bot` are fields of `RunningBot`.

    `slack` is another way to Slack's Web API than all else has.
    """
    with ExitStack() as stack:
        chat, ci = stack.enter_context(FaultProxy()), stack.enter_context(FaultProxy())
        buildbot = stack.enter_context(LastingBuildbot())
        channels = (*EXTRA_CHANNELS, *(f"#{lane}" for lane in lanes))
        playground = stack.enter_context(a_playground(budgets=False, extra_channels=channels, public_url=chat.url))
        ci.upstream, chat.upstream = buildbot.url, playground.url
        settings = {**_settings(playground, chat, ci, lanes), **(sections or {})}
        if slack is not None:
            slack.upstream = playground.url
            settings["platforms"]["slack"]["api_url"] = f"{slack.url}/slack/api/"

        def bot(folder: Path, port: int, _url: str) -> RunningBot:
            return RunningBot(folder, port, chat.url, **of_bot)

        kind: Any = bot
        secrets = {"buildbot-token": TOKEN}
        yield Faulty(stack.enter_context(scene_of(folder, playground, settings, secrets, kind)), chat, ci, buildbot)


def _settings(playground: Playground, chat: FaultProxy, ci: FaultProxy, lanes: Sequence[str]) -> Json:
    settings: Json = json.loads(json.dumps(configuration(playground)).replace(playground.url, chat.url))
    settings["sources"]["buildbot"]["url"] = ci.url
    settings["routes"].append({"match": {"project": PROJECT}, "to": ["ci", "dev-group"]})
    for lane in lanes:
        group = playground.act(platform="dingtalk", create=lane)["channel"]["id"]
        settings["destinations"] |= {f"{lane}-s": {"slack": f"#{lane}"}, f"{lane}-d": {"dingtalk": {"group": group}}}
        settings["routes"].append({"match": {"project": f"lane-{lane}-*"}, "to": [f"{lane}-s", f"{lane}-d"]})
    return settings
