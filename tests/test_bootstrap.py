"""Putting a process together: its key, its database, what it says of itself, and how it starts and stops."""

from __future__ import annotations

import sqlite3
import stat
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import requests
from cryptography.fernet import Fernet
from sqlalchemy.exc import TimeoutError as PoolTimeout

from bot.application import Application
from bot.bootstrap import ALL_ROLES, HANDS, build
from bot.errors import ConfigError, StorageUnavailable
from bot.services.dispatcher import Dispatcher
from bot.settings import Settings, load
from bot.storage import watch
from bot.storage.opening import obstacle, open_database, open_key
from bot.storage.schema import HEAD
from bot.storage.store import open_sqlite
from bot.storage.watch import CommitWatch
from handlers.schedules import Schedules
from handlers.web import WebServer
from integrations import transport

KEY = Fernet.generate_key().decode()
PATIENCE_S = 30.0


def _settings(folder: Path, text: str = "", **environment: str) -> Settings:
    path = folder / "shipmate.yaml"
    path.write_text('server: {listen: "127.0.0.1:0"}\n' + text, encoding="utf-8")
    return load(path, environment)


def _eventually(wanted: Any) -> bool:
    deadline = time.monotonic() + PATIENCE_S
    while not (found := wanted()) and time.monotonic() < deadline:
        time.sleep(0.005)
    return bool(found)


@contextmanager
def _running(settings: Settings, roles: frozenset[str] = ALL_ROLES, **environment: str) -> Iterator[str]:
    """A started process, stopped at the end; the address of its web door."""
    application = build(settings, roles, environment=environment)
    starting = threading.Thread(target=application.start, args=(is_over := threading.Event(),))
    starting.start()
    (door,) = application.doors
    assert isinstance(door, WebServer)
    try:
        yield f"http://127.0.0.1:{door.port}"
    finally:
        is_over.set()
        starting.join()
        assert application.stop()


# --- the key


def test_a_key_is_made_once_and_readable_by_its_owner_alone(tmp_path: Path) -> None:
    """`run` makes `var/key` where there is none and keeps to it afterwards."""
    settings = _settings(tmp_path)
    sealed = open_key(settings, {}, may_make=True).encrypt(b"https://hooks.example.com/secret")
    path = tmp_path / "var" / "key"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert open_key(settings, {}, may_make=True).decrypt(sealed) == b"https://hooks.example.com/secret"
    assert [file.name for file in path.parent.iterdir()] == ["key"]


def test_processes_that_make_a_key_at_once_end_up_with_the_same(tmp_path: Path) -> None:
    """Whoever comes second reads the whole key of the first, never half of it."""
    settings = _settings(tmp_path)
    ciphers: list[Any] = []
    gate = threading.Barrier(8)

    def make() -> None:
        gate.wait()
        ciphers.append(open_key(settings, {}, may_make=True))

    threads = [threading.Thread(target=make) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    sealed = ciphers[0].encrypt(b"words")
    assert [cipher.decrypt(sealed) for cipher in ciphers] == [b"words"] * 8


def test_the_environment_goes_before_the_setting_and_the_file(tmp_path: Path) -> None:
    """SHIPMATE_KEY, then `key`, then `var/key`."""
    one, two = KEY, Fernet.generate_key().decode()
    (tmp_path / "two").write_text(two + "\n", encoding="ascii")
    settings = _settings(tmp_path, "key: {file: two}\n")
    assert Fernet(one).decrypt(open_key(settings, {"SHIPMATE_KEY": one}, may_make=False).encrypt(b"x")) == b"x"
    assert Fernet(two).decrypt(open_key(settings, {}, may_make=False).encrypt(b"x")) == b"x"
    assert not (tmp_path / "var").exists()


def test_a_key_can_be_replaced_by_naming_the_old_one_after_the_new(tmp_path: Path) -> None:
    """What the old key sealed is still read, new things are sealed with the new one."""
    new = Fernet.generate_key().decode()
    cipher = open_key(_settings(tmp_path), {"SHIPMATE_KEY": f"{new}, {KEY}"}, may_make=False)
    assert cipher.decrypt(Fernet(KEY).encrypt(b"old")) == b"old"
    assert Fernet(new).decrypt(cipher.encrypt(b"new")) == b"new"


@pytest.mark.parametrize(
    "key", ["short", "k3y" * 14 + "ab", KEY[:-2], f"{KEY},"], ids=["short", "not-32", "cut", "half-list"]
)
def test_a_wrong_key_is_refused_without_being_shown(tmp_path: Path, key: str) -> None:
    """The setting is named, its value is not."""
    with pytest.raises(ConfigError) as caught:
        open_key(_settings(tmp_path), {"SHIPMATE_KEY": key}, may_make=True)
    assert (
        str(caught.value) == "SHIPMATE_KEY: is no Fernet key: 32 bytes in URL-safe base64, such as `shipmate run` makes"
    )


# --- the database


def test_a_process_of_its_own_leaves_the_schema_alone(tmp_path: Path) -> None:
    """It opens the file and says what stands in the way."""
    settings = _settings(tmp_path)
    engine = open_database(settings, is_upgraded=False)
    assert obstacle(engine) == f"the database's schema is missing, not {HEAD}: run `shipmate db upgrade`"
    engine.dispose()
    engine = open_database(settings, is_upgraded=True)
    assert obstacle(engine) is None
    engine.dispose()


def test_a_database_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    """Another engine's address, a file that is no database, a folder that cannot be made, a newer version's schema."""
    (tmp_path / "notes.txt").write_text("no database at all, but long enough to be taken for one", encoding="utf-8")
    for setting, words in (
        ("mysql://host/shipmate", "must be sqlite:///path"),
        ("sqlite:///notes.txt", "notes.txt cannot be used: file is not a database"),
        ("sqlite:///notes.txt/shipmate.db", "shipmate.db cannot be used: "),
    ):
        with pytest.raises(ConfigError, match=f"database_url: .*{words}"):
            open_database(_settings(tmp_path, f"database_url: {setting}\n"), is_upgraded=True)
    settings = _settings(tmp_path)
    open_database(settings, is_upgraded=True).dispose()
    with sqlite3.connect(tmp_path / "var" / "shipmate.db") as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
        connection.execute("INSERT INTO schema_support VALUES ('9000')")
    connection.close()
    with pytest.raises(ConfigError, match="was written by a newer version"):
        open_database(settings, is_upgraded=True)


# --- what it says of itself


def test_a_whole_process_is_ready_by_itself(tmp_path: Path) -> None:
    """Key, schema and every part, from an empty folder."""
    with _running(_settings(tmp_path)) as url:
        assert _eventually(lambda: requests.get(f"{url}/readyz", timeout=30).status_code == 200)
        assert requests.get(f"{url}/readyz", timeout=30).text == "ready\n"


def test_a_platform_that_is_not_connected_is_said_and_turns_no_sender_away(tmp_path: Path) -> None:
    """Webhooks are still taken while Slack is down: their cards are shown later."""
    slack = 'platforms: {slack: {bot_token: "${B}", app_token: "${A}", api_url: "http://127.0.0.1:9/"}}\n'
    settings = _settings(tmp_path, slack, B="xoxb-nobody-answers", A="xapp-nobody-answers")
    with _running(settings) as url:
        assert _eventually(lambda: requests.get(f"{url}/readyz", timeout=30).status_code == 200)
        assert requests.get(f"{url}/readyz", timeout=30).text == "ready\nslack: not connected\n"


def test_a_database_that_is_taken_away_makes_it_unready(tmp_path: Path) -> None:
    """The reason is said, and it is ready again when the schema is back."""
    with _running(_settings(tmp_path), SHIPMATE_KEY=KEY) as url:
        assert _eventually(lambda: requests.get(f"{url}/readyz", timeout=30).status_code == 200)
        with sqlite3.connect(tmp_path / "var" / "shipmate.db") as connection:
            connection.execute("UPDATE alembic_version SET version_num = '0000'")
        answer = requests.get(f"{url}/readyz", timeout=30)
        assert answer.status_code == 503
        assert answer.text == f"the database's schema is 0000, not {HEAD}: run `shipmate db upgrade`\n"
        with connection:
            connection.execute(f"UPDATE alembic_version SET version_num = '{HEAD}'")
        connection.close()
        assert requests.get(f"{url}/readyz", timeout=30).status_code == 200


def test_a_worker_that_has_stopped_makes_it_unready(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody would see the events that it takes."""
    monkeypatch.setattr("bot.services.dispatcher.Dispatcher._run", lambda _: None)
    with _running(_settings(tmp_path)) as url:
        assert _eventually(lambda: "dispatcher" in requests.get(f"{url}/readyz", timeout=30).text)
        assert requests.get(f"{url}/readyz", timeout=30).status_code == 503


# --- who else is at work


def _knows_of_others(settings: Settings, role: str, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Whether the worker of such a process reckons with others after a leap of the clock."""
    told: list[bool] = []

    class Told(Dispatcher):
        def __init__(self, *parts: Any, has_others: bool) -> None:
            told.append(has_others)
            super().__init__(*parts, has_others=has_others)

    monkeypatch.setattr("bot.bootstrap.Dispatcher", Told)
    roles = ALL_ROLES if role == "run" else frozenset({role})
    application = build(settings, roles, environment={"SHIPMATE_KEY": KEY})
    is_over = threading.Event()
    is_over.set()
    application.start(is_over)
    assert application.stop()
    return told == [True]


@pytest.mark.postgres
def test_whole_processes_over_one_server_reckon_with_each_other(
    tmp_path: Path, postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When its clock leaps, each leaves alone what another one may have under way."""
    server = _settings(tmp_path, f'database_url: "{postgres_url}"\n')
    assert _knows_of_others(server, "run", monkeypatch)
    assert _knows_of_others(server, "worker", monkeypatch)


def test_a_whole_process_over_a_file_is_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It waits for its own work, and for nobody else's."""
    assert not _knows_of_others(_settings(tmp_path), "run", monkeypatch)
    assert _knows_of_others(_settings(tmp_path), "worker", monkeypatch)


# --- starting and stopping


class FakePart:
    """Keeps when it was started and stopped."""

    def __init__(self, name: str, journal: list[str]) -> None:
        self.name, self.journal = name, journal

    def start(self) -> None:
        """Note it."""
        self.journal.append(f"start {self.name}")

    def stop(self) -> None:
        """Note it."""
        self.journal.append(f"stop {self.name}")

    def close(self) -> None:
        """Note it."""
        self.journal.append(f"close {self.name}")


def test_the_door_opens_first_and_the_database_is_closed_last() -> None:
    """Parts start when the obstacle is gone and the database prepared, and a failing preparation is tried again."""
    journal: list[str] = []
    obstacles = iter(["no schema", None, None])
    failures = iter([StorageUnavailable("busy")])

    def prepare() -> None:
        for failure in failures:
            journal.append("prepare in vain")
            raise failure
        journal.append("prepare")

    door, part, store = (FakePart(name, journal) for name in ("door", "part", "store"))
    application = Application([door], [part], store, lambda: next(obstacles), prepare)
    assert application.unfinished == "starting"
    application.start(threading.Event())
    assert application.unfinished is None
    assert journal == ["start door", "prepare in vain", "prepare", "start part"]
    assert application.stop()
    assert sorted(journal[4:6]) == ["stop door", "stop part"]
    assert journal[6:] == ["close store"]


def test_a_process_that_is_ended_while_it_waits_starts_nothing_more() -> None:
    """A signal during the wait for the schema is obeyed."""
    journal: list[str] = []
    is_over = threading.Event()

    def obstacle_and_signal() -> str:
        is_over.set()
        return "no schema"

    door, part, store = (FakePart(name, journal) for name in ("door", "part", "store"))
    application = Application([door], [part], store, obstacle_and_signal, lambda: None)
    application.start(is_over)
    assert application.stop()
    assert journal == ["start door", "stop door", "close store"]


def test_a_part_that_does_not_end_is_left_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    """The end comes in time, and says that it was not clean."""
    monkeypatch.setattr("bot.application.DRAIN_S", 0.05)
    release = threading.Event()
    stuck = FakePart("stuck", [])
    monkeypatch.setattr(stuck, "stop", release.wait)
    application = Application([], [stuck], FakePart("store", []), lambda: None, lambda: None)
    application.start(threading.Event())
    assert not application.stop()
    release.set()


def test_what_is_due_by_the_clock_is_called_and_a_failure_does_not_end_it() -> None:
    """A task that fails is called again; after the stop none is."""
    calls: list[int] = []

    def task() -> None:
        calls.append(len(calls))
        raise StorageUnavailable("busy")

    schedules = Schedules({"task": (0.02, task)})
    schedules.start()
    assert _eventually(lambda: len(calls) >= 3)
    schedules.stop()
    seen = len(calls)
    assert threading.Event().wait(0.1) is False
    assert len(calls) == seen


# --- other processes' commits


def test_a_commit_of_another_process_is_heard_and_silence_is_not(tmp_path: Path) -> None:
    """Each commit rings soon; looking rings nobody, but for the first look: who began before has not heard it all."""
    engine = open_sqlite(f"sqlite:///{tmp_path / 'shipmate.db'}")
    heard: list[float] = []
    other = sqlite3.connect(tmp_path / "shipmate.db")
    other.execute("CREATE TABLE notes (words TEXT)")
    commits = CommitWatch(engine, lambda: heard.append(time.monotonic()))
    commits.start()
    assert _eventually(lambda: heard)
    assert threading.Event().wait(5 * watch.INTERVAL_S) is False
    assert len(heard) == 1
    for count in range(2, 5):
        with other:
            other.execute("INSERT INTO notes VALUES ('x')")
        assert _eventually(lambda wanted=count: len(heard) == wanted)
    other.close()
    commits.stop()
    engine.dispose()


@pytest.mark.parametrize("failure", [sqlite3.OperationalError("disk I/O error"), PoolTimeout("none is free")])
def test_a_watch_that_cannot_look_tries_again(
    failure: Exception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A database that fails for a moment, or gives no connection, is watched again: what came meanwhile is heard."""
    monkeypatch.setattr(watch, "REST_S", 0.01)
    engine = open_sqlite(f"sqlite:///{tmp_path / 'shipmate.db'}")
    failures = iter([failure] * 2)
    original = CommitWatch._watch

    def fail_first(self: CommitWatch) -> None:
        for problem in failures:
            raise problem
        original(self)

    monkeypatch.setattr(CommitWatch, "_watch", fail_first)
    heard: list[bool] = []
    commits = CommitWatch(engine, lambda: heard.append(True))
    commits.start()
    assert _eventually(lambda: heard)
    assert commits.trouble() is None
    commits.stop()
    assert commits.trouble()
    engine.dispose()


def test_each_hand_has_a_connection() -> None:
    """However much hangs at once, none of what the crews do waits for a connection of another's."""
    assert sum(one.size + one.bench for one in HANDS) <= transport.CONNECTIONS
