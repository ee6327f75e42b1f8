"""Every process is replaced, one after the other, while builds come in: nothing is lost and nothing doubled."""

from __future__ import annotations

import json
import re
import shutil
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import requests

from bot.storage import schema
from bot.storage.postgres import open_postgres
from bot.storage.store import open_sqlite
from bot.storage.tables import metadata
from tests.scenarios.fleet import Fleet
from tests.scenarios.running import CI, Scene, fresh, signed
from tests.scenarios.test_fleet import fleet_scene
from tests.stores import ENGINES

pytestmark = pytest.mark.slow
ROLES = ("web", "stream", "worker", "worker", "clock")
PER_SECOND = 50
SENDERS = 8
PATIENCE_S = 60.0


class Driver:
    """A CI system that tells of builds, start and end, at a steady rate, and repeats what got no 2xx."""

    def __init__(self, scene: Scene, project: str) -> None:
        self._url = f"{scene.bot.url}/webhooks/generic"
        self._project = project
        self._is_over = threading.Event()
        self._senders = ThreadPoolExecutor(SENDERS)
        self._thread = threading.Thread(target=self._run)
        self.builds = 0
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
        while not self._is_over.wait(2 / PER_SECOND):
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
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline:
            try:
                answer = requests.post(self._url, body, headers=signed(body, delivery_id=name), timeout=10)
            except requests.ConnectionError:
                self.answers["refused"] += 1
            else:
                self.answers[answer.status_code] += 1
                if answer.ok:
                    return True
            time.sleep(0.05)  # as senders do before they try again
        return False


LATER = f"""
from alembic import op
import sqlalchemy as sa

revision, down_revision = "9998", "{schema.HEAD}"


def upgrade():
    for name in {sorted(metadata.tables)}:
        op.add_column(name, sa.Column("added_later", sa.Text(), nullable=True))
    op.create_index("cards_later", "cards", ["added_later"])
"""


@pytest.fixture
def newer_version(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """This process, not those of the fleet, is of a version that adds a column to every table."""
    migrations = tmp_path / "migrations"
    shutil.copytree(schema._MIGRATIONS, migrations)
    (migrations / "versions" / "9998_later.py").write_text(LATER, "utf-8")
    monkeypatch.setattr(schema, "_MIGRATIONS", migrations)
    monkeypatch.setattr(schema, "HEAD", "9998")


def upgrade(url: str) -> None:
    """`shipmate db upgrade` of this process."""
    engine = open_postgres(url) if url.startswith("postgres") else open_sqlite(url)
    assert schema.upgrade(engine)
    engine.dispose()


@pytest.mark.usefixtures("newer_version")
@pytest.mark.parametrize("engine", ENGINES)
def test_a_rolling_restart_loses_and_doubles_nothing(
    request: pytest.FixtureRequest, engine: str, tmp_path: Path
) -> None:
    """Fifty events a second, a schema that is added to, each process ended and started anew: one final card each."""
    server = request.getfixturevalue("postgres") if engine == "postgres" else None
    with fleet_scene(server, tmp_path, ROLES, {"routes": [{"to": ["ci"]}]}, messages_kept=100_000) as scene:
        fleet, project = scene.bot, fresh("shop")
        assert isinstance(fleet, Fleet)
        with Driver(scene, project) as driver:
            scene.eventually(lambda: driver.answers[202] > PER_SECOND, "the first events", PATIENCE_S)
            upgrade(fleet.database if engine == "postgres" else f"sqlite:///{fleet.folder / 'var' / 'shipmate.db'}")
            for role in ROLES:
                fleet.replace(role)
                seen = driver.answers[202]
                scene.eventually(lambda seen=seen: driver.answers[202] > seen + 20, "events go on", PATIENCE_S)
        assert driver.given_up == []
        assert set(driver.answers) <= {202, 200, 503, "refused"}
        wanted = {f"{project} #{number}" for number in range(1, driver.builds + 1)}
        scene.eventually(lambda: _shown(scene) >= wanted, "all final states", PATIENCE_S)
        posts = Counter(_title(str(call["arguments"])) for call in scene.calls("chat.postMessage", project))
        assert {title: count for title, count in posts.items() if count > 1} == {}
        assert set(posts) == wanted
        assert scene.events(project) == 2 * driver.builds


def _shown(scene: Scene) -> set[str]:
    """The builds whose card in #ci shows their end."""
    return {_title(one["text"]) for one in scene.messages(CI) if "✅" in one["text"]}


def _title(words: str) -> str:
    found = re.search(r"shop-\w+ #\d+", words)
    return found[0] if found else words
