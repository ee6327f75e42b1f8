"""kill -9 at named points: nothing accepted is lost, nothing is shown or started twice, the trail stays whole.

See `runner.POINTS` for where the process dies. The playground and the Buildbot outlive it and are the witnesses.
"""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import requests
import yaml
from cryptography.fernet import Fernet, MultiFernet

from bot.domain.audit import AuditEntry, seal
from bot.storage.store import SqliteStore, open_sqlite
from playground import world
from playground.children import Child, start_child
from playground.loopback import free_port
from playground.options import Options
from playground.server import Playground
from tests.crash.buildbot import PROJECT, TOKEN, LastingBuildbot
from tests.waiting import wait_until

ROOT = Path(__file__).parent.parent.parent
TEMPLATE = ROOT / "integrations" / "dingtalk" / "card_template.json"
CI, GROUP = "#ci", "研发群"
TITLE = f"{PROJECT} #1"
Json = dict[str, Any]
pytestmark = pytest.mark.slow


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
        command = [sys.executable, "-m", "tests.crash.runner", point, "run", "--config", self.folder / "shipmate.yaml"]
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


def _configuration(playground: Playground, buildbot: LastingBuildbot, port: int) -> Json:
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


@pytest.fixture
def life(tmp_path: Path) -> Iterator[Life]:
    """A configured bot that is not started yet."""
    template = f"{world.DINGTALK_TEMPLATE}={TEMPLATE}"
    options = Options(port=0, budgets=False, dingtalk_templates=(template,))
    with Playground(options) as playground, LastingBuildbot() as buildbot, requests.Session() as session:
        session.trust_env = False
        life = Life(tmp_path, playground, buildbot, session)
        (tmp_path / "token").write_text(TOKEN, "utf-8")
        configuration = _configuration(playground, buildbot, life.port)
        (tmp_path / "shipmate.yaml").write_text(yaml.safe_dump(configuration), "utf-8")
        yield life
        life.kill()


@pytest.mark.parametrize(("point", "stored"), [("before_ingest_commit", 0), ("after_ingest_commit", 1)])
def test_an_event_is_stored_or_sent_again(point: str, stored: int, life: Life) -> None:
    """The sender got no answer and comes again: one event and one card, stored the first time or the second."""
    life.start(point)
    assert life.push() is None
    life.await_death()
    assert life.count("SELECT count(*) FROM events") == stored
    life.start()
    assert life.push() == (200 if stored else 202)
    life.card(CI, "failed")
    assert life.count("SELECT count(*) FROM events WHERE kind = 'build_finished'") == 1
    life.assert_whole()


@pytest.mark.parametrize("point", ["after_claim", "after_post", "after_notice", "after_card"])
def test_an_accepted_event_is_shown_once(point: str, life: Life) -> None:
    """The sender was answered before the process died and never comes again: each place shows one card all the same."""
    life.start(point)
    assert life.push() == 202
    life.await_death()
    life.start()
    life.card(CI, "failed")
    life.card(GROUP, "failed")
    life.assert_whole()


@pytest.mark.parametrize(
    "point",
    ["before_ack", "after_command_claim", "before_trigger", "after_trigger", "before_answer", "after_answer"],
)
def test_a_press_starts_one_build(point: str, life: Life) -> None:
    """Wherever the process dies between the press and its answer, Buildbot builds once and the person is told of it."""
    life.start(point)
    assert life.push() == 202
    life.card(CI, "failed")
    life.press_retry()
    life.await_death()
    life.start()
    life.eventually(lambda: any(f"{PROJECT}#2" in text for text in life.whispers()), "the answer")
    life.card(CI, "Retried by")
    assert life.buildbot.rebuilds == 1
    assert life.count("SELECT count(*) FROM commands WHERE state = 'done'") == 1
    assert life.count("SELECT count(*) FROM audit WHERE outcome LIKE 'done:%'") == 1
    life.assert_whole()
    assert life.buildbot.rebuilds == 1
    assert len([text for text in life.whispers() if f"{PROJECT}#2" in text]) <= (2 if point == "after_answer" else 1)


@pytest.mark.parametrize("point", ["during_migration", "during_sealing"])
def test_the_database_is_whole_after_a_death(point: str, life: Life) -> None:
    """A schema is there as a whole or not at all, and so is a link of the trail."""
    life.start(point, awaits=False)
    life.await_death()
    life.start()
    assert life.push() == 202
    life.card(CI, "failed")
    life.press_retry()
    life.eventually(lambda: any(f"{PROJECT}#2" in text for text in life.whispers()), "the answer")
    life.assert_whole()
    assert life.buildbot.rebuilds == 1
