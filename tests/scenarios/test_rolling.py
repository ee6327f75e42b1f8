"""Every process is replaced, one after the other, while builds come in: nothing is lost and nothing doubled."""

from __future__ import annotations

import re
import shutil
import time
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import pytest
from sqlalchemy import func, select

from bot.storage import schema, tables
from bot.storage.postgres import open_postgres
from bot.storage.store import open_sqlite
from bot.storage.tables import metadata
from tests.crash.buildbot import PROJECT, LastingBuildbot
from tests.scenarios.around_fleet import PATIENCE_S, Driver, People, failed_builds, said_to_people
from tests.scenarios.fleet import Fleet
from tests.scenarios.running import CI, DEV_GROUP, Scene, fresh
from tests.scenarios.test_fleet import fleet_scene
from tests.stores import ENGINES

pytestmark = pytest.mark.slow
ROLES = ("web", "stream", "worker", "worker", "clock")
PER_SECOND = 50
FASTER = 1.1  # what waits for a door that is being replaced is made up for
PRESSES = 4  # of each person while one process is replaced
GENERIC = {"kind": "generic", "secrets": [{"file": "secrets/generic"}]}
BUILDBOT = {
    "kind": "buildbot",
    "webhook_token": {"file": "secrets/buildbot-token"},
    "projects": {PROJECT: {"builder": PROJECT}},
}


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
    """Fifty events a second and people at work while each process is replaced: one final card each, one answer each."""
    server = request.getfixturevalue("postgres") if engine == "postgres" else None
    with LastingBuildbot() as buildbot:
        sources = {"generic": GENERIC, "buildbot": {**BUILDBOT, "url": buildbot.url}}
        sections = {"routes": [{"to": ["ci", "dev-group"]}], "sources": sources}
        with fleet_scene(server, tmp_path, ROLES, sections, messages_kept=100_000) as scene:
            project = fresh("shop")
            people = People(scene, project, failed_builds(scene, buildbot, 2 * PRESSES * len(ROLES)))
            with Driver(scene, project, FASTER * PER_SECOND) as driver:
                scene.eventually(lambda: driver.answers[202] > PER_SECOND, "the first events", PATIENCE_S)
                _replace_all(scene, driver, people)
            assert driver.given_up == []
            assert set(driver.answers) <= {202, 200, 503, "refused"}
            assert scene.events(project) == 2 * driver.builds
            _assert_shown_once(scene, project, driver.builds)
            _assert_answered_once(scene, project, people)
            assert Counter(buildbot.rebuilt) == dict.fromkeys(people.pressed, 1)


def _replace_all(scene: Scene, driver: Driver, people: People) -> None:
    """Upgrade the schema and replace each process, while as many events are sent as are to be and people are busy."""
    fleet = scene.bot
    assert isinstance(fleet, Fleet)
    began, before = time.monotonic(), driver.offered
    is_file = fleet.database.startswith("sqlite")
    upgrade(f"sqlite:///{fleet.folder / 'var' / 'shipmate.db'}" if is_file else fleet.database)
    for role in ROLES:
        with people.busy(PRESSES):
            fleet.replace(role)
            seen = driver.answers[202]
            scene.eventually(lambda seen=seen: driver.answers[202] > seen + 20, "events go on", PATIENCE_S)
    scene.eventually(
        lambda: driver.offered - before >= PER_SECOND * (time.monotonic() - began), "fifty events a second", PATIENCE_S
    )
    assert people.unheard, "nobody pressed or typed anything at a moment without a stream"


def _assert_shown_once(scene: Scene, project: str, builds: int) -> None:
    """Each build has one card at each of its two places, which shows its end."""
    cards = tables.cards
    ended = select(func.count()).where(cards.c.subject_key.contains(f"/{project}#"), cards.c.shown_final)
    scene.eventually(lambda: scene.rows(ended)[0][0] >= 2 * builds, "all final states", 3 * PATIENCE_S)
    wanted = {f"{project} #{number}": 1 for number in range(1, builds + 1)}
    for channel in (CI, DEV_GROUP):
        texts = [one["text"] for one in scene.messages(channel)]
        assert _named(rf"{project} #\d+", texts) == wanted
        assert _named(rf"{project} #\d+", [text for text in texts if "✅" in text]) == wanted


def _assert_answered_once(scene: Scene, project: str, people: People) -> None:
    """What was typed or pressed is on the record, no more often than it was, and each command has one answer."""

    builds = rf"{project}#\d+"

    def recorded() -> tuple[Counter[str], Counter[str]]:
        """How many commands of each platform there are, and how many questions of each build."""
        rows = scene.rows(select(tables.commands.c.account, tables.commands.c.typed))
        platforms = Counter(row.account.partition(":")[0] for row in rows)
        return platforms, _named(builds, [row.typed for row in rows if row.typed.startswith("explain")])

    def answers_of_all() -> list[str] | None:
        """All answers, once there are as many of each platform and each build as were asked for."""
        answers = said_to_people(scene)
        platforms = Counter({platform: len(texts) for platform, texts in answers.items()})
        texts = [text for said in answers.values() for text in said]
        return texts if (platforms, _named(builds, [text for text in texts if "🔎" in text])) == recorded() else None

    answers = scene.eventually(answers_of_all, "each command to be answered once", PATIENCE_S)
    _, questions = recorded()
    assert questions.keys() == people.asked.keys()
    assert all(times <= people.asked[name] for name, times in questions.items())
    started = _named(rf"{PROJECT}#\d+", [text for text in answers or () if "🔁" in text])
    assert list(started.values()) == [1] * len(people.pressed)


def _named(pattern: str, texts: Iterable[str]) -> Counter[str]:
    """How many texts name each build first."""
    return Counter(found[0] for text in texts if (found := re.search(pattern, text)))
