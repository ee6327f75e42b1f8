"""A database that is busy with others, goes away in the middle of a commit, or tells another time."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from time import monotonic
from typing import Any

import pytest
from sqlalchemy import URL, Engine, NullPool, create_engine, event, text
from sqlalchemy.engine import make_url

from bot.domain.builds import BuildStatus
from bot.errors import StorageUnavailable
from bot.services.dispatcher import carry_out
from bot.services.ingest import Outcome
from bot.storage.clock import DatabaseClock
from bot.storage.groups import LONGEST_WAIT_S, WRITE_DEADLINE_S
from bot.storage.link import measure
from bot.storage.postgres import open_postgres
from bot.storage.schema import upgrade
from bot.storage.set_back import SetBack
from bot.system import SystemClock
from tests.faults.proxy import FaultProxy, Kind, fault
from tests.faults.scene import Faulty
from tests.postgres_server import Cluster
from tests.scenarios.running import CI, DEV_GROUP, fresh
from tests.services.world import World
from tests.stores import SqlStore, event_of, make_store
from tests.waiting import wait_until

SENDERS = 12
BUSY_MS = 1000
SUCCESS = BuildStatus.SUCCESS
FAKE_CLOCK = """
CREATE FUNCTION fake.clock_timestamp() RETURNS timestamptz LANGUAGE sql VOLATILE AS
'SELECT pg_catalog.clock_timestamp() + ahead_s * interval ''1 s'' FROM fake.clock'
"""


TO_ITSELF = {"sqlite": "BEGIN EXCLUSIVE", "postgresql": "BEGIN; LOCK TABLE events IN ACCESS EXCLUSIVE MODE"}


@contextmanager
def another_program(address: str | URL) -> Iterator[Callable[[], None]]:
    """Somebody who has the events to himself, such as a tool that copies or repairs; calling it ends that."""
    engine = create_engine(address, poolclass=NullPool, isolation_level="AUTOCOMMIT")
    with engine.connect() as other:
        is_over = threading.Lock()

        def leave() -> None:
            if is_over.acquire(blocking=False):
                other.exec_driver_sql("ROLLBACK")

        other.exec_driver_sql(TO_ITSELF[engine.dialect.name])
        yield leave
        leave()


def test_a_short_lock_of_another_program_is_waited_for(faulty: Faulty) -> None:
    """Who tells of a build meanwhile is answered a moment later, and everything is shown."""
    scene, project = faulty.scene, fresh("web")
    with another_program(scene.bot.database) as leave:
        release = threading.Timer(LONGEST_WAIT_S / 4, leave)  # which may ring late, and no sender waits for longer
        release.start()
        assert scene.tell(project, 1, "started").status_code == 202
        release.join()
    for channel in (CI, DEV_GROUP):
        scene.card(channel, f"{project} #1")


def test_a_long_lock_keeps_nobody_waiting(store: SqlStore, database: Engine) -> None:
    """All who wait are told within eight seconds that nothing was stored, not one after the other; then all goes on."""
    if database.name == "sqlite":
        event.listen(database, "checkout", lambda driver, *_: driver.execute(f"PRAGMA busy_timeout={BUSY_MS}"))
    world, refused = World(store, database), []

    def tell(number: int) -> None:
        begun_at = monotonic()
        try:
            world.accept(event_of(number))
        except StorageUnavailable:
            refused.append(monotonic() - begun_at)

    with another_program(database.url):
        tellers = [threading.Thread(target=tell, args=(number,)) for number in range(SENDERS)]
        for teller in tellers:
            teller.start()
        for teller in tellers:
            teller.join(60)
    assert len(refused) == SENDERS
    assert max(refused) <= WRITE_DEADLINE_S  # each waits for the lock as long as the others together
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
