"""A database that is busy with others, goes away in the middle of a commit, or tells another time."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import Engine, event, text
from sqlalchemy.engine import make_url

from bot.domain.builds import BuildStatus
from bot.errors import StorageUnavailable
from bot.services.dispatcher import carry_out
from bot.services.ingest import Outcome
from bot.storage.clock import DatabaseClock
from bot.storage.link import measure
from bot.storage.postgres import open_postgres
from bot.storage.schema import upgrade
from bot.storage.set_back import SetBack
from bot.storage.store import SqliteStore
from bot.system import SystemClock
from tests.faults.proxy import FaultProxy, Kind, fault
from tests.faults.scene import Faulty
from tests.postgres_server import Cluster
from tests.scenarios.running import CI, DEV_GROUP, fresh
from tests.services.world import World
from tests.stores import event_of, make_store
from tests.waiting import wait_until

SENDERS = 12
BUSY_MS = 500
SUCCESS = BuildStatus.SUCCESS
FAKE_CLOCK = """
CREATE FUNCTION fake.clock_timestamp() RETURNS timestamptz LANGUAGE sql VOLATILE AS
'SELECT pg_catalog.clock_timestamp() + ahead_s * interval ''1 s'' FROM fake.clock'
"""


@contextmanager
def another_program(path: str) -> Iterator[sqlite3.Connection]:
    """Somebody who has the file to himself, such as a tool that copies or repairs it."""
    with closing(sqlite3.connect(path, isolation_level=None, check_same_thread=False)) as other:
        other.execute("BEGIN EXCLUSIVE")
        yield other
        if other.in_transaction:
            other.execute("ROLLBACK")


def test_a_short_lock_of_another_program_is_waited_for(faulty: Faulty) -> None:
    """Who tells of a build meanwhile is answered a moment later, and everything is shown."""
    scene, project = faulty.scene, fresh("web")
    with another_program(str(scene.bot.folder / "var" / "shipmate.db")) as other:
        release = threading.Timer(1.0, other.execute, ("ROLLBACK",))
        release.start()
        assert scene.tell(project, 1, "started").status_code == 202
        release.join()
    for channel in (CI, DEV_GROUP):
        scene.card(channel, f"{project} #1")


def test_a_long_lock_keeps_nobody_waiting(sqlite_store: SqliteStore, sqlite_database: Engine) -> None:
    """All who wait are told together that nothing was stored, not one after the other; then everything goes on."""
    event.listen(sqlite_database, "checkout", lambda driver, *_: driver.execute(f"PRAGMA busy_timeout={BUSY_MS}"))
    world, refused, begun = World(sqlite_store, sqlite_database), [], []
    event.listen(sqlite_database, "before_cursor_execute", lambda *said: begun.append(said[2] == "BEGIN IMMEDIATE"))

    def tell(number: int) -> None:
        try:
            world.accept(event_of(number))
        except StorageUnavailable:
            refused.append(number)

    with another_program(str(sqlite_database.url.database)):
        tellers = [threading.Thread(target=tell, args=(number,)) for number in range(SENDERS)]
        for teller in tellers:
            teller.start()
        for teller in tellers:
            teller.join(60)
    assert len(refused) == SENDERS
    assert sum(begun) < SENDERS  # each waits for the lock as long as the others together
    tell(1)
    world.deliver()
    assert world.operations() == ["post"]


@pytest.mark.postgres
def test_a_commit_whose_answer_is_lost_is_one_event(postgres: Cluster, postgres_url: str) -> None:
    """The connection is reset when the commit was sent: the sender is told to come again, and that is a duplicate."""
    with FaultProxy(is_http=False) as proxy:
        proxy.upstream = f"{postgres.folder}/.s.PGSQL.5432"
        database = make_url(postgres_url).database
        engine = open_postgres(f"postgresql+psycopg://shipmate@127.0.0.1:{proxy.port}/{database}")
        store = make_store(engine)
        world = World(store, engine)
        lost = fault(Kind.RESET_AFTER, "COMMIT", times=1)
        proxy.breaks(lost)
        with pytest.raises(StorageUnavailable):
            world.accept(event_of(12))
        assert lost.met == 1
        assert world.accept(event_of(12)) == [Outcome.DUPLICATE]
        world.deliver()
        store.close()
    assert world.operations() == ["post"]


@pytest.mark.postgres
def test_a_server_whose_time_jumps_is_followed(empty_postgres_url: str) -> None:
    """Every host hears of it at its next comparison, and what was planned by the former time is turned back."""
    engine = open_postgres(empty_postgres_url)
    upgrade(engine)
    _say(engine, "CREATE SCHEMA fake", "CREATE TABLE fake.clock AS SELECT 0.0::float8 AS ahead_s", FAKE_CLOCK)
    event.listen(engine, "connect", lambda driver, _: driver.execute("SET search_path = fake, pg_catalog, public"))
    engine.dispose()  # connections from now on see the other clock
    clock: Any = ServersClock(SystemClock())
    store = make_store(engine)
    world, looks = World(store, engine, clock=clock), SetBack(engine, clock)
    jumps = ((0.0, 0.0, event_of(12)), (3600.0, 0.0, event_of(13)), (0.0, 3600.0, event_of(12, SUCCESS, at=30)))
    for calls, (ahead_s, back_s, told) in enumerate(jumps, 1):
        _say(engine, f"UPDATE fake.clock SET ahead_s = {ahead_s}")
        measure(engine, clock)
        assert (clock.now() - datetime.now(UTC)).total_seconds() == pytest.approx(ahead_s, abs=60)
        assert looks.look() == pytest.approx(back_s, abs=60)
        world.accept(told)
        wait_until(lambda calls=calls: _carry_out(world) or len(world.messenger.calls) == calls)
    assert world.operations() == ["post", "post", "update"]
    store.close()


class ServersClock(DatabaseClock):
    """The server's time, told as the fakes want it."""

    @property
    def at(self) -> datetime:
        """The present instant."""
        return self.now()


def _carry_out(world: World) -> None:
    for work in world.deliverer.claim(4):
        carry_out(world.deliverer, work)


def _say(engine: Engine, *statements: str) -> None:
    with engine.begin() as connection:
        for statement in statements:
            connection.execute(text(statement))
