"""Shipmate and the playground as they run in earnest, for scenarios: start, wait, act, look, stop."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from secrets import token_hex
from typing import Any, TypeVar

import pytest
import requests
import yaml
from sqlalchemy import Connection, Engine, NullPool, create_engine, select, text, update

from bot.domain.audit import AuditEntry, seal
from bot.signatures import sign
from bot.storage import tables
from playground import world
from playground.children import Child, start_child
from playground.demo_setup import CARD_TEMPLATE, Ports, bot_program
from playground.loopback import NotReachable, fetch, free_port
from playground.options import Options
from playground.server import Playground

Json = dict[str, Any]
Found = TypeVar("Found")

READY_S = 60.0
STOP_S = 30.0
PATIENCE_S = 30.0
LOOK_S = 10.0
POLL_S = 0.05

CI, DEV_GROUP, OPS_GROUP = "#ci", "研发群", "运维通知"
GENERIC_SECRET = "whsec_c2NlbmFyaW9zLXNpZ24tdGhlaXItd2ViaG9va3M="  # opens nothing but a bot under test
BUILDBOT_TOKEN = "token-of-a-recorded-buildbot"


def fresh(name: str) -> str:
    """A project that no other test uses."""
    return f"{name}-{token_hex(3)}"


def a_playground(**options: Any) -> Playground:
    """A playground on a free port with the card template that is shipped; not yet started."""
    template = f"{world.DINGTALK_TEMPLATE}={CARD_TEMPLATE}"
    return Playground(Options(**{"port": 0, "dingtalk_templates": (template,), **options}))


def texts(messages: Sequence[Json]) -> str:
    """What a person reads in a row of messages and their threads, each with its number of edits."""
    return "\n---\n".join(
        f"[{one['author']}, {one['edits']} edits] {one['text']}"
        + "".join(f"\n    ↳ {reply['text']}" for reply in one["thread"])
        for one in messages
    )


@dataclass
class RunningBot:
    """One bot process over one folder, which can be stopped, killed and started again.

    `wrapped` makes of its command line the one that is started.
    """

    folder: Path
    port: int
    playground_url: str
    child: Child | None = None
    wrapped: Callable[[list[str]], list[str]] = list
    environment: Mapping[str, str] = field(default_factory=dict)
    log: Path = field(init=False)

    def __post_init__(self) -> None:
        self.log = self.folder / "shipmate.log"

    @property
    def database(self) -> str:
        """The address of its database, whichever engine it is configured with; a file is not made by looking."""
        configured = yaml.safe_load((self.folder / "shipmate.yaml").read_text("utf-8")).get("database_url")
        return str(configured or f"sqlite:///file:{self.folder / 'var' / 'shipmate.db'}?mode=rw&uri=true")

    @property
    def url(self) -> str:
        """Where its web door is."""
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start it and wait until it is ready; what it printed is shown when it does not get there."""
        ports = Ports(playground=int(self.playground_url.rpartition(":")[2]), bot=self.port)
        program = bot_program(ports, self.folder / "shipmate.yaml")
        environment = {**os.environ, **program.environment, "NO_PROXY": "127.0.0.1", "PYTHONUNBUFFERED": "1"}
        environment |= self.environment
        command = self.wrapped([sys.executable, *map(str, program.command[1:])])
        self.child = start_child("shipmate", command, self.log, environment=environment, folder=self.folder)
        deadline = time.monotonic() + READY_S
        while not _answers(program.ready_url):
            if self.child.process.poll() is not None:
                pytest.fail(f"the bot ended with {self.child.process.returncode} while starting:\n{self.tail()}")
            if time.monotonic() > deadline:
                self.stop()
                pytest.fail(f"the bot is not ready after {READY_S:.0f} s:\n{self.tail()}")
            time.sleep(POLL_S)

    def stop(self) -> None:
        """End it as an operator does, with SIGTERM; a bot that does not end is killed and fails the test."""
        child, self.child = self.child, None
        if child is not None and not child.stop(time.monotonic() + STOP_S):
            pytest.fail(f"the bot did not end within {STOP_S:.0f} s:\n{self.tail()}")

    def forget(self) -> None:
        """Take away all that a stopped bot has stored, tables included."""
        if self.database.startswith("sqlite"):
            for file in (self.folder / "var").glob("shipmate.db*"):
                file.unlink()
            return
        with _engine(self.database).begin() as connection:
            connection.execute(text("DROP SCHEMA public CASCADE"))
            connection.execute(text("CREATE SCHEMA public"))

    def tail(self, lines: int = 40) -> str:
        """The last lines it printed."""
        if not self.log.exists():
            return "(it printed nothing)"
        return "\n".join(self.log.read_text("utf-8", "replace").splitlines()[-lines:])


@dataclass
class Scene:
    """A running bot and the playground it is connected to, seen as a person and as a sender of webhooks see them."""

    playground: Playground
    bot: RunningBot
    session: requests.Session

    # --- waiting and looking

    def eventually(
        self, found: Callable[[], Found], what: str, timeout_s: float = PATIENCE_S, every_s: float = POLL_S
    ) -> Found:
        """The first true value of `found`; on failure the test shows what people see and what the bot printed."""
        deadline = time.monotonic() + timeout_s
        while not (value := found()):
            if time.monotonic() > deadline:
                pytest.fail(f"waited {timeout_s:.0f} s for {what}\n{self.described()}")
            time.sleep(every_s)
        return value

    def described(self) -> str:
        """What people see now, the last calls, and the end of the bot's log."""
        lines = []
        platforms = self.playground.state(recent=6)["platforms"]
        for platform, state in platforms.items():
            for channel, place in state["channels"].items():
                if place["messages"]:
                    lines.append(f"== {platform} {channel}\n{texts(place['messages'])}")
            lines += [f"== {platform} only for {one['to']}: {one['text']}" for one in state["ephemeral"][-4:]]
        calls = [
            f"{one['method']} {one['place']} → {str(one['answer'])[:120]}" for one in self.playground.calls()[-12:]
        ]
        return "\n".join([*lines, "== calls", *calls, "== the bot's log", self.bot.tail()])

    def connected(self) -> None:
        """Wait until people are heard, on both platforms: a bot that is ready may not hear them yet."""

        def are_open() -> bool:
            platforms = self.playground.state(recent=1)["platforms"]
            return all(platforms[name]["connections"] for name in ("slack", "dingtalk"))

        self.eventually(are_open, "the connections to both platforms")

    def messages(self, channel: str) -> list[Json]:
        """The messages in a channel (`#…`, `@…` for Slack, else DingTalk), oldest first."""
        return self.playground.client.messages(_platform_of(channel), channel)

    def cards(self, channel: str, title: str) -> list[Json]:
        """The messages that show the build `title`, such as `web #7`."""
        return [one for one in self.messages(channel) if f"{title} " in f"{one['text']} "]

    def card(self, channel: str, title: str, *words: str, timeout_s: float = PATIENCE_S) -> Json:
        """The one card of a build at a channel, once it shows all `words`."""

        def find() -> Json | None:
            cards = self.cards(channel, title)
            return cards[-1] if cards and all(word in cards[-1]["text"] for word in words) else None

        found = self.eventually(find, f"a card {title!r} with {words} in {channel}", timeout_s)
        assert found is not None
        assert len(self.cards(channel, title)) == 1, self.described()
        return found

    def calls(self, method: str, *words: str, since: int = 0) -> list[Json]:
        """The calls of a method whose arguments hold all `words`, in order."""
        calls = self.playground.calls(method=method, since=since)
        return [one for one in calls if all(word in json.dumps(one["arguments"], ensure_ascii=False) for word in words)]

    # --- people

    def say(self, channel: str, line: str, as_: str | None = None, **more: Any) -> Json:
        """Type a line; what the person's client shows for it."""
        return self.playground.act(platform=_platform_of(channel), channel=channel, as_=as_, say=line, **more)

    def click(self, channel: str, message: Json, action: str, as_: str | None = None, **more: Any) -> Json:
        """Press the control of a message that is named `action`."""
        wanted = next(one["id"] for one in message["actions"] if action in str(one["id"]))
        press = {"message": message["id"], "action": wanted}
        return self.playground.act(platform=_platform_of(channel), channel=channel, as_=as_, click=press, **more)

    def whisper(self, to: str, *words: str, since: int = 0, timeout_s: float = PATIENCE_S) -> str:
        """What Slack shows to one person alone, once it holds all `words`; the first `since` whispers are old."""

        def find() -> str | None:
            heard = self.playground.state(platform="slack")["platforms"]["slack"]["ephemeral"][since:]
            said = [one["text"] for one in heard if one["to_id"] == to and all(word in one["text"] for word in words)]
            return said[-1] if said else None

        found = self.eventually(find, f"{to} to read {words}", timeout_s)
        assert found is not None
        return found

    def whispers(self) -> int:
        """How many messages were shown to one person alone."""
        return len(self.playground.state(platform="slack")["platforms"]["slack"]["ephemeral"])

    def said(self, channel: str, *words: str, since: int = 0, timeout_s: float = PATIENCE_S) -> Json:
        """The bot's newest message in a channel after the first `since`, once it holds all `words`."""

        def find() -> Json | None:
            said = [one for one in self.messages(channel)[since:] if one["author"] == world.BOT_NAME]
            fitting = [one for one in said if all(word in one["text"] for word in words)]
            return fitting[-1] if fitting else None

        found = self.eventually(find, f"the bot to say {words} in {channel}", timeout_s)
        assert found is not None
        return found

    def ask(self, channel: str, line: str, *words: str, as_: str | None = None) -> str:
        """Type a line and return the answer, wherever the platform shows it, once it holds all `words`."""
        if _platform_of(channel) == "slack":
            account = next(one.id for one in world.SLACK_PEOPLE if (as_ or "alice") in (one.handle, one.name))
            before = self.whispers()
            assert self.say(channel, line, as_)["ok"], self.described()
            return self.whisper(account, *words, since=before)
        before = len(self.messages(channel))
        assert self.say(channel, line, as_)["ok"], self.described()
        return str(self.said(channel, *words, since=before)["text"])

    # --- senders of webhooks

    def tell(self, project: str, number: int | str, event: str, **facts: Any) -> requests.Response:
        """Post a signed build event to the generic door, as its senders do."""
        body = json.dumps({"event": f"build.{event}", "project": project, "number": number, **facts}).encode()
        return self.post(body, signed(body))

    def post(self, body: bytes | Iterator[bytes], headers: Mapping[str, str], source: str = "generic") -> Any:
        """Post any body to a source's door."""
        return self.session.post(f"{self.bot.url}/webhooks/{source}", body, headers=dict(headers), timeout=PATIENCE_S)

    # --- the record

    def events(self, project: str) -> int:
        """How many events about a project are stored."""
        return len(self.rows(select(tables.events.c.id).where(tables.events.c.subject_key.contains(f"/{project}#"))))

    def counted(self) -> dict[str, int]:
        """How many rows each table holds that a webhook could write to."""
        names = ("events", "subjects", "cards", "commands")
        return {name: len(self.rows(select(tables.metadata.tables[name]))) for name in names}

    def audit(self, *words: str) -> list[Json]:
        """The audit entries that hold all `words`, in order."""
        rows = [dict(row._mapping) for row in self.rows(select(tables.audit).order_by(tables.audit.c.seq))]
        return [row for row in rows if all(word in " ".join(map(str, row.values())) for word in words)]

    def audited(self, count: int, *words: str) -> list[Json]:
        """The audit entries that hold all `words`, once there are `count`: a command's last one follows its effect."""

        def find() -> list[Json] | None:
            found = self.audit(*words)
            return found if len(found) >= count else None

        found = self.eventually(find, f"{count} audit entries with {words}")
        assert found is not None
        assert len(found) == count, found
        return found

    def is_audit_sealed(self) -> bool:
        """Whether every entry is in the chain; a broken link fails the test."""
        previous = ""
        for row in self.audit():
            if row["hash"] is None:
                return False
            names = AuditEntry.__slots__
            assert row["previous_hash"] == previous
            assert row["hash"] == seal(AuditEntry(**{name: row[name] for name in names}), row["seq"], previous)
            previous = row["hash"]
        return True

    def reasons(self, project: str) -> dict[tuple[str, str], str]:
        """Why each slot of a project's builds is as it is, by destination and slot."""
        cards = tables.cards
        rows = self.rows(select(cards).where(cards.c.subject_key.contains(f"/{project}#")))
        return {(row.destination, row.slot): row.reason for row in rows}

    def all_answered(self) -> None:
        """Wait until whoever asked for anything has heard what came of it.

        Commands are carried out side by side, and what one has done is on record before its answer is given.
        """
        waiting = select(tables.commands.c.id).where(tables.commands.c.is_open)
        self.eventually(lambda: not self.rows(waiting), "all commands to be answered")

    def recorded(self, *projects: str) -> None:
        """Wait until the bot has written down that all cards of the projects were sent.

        What stands on a platform may not be on record yet: a bot that dies in between has to find out what it did.
        """

        def are_recorded() -> bool:
            return all(set(self.reasons(project).values()) == {"sent"} for project in projects)

        self.eventually(are_recorded, f"{projects} to be recorded")

    def let_pass(self, seconds: float) -> None:
        """Turn what the bot waits for back by so much: for it, that time has passed."""
        columns = (
            tables.destinations.c.free_at,
            tables.cards.c.due_at,
            tables.cards.c.attempt_started_at,
            tables.budgets.c.paused_until,
        )
        self.change(*(update(column.table).values({column: column - seconds}) for column in columns))

    def rows(self, query: Any) -> Sequence[Any]:
        """What a query finds in the bot's database."""
        with self._connected() as connection:
            return connection.execute(query).all()

    def change(self, *statements: Any) -> None:
        """Change the bot's database behind its back."""
        with self._connected() as connection:
            for statement in statements:
                connection.execute(statement)
            connection.commit()

    @contextmanager
    def _connected(self) -> Iterator[Connection]:
        with _engine(self.bot.database).connect() as connection:
            yield connection


@cache
def _engine(url: str) -> Engine:
    """What knows a database; it keeps no connection open."""
    return create_engine(url, poolclass=NullPool)


def signed(body: bytes, *, delivery_id: str | None = None, at: float | None = None) -> dict[str, str]:
    """The headers of Standard Webhooks for a body."""
    delivery_id, timestamp = delivery_id or token_hex(8), int(at or time.time())
    signature = sign(GENERIC_SECRET, delivery_id, timestamp, body)
    headers = {"webhook-id": delivery_id, "webhook-timestamp": str(timestamp), "webhook-signature": signature}
    return {"Content-Type": "application/json", **headers}


def ago(seconds: float) -> str:
    """A moment of the past as webhooks write it."""
    return (datetime.now(UTC) - timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%SZ")


@contextmanager
def scene_of(
    folder: Path,
    playground: Playground,
    configuration: Json,
    secrets: Mapping[str, str] | None = None,
    kind: type[RunningBot] = RunningBot,
) -> Iterator[Scene]:
    """A started bot with `configuration` beside a started playground; it ends with the context.

    `secrets` are files of `folder/secrets` that the configuration names, beside the usual two.
    """
    bot = kind(folder, free_port(), playground.url)
    configuration = {"server": {"listen": f"127.0.0.1:{bot.port}"}, **configuration}
    (folder / "secrets").mkdir(exist_ok=True)
    for name, secret in {"generic": GENERIC_SECRET, "buildbot-token": BUILDBOT_TOKEN, **(secrets or {})}.items():
        (folder / "secrets" / name).write_text(secret, "utf-8")
    (folder / "shipmate.yaml").write_text(yaml.safe_dump(configuration, allow_unicode=True), "utf-8")
    with requests.Session() as session:
        session.trust_env = False
        bot.start()
        try:
            scene = Scene(playground, bot, session)
            scene.connected()
            yield scene
        finally:
            bot.stop()


def _platform_of(channel: str) -> str:
    return "slack" if channel.startswith(("#", "@")) else "dingtalk"


def _answers(url: str) -> bool:
    try:
        fetch(url, timeout_s=LOOK_S)
    except NotReachable:
        return False
    return True
