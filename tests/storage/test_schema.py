"""The schema: migrations, one upgrade at a time, and the indexes that the hot queries use."""

from __future__ import annotations

import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, event, inspect, text

from bot.domain.commands import Actor, Command, ReplyTo
from bot.domain.places import Place
from bot.ports import Arrival, Slot, SubjectRecord, Transaction
from bot.ports.retention import START, SubjectAge
from bot.storage import schema
from bot.storage.postgres import open_postgres
from bot.storage.schema import HEAD, upgrade, version_of
from bot.storage.store import SqliteStore, open_sqlite
from bot.storage.tables import metadata
from tests.stores import ENGINES, NOW, event_of, key_of


def test_migrations_make_the_tables(database: Engine) -> None:
    """What the migrations made differs in nothing from what the code believes the tables are."""
    with database.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, metadata) == []


def test_partial_indexes_and_id_rules_are_in_the_migrations(sqlite_database: Engine, tmp_path: Path) -> None:
    """What Alembic does not compare is the same too: the SQL of every table and index, made both ways."""
    with sqlite_database.connect() as migrated:
        made = _schema_sql(migrated)
    other = open_sqlite(f"sqlite:///{tmp_path / 'made.db'}")
    with other.connect() as connection:
        metadata.create_all(connection)
        wanted = _schema_sql(connection)
    other.dispose()
    assert {name: sql for name, sql in made.items() if name != "alembic_version"} == wanted


@pytest.mark.postgres
def test_indexes_and_constraints_of_postgres_are_in_the_migrations(
    postgres_database: Engine, empty_postgres_url: str
) -> None:
    """The same for PostgreSQL, in the words in which its server describes columns, indexes and constraints."""
    other = open_postgres(empty_postgres_url)
    with other.begin() as connection:
        metadata.create_all(connection)
        wanted = _described(connection)
    other.dispose()
    with postgres_database.connect() as migrated:
        made = _described(migrated)
    assert [line for line in made if "alembic_version" not in line] == wanted


def _described(connection: Connection) -> list[str]:
    found = [*connection.scalars(text("SELECT indexdef FROM pg_indexes WHERE schemaname = 'public'"))]
    constraints = "SELECT conrelid::regclass || ' ' || pg_get_constraintdef(oid) FROM pg_constraint WHERE conrelid > 0"
    found += connection.scalars(text(f"{constraints} AND connamespace = 'public'::regnamespace"))
    columns = "SELECT concat_ws(' ', table_name, column_name, data_type, character_maximum_length, is_nullable"
    found += connection.scalars(
        text(f"{columns}, column_default) FROM information_schema.columns WHERE table_schema = 'public'")
    )
    return sorted(found)


def _schema_sql(connection: object) -> dict[str, set[str]]:
    rows = connection.execute(  # type: ignore[attr-defined] # an SQLAlchemy connection
        text("SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL AND name NOT LIKE 'sqlite_%'")
    )
    return {name: {part.strip(" \t\n()").lower() for part in sql.replace(" \n", "\n").split(",")} for name, sql in rows}


def test_the_head_is_the_newest_migration() -> None:
    """The cheap look at start-up compares with the migration that Alembic calls the head."""
    assert ScriptDirectory(str(Path(schema.__file__).parent / "migrations")).get_current_head() == HEAD


def test_a_second_upgrade_changes_nothing(database: Engine) -> None:
    """An up-to-date database is left alone, and says its version."""
    assert version_of(database) == HEAD
    assert upgrade(database) is False


@pytest.fixture(params=ENGINES)
def empty(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The address of a database without tables, of each engine in turn."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'new.db'}"
    url: str = request.getfixturevalue("empty_postgres_url")
    return url


def opened(url: str) -> Engine:
    """An engine of the kind that the address asks for."""
    return open_sqlite(url) if url.startswith("sqlite") else open_postgres(url)


def test_two_threads_upgrade_one_database_once(empty: str) -> None:
    """Whoever comes second waits for the lock and finds the tables made."""
    engines = [opened(empty) for _ in range(4)]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(upgrade, engines))
    assert version_of(engines[0]) == HEAD
    assert inspect(engines[0]).has_table("cards")
    for engine in engines:
        engine.dispose()


def test_two_processes_upgrade_one_database_once(empty: str) -> None:
    """The lock is the database's own, so that processes wait for each other too."""
    module, name = ("store", "open_sqlite") if empty.startswith("sqlite") else ("postgres", "open_postgres")
    code = (
        f"import sys; from bot.storage.schema import upgrade; from bot.storage.{module} import {name}; "
        f"upgrade({name}(sys.argv[1]))"
    )
    runs = [subprocess.Popen([sys.executable, "-c", code, empty], stderr=subprocess.PIPE) for _ in range(2)]
    errors = [run.communicate(timeout=30)[1].decode() for run in runs]
    assert [run.returncode for run in runs] == [0, 0], errors
    engine = opened(empty)
    assert version_of(engine) == HEAD
    engine.dispose()


def _opened(tx: Transaction) -> None:
    slots = [Slot("slack:T/C", "card", {})]
    tx.cards.open("build:buildbot/user-service#12", 1, slots, is_final=False, at=NOW)


HOT = {
    "due cards": lambda tx: tx.deliveries.due_cards("slack:T/C", NOW, 20),
    "leases": lambda tx: tx.deliveries.lease(NOW, NOW + 30, 4),
    "when deliveries are due": lambda tx: tx.deliveries.next_ready_at(),
    "cards of a subject": lambda tx: tx.cards.of_subject("build:buildbot/user-service#12"),
    "wanting a revision": lambda tx: tx.cards.want("build:buildbot/user-service#12", 2, is_final=False, at=NOW),
    "one subject": lambda tx: tx.subjects.get(key_of()),
    "the runs before and after": lambda tx: tx.subjects.neighbours(_record()),
    "what many events need": lambda tx: tx.expect([Arrival([event_of(12), event_of(13)], NOW)]),
    "builds of a project": lambda tx: tx.subjects.newest("user-service", 8),
    "newest builds": lambda tx: tx.subjects.newest(None, 8),
    "a build by number": lambda tx: tx.subjects.find("user-service", "12"),
    "events of a subject": lambda tx: tx.events.of_subject("build:buildbot/user-service#12", 10),
    "when jobs are due": lambda tx: tx.jobs.next_due_at(),
    "overdue ends": lambda tx: tx.cards.overdue_finals(NOW, 10),
    "cards after a silence": lambda tx: tx.deliveries.hurry("slack:T", NOW),
    "runs of a line": lambda tx: tx.noise.runs(key_of(), "main", NOW),
    "open commands": lambda tx: tx.commands.lease(NOW, NOW + 30, 4),
    "when commands are due": lambda tx: tx.commands.next_due_at(),
    "due jobs": lambda tx: tx.jobs.lease(NOW, NOW + 30, 4),
    "a new command": lambda tx: tx.commands.add(
        Command("c", "d", Actor("slack:U", "u"), "help", ReplyTo("slack", "p"))
    ),
    "unsealed audit": lambda tx: tx.audit.seal(10),
    "a place's name": lambda tx: tx.places.adopt("slack:#ci", Place("slack:T/C", "#ci")),
    "due tracker tasks": lambda tx: tx.tracker_tasks.lease(NOW, NOW + 30, 4),
    "when tracker tasks are due": lambda tx: tx.tracker_tasks.next_due_at(),
    "a tracker task by its key": lambda tx: tx.tracker_tasks.get("jira", "changelog:1"),
    "a new tracker task": lambda tx: tx.tracker_tasks.add("jira", "changelog:1", "k", {}, due_at=NOW, at=NOW),
    "old tracker tasks": lambda tx: tx.retention.tracker_tasks(NOW, START, 10),
    "old events": lambda tx: tx.retention.events(NOW, START, 10),
    "old attempts": lambda tx: tx.retention.attempts(NOW, START, 10),
    "old commands": lambda tx: tx.retention.commands(NOW, START, 10),
    "old notices": lambda tx: tx.retention.notices(NOW, START, 10),
    "silent builds": lambda tx: tx.subjects.silent(NOW, 100),
    "a sign of life": lambda tx: tx.subjects.heard(key_of(), NOW),
    "old subjects": lambda tx: tx.retention.subjects(SubjectAge(NOW, NOW, NOW), START, 10),
}
FINE = (
    "SCAN destinations",  # as many as are configured
    "SCAN destinations USING COVERING INDEX sqlite_autoindex_destinations_1",
    "SCAN cards USING INDEX cards_dirty",  # holds what is not shown yet
    "SCAN jobs USING INDEX jobs_due",  # stops at the limit
    "SCAN subjects USING INDEX subjects_recent",  # stops at the limit
    "SCAN commands USING INDEX commands_open",  # holds the open ones only
    "SCAN tracker_tasks USING INDEX tracker_tasks_open",  # holds the open ones only
    "SCAN audit USING INDEX audit_unsealed",  # holds the unsealed ones only
    "SCAN asked",  # what is asked about
    "SCAN wanted",  # what an index has found before
    "SCAN CONSTANT ROW",
    "SCAN (subquery-1)",  # what an index has found before
)
GIVEN = re.compile(r"SCAN (\d+ CONSTANT ROWS|\w+ VIRTUAL TABLE INDEX 1:)")  # rows and lists among the parameters


def _record() -> SubjectRecord:
    from bot.domain.folding import fold

    return SubjectRecord(key_of(), fold(None, event_of()), 1)


@pytest.mark.parametrize("name", HOT)
def test_hot_queries_scan_no_large_table(name: str, sqlite_store: SqliteStore, sqlite_database: Engine) -> None:
    """What runs at every event or claim finds its rows through an index, however many there are.

    So says SQLite's planner before there are any; PostgreSQL's is asked in test_plans, where there are.
    """
    sqlite_store.write(_opened)
    said: list[tuple[str, object]] = []

    @event.listens_for(sqlite_database, "before_cursor_execute")
    def note(_c: object, _cur: object, statement: str, parameters: object, _ctx: object, _many: bool) -> None:
        said.append((statement, parameters[0] if isinstance(parameters, list) else parameters))

    sqlite_store.write(HOT[name])
    event.remove(sqlite_database, "before_cursor_execute", note)
    plans = []
    with sqlite_database.connect() as connection:
        for statement, parameters in said:
            if statement.startswith(("WITH", "SELECT", "UPDATE", "INSERT", "DELETE")):
                rows = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters)
                plans += [row[3] for row in rows]
    assert said
    assert [plan for plan in plans if plan.startswith("SCAN") and not (plan in FINE or GIVEN.match(plan))] == [], plans
