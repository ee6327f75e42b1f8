"""A bot that is killed and comes back, configured against a playground and a Buildbot that outlive it."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import sys
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import requests
from cryptography.fernet import Fernet, MultiFernet

from bot.domain.audit import AuditEntry, seal
from bot.storage.store import SqliteStore, open_sqlite
from playground import world
from playground.children import Child, start_child
from playground.loopback import free_port
from playground.server import Playground
from tests.crash.buildbot import PROJECT, TOKEN, LastingBuildbot
from tests.waiting import wait_until

ROOT = Path(__file__).parent.parent.parent
TEMPLATE = ROOT / "integrations" / "dingtalk" / "card_template.json"
CI, GROUP = "#ci", "研发群"
TITLE = f"{PROJECT} #1"
Json = dict[str, Any]


@dataclass
class Life:
    """A bot that dies and comes back, and those who see it."""

    folder: Path
    playground: Playground
    buildbot: LastingBuildbot
    session: requests.Session
    port: int = field(default_factory=free_port)
    child: Child | None = None

    # --- living and dying

    def start(self, point: str = "none", *, awaits: bool = True) -> None:
        """Start the bot, deadly at `point`; `awaits` that it is connected to everything."""
        environment = {
            **os.environ,
            "SLACK_BOT_TOKEN": world.SLACK_BOT_TOKEN,
            "SLACK_APP_TOKEN": world.SLACK_APP_TOKEN,
            "DINGTALK_CLIENT_ID": world.DINGTALK_CLIENT_ID,
            "DINGTALK_CLIENT_SECRET": world.DINGTALK_CLIENT_SECRET,
            "NO_PROXY": "127.0.0.1",
            "PYTHONPATH": str(ROOT),
        }
        program = [sys.executable, "-m", "tests.crash.runner", point]
        command = [*program, "run", "--config", str(self.folder / "shipmate.yaml")]
        self.child = start_child("shipmate", command, self.folder / "log", environment=environment, folder=self.folder)
        if awaits:
            self.eventually(self._is_ready, "the bot to be ready")
            self.eventually(self._is_connected, "the bot's connections")

    def await_death(self) -> None:
        """Wait until the bot was killed."""
        child = self.child
        assert child is not None
        self.eventually(lambda: child.process.poll() is not None, "the bot to die")
        assert child.process.returncode == -signal.SIGKILL, child.tail()
        self.child = None

    def kill(self) -> None:
        """End the bot, if it lives, as everything here ends."""
        child, self.child = self.child, None
        if child is not None:
            child.process.kill()
            child.process.wait(30)

    def eventually(self, found: Callable[[], Any], what: str) -> Any:
        """Wait; the end of the bot's log is shown with a failure."""
        try:
            return wait_until(found, what)
        except pytest.fail.Exception as failure:
            log = (self.folder / "log").read_text("utf-8", "replace")[-6000:]
            raise AssertionError(f"{failure}\n{json.dumps(self.shown(CI), ensure_ascii=False)}\n{log}") from None

    def _is_ready(self) -> bool:
        try:
            return self.session.get(f"{self.url}/readyz", timeout=5).status_code == 200
        except requests.ConnectionError:
            return False

    def _is_connected(self) -> bool:
        platforms = self.playground.state(recent=1)["platforms"]
        return all(platforms[name]["connections"] for name in ("slack", "dingtalk"))

    @property
    def url(self) -> str:
        """Where the bot listens."""
        return f"http://127.0.0.1:{self.port}"

    # --- what happens outside

    def push(self) -> int | None:
        """Buildbot tells of its failed build; the status of the answer, None where there was none."""
        try:
            answer = self.session.post(
                f"{self.url}/webhooks/buildbot", json=self.buildbot.push, headers={"X-Bot-Token": TOKEN}, timeout=20
            )
        except (requests.ConnectionError, requests.Timeout):
            return None
        return answer.status_code

    def press_retry(self) -> Json:
        """Alice presses Retry on the card in Slack."""
        card = self.card(CI)
        wanted = next(one["id"] for one in card["actions"] if "retry" in str(one["id"]))
        press = {"message": card["id"], "action": wanted}
        return self.playground.act(platform="slack", channel=CI, as_="alice", click=press)

    # --- what people see

    def shown(self, channel: str) -> list[Json]:
        """The messages of a channel."""
        return self.playground.client.messages("slack" if channel == CI else "dingtalk", channel)

    def cards(self, channel: str, title: str = TITLE) -> list[Json]:
        """Those that show a build."""
        return [one for one in self.shown(channel) if title in one["text"]]

    def card(self, channel: str, *words: str, title: str = TITLE) -> Json:
        """The one card of a build, once it holds all `words`."""

        def find() -> Json | None:
            found = self.cards(channel, title)
            return found[0] if found and all(word in found[0]["text"] for word in words) else None

        found: Json = self.eventually(find, f"a card with {words} in {channel}")
        return found

    def whispers(self) -> list[str]:
        """What Alice alone was told."""
        heard = self.playground.state(platform="slack")["platforms"]["slack"]["ephemeral"]
        return [one["text"] for one in heard]

    # --- what is on the record

    def count(self, query: str) -> int:
        """The number that a query gives."""
        with closing(sqlite3.connect(f"file:{self.folder}/var/shipmate.db?mode=ro", uri=True)) as connection:
            return int(connection.execute(query).fetchone()[0])

    def is_at_rest(self) -> bool:
        """Whether nothing is left to do."""
        cards = "SELECT count(*) FROM cards WHERE wanted_revision > shown_revision AND NOT is_dead"
        return not any(map(self.count, (cards, "SELECT count(*) FROM commands WHERE is_open")))

    def assert_whole(self) -> None:
        """Everything came to rest, nothing is dead, doubled or in doubt, and the trail is one chain."""
        self.eventually(self.is_at_rest, "all work to be done")
        assert self.count("SELECT count(*) FROM cards WHERE is_dead OR attempt_id IS NOT NULL") == 0
        for channel in (CI, GROUP):
            assert len(self.cards(channel)) == 1
        notices = [
            reply["text"] for card in self.cards(CI) for reply in card["thread"] if f"{PROJECT}#1" in reply["text"]
        ]
        assert len(notices) == 1
        self.kill()
        assert self.trail_is_whole()

    def trail_is_whole(self) -> bool:
        """Seal what is left and follow the chain."""
        engine = open_sqlite(f"sqlite:///{self.folder}/var/shipmate.db")
        store = SqliteStore(engine, MultiFernet([Fernet(Fernet.generate_key())]))
        store.write(lambda tx: tx.audit.seal(1000))
        with closing(sqlite3.connect(f"{self.folder}/var/shipmate.db")) as connection:
            connection.row_factory = sqlite3.Row
            rows = connection.execute("SELECT * FROM audit ORDER BY seq").fetchall()
        store.close()
        previous = ""
        for row in rows:
            entry = AuditEntry(**{name: row[name] for name in AuditEntry.__slots__})
            if (row["previous_hash"], row["hash"]) != (previous, seal(entry, row["seq"], previous)):
                return False
            previous = row["hash"]
        return True


def configuration(playground: Playground, buildbot: LastingBuildbot, port: int) -> Json:
    slack = {"bot_token": "${SLACK_BOT_TOKEN}", "app_token": "${SLACK_APP_TOKEN}", "budgets": {"lifted": True}}
    dingtalk = {"client_id": "${DINGTALK_CLIENT_ID}", "client_secret": "${DINGTALK_CLIENT_SECRET}"}
    hosts = {"api_url": f"{playground.url}/dingtalk/api", "oapi_url": f"{playground.url}/dingtalk/oapi"}
    template = {
        "card_template_id": world.DINGTALK_TEMPLATE,
        "corp_id": world.DINGTALK_CORP,
        "budgets": {"lifted": True},
    }
    return {
        "server": {"listen": f"127.0.0.1:{port}"},
        "progress_interval_s": 0,
        "platforms": {
            "slack": {"mode": "socket", "api_url": f"{playground.url}/slack/api/", **slack},
            "dingtalk": {**dingtalk, **hosts, **template},
        },
        "destinations": {
            "ci": {"slack": CI},
            "group": {"dingtalk": {"group": world.DINGTALK_GROUP}},
        },
        "sources": {
            "buildbot": {
                "kind": "buildbot",
                "url": buildbot.url,
                "webhook_token": {"file": "token"},
                "projects": {PROJECT: {"builder": PROJECT}},
            }
        },
        "routes": [{"match": {"project": "*"}, "to": ["ci", "group"]}],
        "roles": {"devs": {"members": ["slack:U024ALICE01"], "can": ["retry"]}},
    }
