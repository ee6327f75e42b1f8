"""What joins processes over PostgreSQL: commits heard, one leader, one clock, and what happens when the server goes."""

from __future__ import annotations

import os
import resource
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from time import monotonic

import pytest
from sqlalchemy import Engine, make_url, text
from sqlalchemy.exc import OperationalError

from bot.errors import ConfigError, PayloadInvalid, StorageUnavailable
from bot.services.signal import Signal
from bot.storage import leader, link, postgres
from bot.storage.clock import DatabaseClock
from bot.storage.leader import Leader
from bot.storage.link import PostgresLink, tell_all
from bot.storage.postgres import PostgresStore, open_postgres
from bot.system import SystemClock
from tests.fakes import EPOCH, FakeClock
from tests.faults.proxy import FaultProxy
from tests.postgres_server import Cluster, cluster
from tests.stores import NOW, event_of, key_of, make_store

pytestmark = pytest.mark.postgres
PATIENCE_S = 30.0


def wait_until(wanted: Callable[[], object]) -> None:
    """Wait for a condition."""
    deadline = monotonic() + PATIENCE_S
    while not wanted():
        assert monotonic() < deadline, "waited in vain"
        threading.Event().wait(0.005)


def cut(server: Cluster, engine: Engine, which: str = "true") -> None:
    """End connections of the bot's to a database; others on the same server have theirs."""
    ours = f"application_name = 'shipmate' AND datname = '{engine.url.database}'"
    server.run(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {ours} AND {which}")


class Process:
    """What one process has: a signal whose rings others hear, and a count of what it heard."""

    def __init__(self, url: str) -> None:
        self.engine = open_postgres(url)
        self.signal = Signal()
        self.heard = 0
        self.link = PostgresLink(self.engine, self._hear, DatabaseClock(SystemClock()))
        self.signal.pass_on(self.link.ring)
        self.link.start()
        wait_until(lambda: self.heard)  # it looks once when it begins to listen

    def _hear(self) -> None:
        self.heard += 1
        self.signal.wake()

    def end(self) -> None:
        """Let go of everything."""
        self.link.stop()
        self.engine.dispose()


@pytest.fixture
def processes(postgres_url: str) -> Iterator[tuple[Process, Process]]:
    """Two processes of one database."""
    both = Process(postgres_url), Process(postgres_url)
    yield both
    for one in both:
        one.end()


def test_a_command_of_a_terminal_wakes_every_process(processes: tuple[Process, Process]) -> None:
    """It has no link of its own and tells all that have one."""
    one, other = processes
    terminal = open_postgres(one.engine.url.render_as_string(hide_password=False))
    tell_all(terminal)
    terminal.dispose()
    wait_until(lambda: (one.heard, other.heard) == (2, 2))


def test_a_ring_is_heard_by_the_others_and_not_by_oneself(processes: tuple[Process, Process]) -> None:
    """Work committed by one process wakes the other; whoever rang has been woken already."""
    one, other = processes
    one.signal.ring()
    wait_until(lambda: other.heard == 2)
    other.signal.ring()
    wait_until(lambda: one.heard == 2)
    assert other.heard == 2


def test_many_rings_are_few_notices(processes: tuple[Process, Process]) -> None:
    """A burst is told with a notice for what has gathered, and its last ring is told too."""
    one, other = processes
    for _ in range(500):
        one.signal.ring()
    wait_until(lambda: other.heard >= 2)
    settled = other.heard
    one.signal.ring()
    wait_until(lambda: other.heard > settled)
    assert other.heard < 100


def test_a_cut_connection_is_made_anew(processes: tuple[Process, Process], postgres: Cluster) -> None:
    """After the server ended all connections each process listens again, and looks for what it missed."""
    one, other = processes
    before = other.heard
    cut(postgres, one.engine, "query ~ '^(LISTEN|SELECT extract)'")  # it may have been heard of before it has measured
    wait_until(lambda: other.heard > before)
    one.signal.ring()
    again = other.heard
    wait_until(lambda: other.heard > again or one.signal.ring())


def test_a_process_with_many_files_open_hears_and_tells(postgres_url: str) -> None:
    """Descriptors beyond those that select() takes: a busy door has a thousand connections."""
    most, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(2048, hard), hard))
    with ExitStack() as many:
        files = [many.enter_context(Path(os.devnull).open("rb")) for _ in range(1100)]
        assert files[-1].fileno() > 1023
        one, other = Process(postgres_url), Process(postgres_url)
        one.signal.ring()
        wait_until(lambda: other.heard >= 2)
        assert one.link.trouble() is None
        one.end()
        other.end()
        assert one.link.trouble()
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))


def test_a_mistake_of_ours_does_not_end_the_listening(postgres_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever goes wrong, it begins to listen anew."""
    monkeypatch.setattr(link, "REST_S", 0.01)
    process = Process(postgres_url)
    fail = iter((True,))

    def heard() -> None:
        if next(fail, False):
            raise ValueError("ours")
        process.heard += 1

    monkeypatch.setattr(process.link, "_on_commit", heard)
    before = process.heard
    tell_all(process.engine)
    wait_until(lambda: process.heard > before)
    assert process.link.trouble() is None
    process.end()


def test_one_leads_and_another_takes_over(postgres_url: str) -> None:
    """Of several clocks one works; when its connection ends the next look of another one takes the lead."""
    engines = [open_postgres(postgres_url) for _ in range(3)]
    leaders = [Leader(engine) for engine in engines]
    assert [one.leads() for one in leaders] == [True, False, False]
    assert [one.leads() for one in leaders] == [True, False, False]
    leaders[0].stop()
    wait_until(leaders[1].leads)  # the server notices a moment later
    assert [one.leads() for one in leaders] == [False, True, False]
    with engines[2].connect() as connection:  # as if the process had died
        held = "locktype = 'advisory' AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
        connection.execute(text(f"SELECT pg_terminate_backend(pid) FROM pg_locks WHERE {held}"))
    wait_until(leaders[2].leads)
    assert leaders[1].leads() is False
    for one, engine in zip(leaders, engines, strict=True):
        one.stop()
        engine.dispose()


@pytest.fixture
def rivals(postgres_database: Engine, postgres_url: str) -> Iterator[tuple[Leader, Leader]]:
    """Two that would lead, each with connections of its own."""
    other_engine = open_postgres(postgres_url)
    both = Leader(postgres_database), Leader(other_engine)
    yield both
    for one in both:
        one.stop()
    other_engine.dispose()


def test_a_leader_that_stands_still_leads_no_more(
    rivals: tuple[Leader, Leader], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who has not looked for long loses the lead to whoever does, and knows it when it goes on."""
    still, other = rivals
    with monkeypatch.context() as patch:
        patch.setattr(leader, "IDLE_S", 0.2)
        assert still.leads()
    wait_until(other.leads)
    assert (still.leads(), other.leads()) == (False, True)


def test_a_lead_that_cannot_be_begun_is_free(rivals: tuple[Leader, Leader], monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that refuses what follows the lock: the connection that holds it ends, and somebody else leads."""
    failing, other = rivals
    with monkeypatch.context() as patch:
        patch.setattr(leader, "_END_WHEN_IDLE", text("SELECT 1 / 0, :limit"))
        assert failing.leads() is False
    wait_until(other.leads)


def test_every_sqlite_process_leads(sqlite_database: Engine) -> None:
    """There is nothing to choose between on one host: what is done by the clock may be done twice."""
    assert [Leader(sqlite_database).leads() for _ in range(2)] == [True, True]


def test_hosts_agree_on_the_time(postgres_database: Engine) -> None:
    """A host whose clock is hours off tells the database's time as soon as it has asked."""
    wrong = FakeClock()
    link = PostgresLink(postgres_database, lambda: None, DatabaseClock(wrong))
    assert link.clock.now() == EPOCH
    link.measure()
    assert abs(link.clock.now() - datetime.now(UTC)) < timedelta(seconds=1)
    told = link.clock.now()
    wrong.advance(3600)
    assert timedelta(0) <= link.clock.now() - told < timedelta(seconds=5)


def test_the_quickest_answer_is_believed() -> None:
    """An answer that was long on its way tells the time less exactly than one that came at once."""
    pauses = iter((0.8, 0.0, 0.6))
    clock = DatabaseClock(FakeClock())

    def ask() -> float:
        threading.Event().wait(next(pauses))
        return monotonic() + NOW

    clock.measure(ask)
    assert abs(clock.now().timestamp() - monotonic() - NOW) < 0.25


def test_a_missing_driver_is_said_with_its_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever configures PostgreSQL without its extra reads what to install."""

    def create_engine(*_: object, **__: object) -> None:
        raise ModuleNotFoundError("No module named 'psycopg'")

    monkeypatch.setattr(postgres, "create_engine", create_engine)
    with pytest.raises(ConfigError, match=r"pip install 'shipmate\[postgres\]'"):
        open_postgres("postgresql+psycopg://h/d")


def test_no_error_tells_the_password_or_a_row(postgres_url: str) -> None:
    """What is raised names neither the password of the address nor the values of a refused row."""
    engine = open_postgres("postgresql+psycopg://shipmate:very-secret@127.0.0.1:9/none")
    store = make_store(engine)
    with pytest.raises(StorageUnavailable) as caught:
        store.read(lambda tx: tx.subjects.newest(None, 1))
    assert "very-secret" not in f"{caught.value!r} {engine!r}"
    store.close()
    other = make_store(open_postgres(postgres_url))
    with pytest.raises(PayloadInvalid) as refused:
        other.write(lambda tx: tx.events.add(event_of(source="s" * 101, project="in confidence"), NOW))
    assert "in confidence" not in str(refused.value)
    assert refused.value.__suppress_context__
    other.close()


def test_a_cut_connection_loses_no_write(postgres_database: Engine, postgres: Cluster) -> None:
    """A pooled connection that was cut while idle is replaced by the next write, unnoticed."""
    store = make_store(postgres_database)
    assert store.write(lambda tx: tx.events.add(event_of(1), NOW)) is True
    cut(postgres, postgres_database)
    assert store.write(lambda tx: tx.events.add(event_of(2), NOW)) is True
    store.close()


def test_a_cut_connection_loses_no_question(postgres_database: Engine, postgres: Cluster) -> None:
    """Who asks over a pooled connection that the server has ended does not notice."""
    store = make_store(postgres_database)
    assert store.read(lambda tx: tx.subjects.get(key_of())) is None
    cut(postgres, postgres_database)
    assert store.read(lambda tx: tx.subjects.get(key_of())) is None
    store.close()


def test_connections_to_a_server_that_only_reads_are_not_kept(postgres_database: Engine) -> None:
    """A primary that became a standby in place: the write goes through over a new connection."""
    store = make_store(postgres_database)
    with postgres_database.connect() as connection:  # the one that is used next
        connection.exec_driver_sql("SET default_transaction_read_only = on")
        connection.commit()
    assert store.write(lambda tx: tx.events.add(event_of(), NOW)) is True
    store.close()


def test_no_connection_is_made_to_a_server_that_only_reads(empty_postgres_url: str, postgres: Cluster) -> None:
    """While an address leads to a standby nothing is written, and none of its connections is kept afterwards."""
    engine = open_postgres(empty_postgres_url)
    postgres.run(f"ALTER DATABASE {engine.url.database} SET default_transaction_read_only = on")
    with pytest.raises(OperationalError, match="read-only"):
        engine.connect()
    postgres.run(f"ALTER DATABASE {engine.url.database} RESET default_transaction_read_only")
    with engine.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE written ()")
    engine.dispose()


def test_a_server_that_vanishes_is_given_up_within_half_a_minute(postgres_url: str, postgres: Cluster) -> None:
    """What was sent and is not acknowledged ends the connection on both sides, long before the kernel would."""
    with FaultProxy(f"{postgres.folder}/.s.PGSQL.5432", is_http=False) as proxy:
        database = make_url(postgres_url).database
        engine = open_postgres(f"postgresql+psycopg://shipmate@127.0.0.1:{proxy.port}/{database}")
        with engine.connect() as connection:
            driver = connection.connection.driver_connection
            assert driver is not None
            with socket.socket(fileno=os.dup(driver.fileno())) as client:
                assert client.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 25_000
            # The server's side of it is a Unix socket here, which has no such limit.
            assert "tcp_user_timeout=25000" in driver.info.get_parameters()["options"]
        engine.dispose()


def test_a_server_that_crashes_keeps_what_was_answered() -> None:
    """While it is away every call says so; afterwards what `write` had returned is there, and work goes on."""
    with cluster("fsync=on", "synchronous_commit=on") as server:
        engine = open_postgres(server.url(server.fresh()))
        from bot.storage.schema import upgrade

        upgrade(engine)
        store = PostgresStore(engine, make_store(engine)._cipher)
        stored = [store.write(lambda tx, n=n: tx.events.add(event_of(n), NOW)) for n in range(20)]
        server.stop("immediate")
        with pytest.raises(StorageUnavailable):
            store.write(lambda tx: tx.events.add(event_of(99), NOW))
        with pytest.raises(StorageUnavailable):
            store.read(lambda tx: tx.subjects.get(key_of()))
        server.start()
        again = [store.write(lambda tx, n=n: tx.events.add(event_of(n), NOW)) for n in (*range(20), 99)]
        store.close()
    assert stored == [True] * 20
    assert again == [False] * 20 + [True]
