"""A schema that a newer version has added to: processes of this version go on working with it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine, text

from bot.domain.builds import BuildStatus
from bot.errors import ConfigError
from bot.services.retention import Limits, Pruner
from bot.services.signal import Signal
from bot.services.upkeep import Upkeep
from bot.storage.opening import obstacle
from bot.storage.postgres import open_postgres
from bot.storage.schema import upgrade, version_of
from bot.storage.store import open_sqlite
from bot.storage.tables import metadata
from tests.services.world import World
from tests.stores import ENGINES, event_of, make_store


@pytest.fixture(params=ENGINES)
def own_database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Engine]:
    """Each engine in turn, over a database that the test may change as it likes."""
    if request.param == "postgres":
        engine = open_postgres(request.getfixturevalue("empty_postgres_url"))
    else:
        engine = open_sqlite(f"sqlite:///{tmp_path / 'own.db'}")
    upgrade(engine)
    yield engine
    engine.dispose()


def expand(database: Engine) -> None:
    """What the next version may do: columns that may be empty or have a default, a table, an index."""
    with database.begin() as connection:
        for name in metadata.tables:
            connection.execute(text(f"ALTER TABLE {name} ADD COLUMN added_later TEXT"))
            connection.execute(text(f"ALTER TABLE {name} ADD COLUMN counted_later INTEGER NOT NULL DEFAULT 0"))
        connection.execute(text("CREATE TABLE later (id INTEGER PRIMARY KEY)"))
        connection.execute(text("CREATE INDEX cards_later ON cards (counted_later)"))
        connection.execute(text("UPDATE alembic_version SET version_num = '9998'"))


@pytest.mark.parametrize("is_running", [True, False], ids=["running", "started"])
def test_a_process_goes_on_over_a_schema_that_was_added_to(own_database: Engine, is_running: bool) -> None:
    """One that ran before, and one that starts afterwards: events, cards, commands, the trail, what is old."""
    if not is_running:
        expand(own_database)
        assert obstacle(own_database) is None
        assert upgrade(own_database) is False
    store = make_store(own_database)
    world = World(store, own_database)
    key = world.builds.start()
    world.accept(world.builds.fetch(key, with_log=False))
    world.deliver(5)
    if is_running:
        expand(own_database)
    world.builds.finish(key)
    world.accept(world.builds.fetch(key, with_log=False), event_of(13, BuildStatus.SUCCESS, at=9))
    world.deliver(60)
    assert "failed" in world.messenger.standing("slack:T/ci")[0]
    world.ask("retry user-service#1")
    world.work(10)
    assert world.said == ["Started build user-service#2"]
    world.deliver(60)
    assert obstacle(own_database) is None
    assert Upkeep(store, world.clock, Signal()).seal_audit() > 0
    world.clock.advance(400 * 86400)
    limits = Limits(*[86400.0] * 6)
    assert set(Pruner(store, world.clock, limits, pause_s=0).prune()) == {"subjects", "events", "attempts", "commands"}
    store.close()
    assert version_of(own_database) == "9998"


def test_a_version_that_takes_away_names_who_can_do_without(own_database: Engine) -> None:
    """Older code then says that it cannot work, instead of failing somewhere."""
    expand(own_database)
    with own_database.begin() as connection:
        connection.execute(text("INSERT INTO schema_support (oldest) VALUES ('0001'), ('9000')"))
    assert obstacle(own_database) == "the database was written by a newer version: run that one"
    with pytest.raises(ConfigError, match="newer version"):
        upgrade(own_database)
