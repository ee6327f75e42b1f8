"""Nothing that is said to the database in a build's whole life looks at more rows the longer the history is."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, event, text

from bot.domain.audit import AuditEntry
from bot.domain.builds import BuildStatus
from bot.domain.deployments import ACTIVE, WAITING
from bot.domain.noise import Threshold
from bot.domain.places import DestinationSettings
from bot.domain.routing import Match, Route
from bot.errors import Rejected, Unavailable
from bot.ports import Transaction
from bot.ports.retention import START
from bot.ports.tracking import ORIGIN
from bot.services import budgeting
from bot.services.retention import Limits, Pruner
from bot.services.signal import Signal
from bot.services.upkeep import Upkeep
from bot.storage.store import SqliteStore
from bot.storage.tables import deployments, subjects
from tests.services.world import CI, World
from tests.stores import SqlStore, event_of, key_of, make_store

DAY = 86400.0
FAILED, RUNNING, SUCCESS = BuildStatus.FAILED, BuildStatus.RUNNING, BuildStatus.SUCCESS
ROUTES = (Route("routes[0]", Match(), ("ci",), group=Threshold(3, 60.0), flapping=Threshold(2, 3600.0)),)
PLACES = {"ci": DestinationSettings("ci", "slack:#ci"), "ops": DestinationSettings("ops", "slack:#ops")}
# Indexes that hold what is still to be done, or a row for each cause, and those that are read up to a limit.
FEW = {
    "audit_unsealed",
    "cards_dead",
    "cards_dirty",
    "cards_folded",
    "cards_notices",
    "commands_open",
    "deployments_active",
    "deployments_due",
    "jobs_due",
    "subjects_open",
    "subjects_recent",
    "tracker_tasks_open",
}
A_PLACES_HISTORY = "cards_destination"
LAST_SEALED = "SEARCH audit"  # from the newest entry backwards
GROWING = {"attempts", "audit", "cards", "commands", "deployments", "events", "jobs", "subjects", "tracker_tasks"}

Said = dict[str, Any]


@contextmanager
def listening(database: Engine) -> Iterator[Said]:
    """Every statement that is run meanwhile, with the values of one time."""
    said: Said = {}

    @event.listens_for(database, "before_cursor_execute")
    def note(_c: object, _cur: object, statement: str, parameters: Any, _ctx: object, many: bool) -> None:
        if statement.lstrip().startswith(("SELECT", "UPDATE", "INSERT", "DELETE", "WITH")):
            said.setdefault(statement, parameters[0] if many else parameters)

    yield said
    event.remove(database, "before_cursor_execute", note)


def sqlite_scans(connection: Connection, statement: str, values: Any) -> list[str]:
    """The steps of a plan that go through all rows of a table that grows."""
    plan = [row[3] for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", values)]
    names = {alias: table for table, alias in re.findall(r"(?:FROM|JOIN|,) (\w+) AS (\w+)", statement)}
    found = []
    for step in plan:
        # "SEARCH jobs" alone looks for the least value of all
        scan = re.match(r"(?:SCAN (\w+)(?: USING (?:COVERING )?INDEX (\w+))?|SEARCH (\w+)$)", step)
        name = (scan[1] or scan[3]) if scan else ""
        is_whole = names.get(name, name) in GROWING and scan is not None and scan[2] not in FEW and step != LAST_SEALED
        found += [step] if is_whole or A_PLACES_HISTORY in step else []
    return found


def postgres_scans(connection: Connection, statement: str, values: Any) -> list[str]:
    """The same; the server is told that reading all rows is dear, or it would do so while there are few."""
    (plans,) = connection.exec_driver_sql(f"EXPLAIN (FORMAT JSON) {statement}", values).one()
    found, steps = [], [plans[0]["Plan"]]
    while steps:
        step = steps.pop()
        steps += step.get("Plans", ())
        is_whole = step["Node Type"] == "Seq Scan" or (
            step["Node Type"].startswith("Index") and "Index Cond" not in step and step.get("Index Name") not in FEW
        )
        if is_whole and step.get("Relation Name") in GROWING:
            found.append(json.dumps({key: step[key] for key in ("Node Type", "Relation Name")}))
    return found


def live(world: World) -> None:
    """Builds that fail, are retried, storm and die; people who ask; the clock."""
    upkeep = Upkeep(world.store, world.clock, Signal())
    key = world.builds.start()
    world.builds.finish(key, FAILED)
    world.accept(world.builds.fetch(key, with_log=False))
    for line in (
        "retry user-service#1",
        "status",
        "show user-service#1",
        "explain user-service#1",
        "mute user-service",
    ):
        world.ask(line)
    world.work(30)
    world.enrich(30)
    for number in range(10, 18):
        world.accept(event_of(number, RUNNING, at=number))
        world.accept(event_of(number, (SUCCESS, FAILED)[number % 2], at=number + 60.0, started=number))
    world.messenger.fail(CI, *[Unavailable("slack", "no_answer")] * 8)
    world.deliver(300)
    world.messenger.fail(CI, *[Rejected("slack", "invalid_blocks")] * 2)
    world.accept(event_of(30, RUNNING, at=400))
    world.accept(event_of(30, SUCCESS, at=430, started=400))
    world.clock.advance(60)
    upkeep.tell_overdue()
    world.deliver(300)
    world.store.write(lambda tx: tx.deliveries.hurry("slack:T", world.clock.now().timestamp()))
    world.store.write(lambda tx: tx.audit.append(AuditEntry(0.0, "slack:U1", "retry", "a#1", "done")))
    upkeep.seal_audit()
    budgeting.reports(world.store, world.clock.now().timestamp())
    world.clock.advance(400 * DAY)
    Pruner(world.store, world.clock, Limits(*[30 * DAY] * 6), pause_s=0).prune()


def test_no_statement_goes_through_all_rows(store: SqlStore, database: Engine) -> None:
    """Every statement of the services finds its rows along an index, on both engines."""
    world = World(store, database, routes=ROUTES, destinations=PLACES, admin="ops", readable=frozenset({"buildbot"}))
    with listening(database) as said:
        live(world)
    is_postgres = database.dialect.name == "postgresql"
    scans = {}
    with database.connect() as connection:
        if is_postgres:
            for way in ("seqscan", "hashjoin", "mergejoin"):
                connection.execute(text(f"SET enable_{way} = off"))
        for statement, values in said.items():
            look = postgres_scans if is_postgres else sqlite_scans
            if found := look(connection, statement, values):
                scans[statement] = found
    assert len(said) >= 60
    assert scans == {}


def test_looking_for_work_passes_by_where_nothing_is_wanted(
    store: SqlStore, database: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is looked for many times a second, and each place that was ever answered in is known for good."""
    monkeypatch.setitem(globals(), "GROWING", GROWING | {"destinations"})
    with listening(database) as said:
        assert store.read(lambda tx: tx.deliveries.next_ready_at()) is None
    ((statement, values),) = said.items()
    with database.connect() as connection:
        if database.dialect.name == "postgresql":
            for way in ("seqscan", "hashjoin", "mergejoin"):
                connection.execute(text(f"SET enable_{way} = off"))
        look = postgres_scans if database.dialect.name == "postgresql" else sqlite_scans
        assert look(connection, statement, values) == []


def test_what_goes_on_is_found_without_its_line_s_history(store: SqlStore, database: Engine) -> None:
    """Deployments are kept for good, and each step of one looks for what is under way beside it, and what waits."""
    ended = [
        {"dedup_key": f"{number}", "service": "shop", "environment": "live", "state": "succeeded", "is_active": False}
        | {"requested_at": 1.0, "ended_at": 2.0 + number, "snapshot": {}}
        for number in range(300)
    ]
    with database.begin() as connection:
        connection.execute(deployments.insert(), ended)

    def look(tx: Transaction) -> None:
        assert tx.deployments.newest("shop", "live", ACTIVE, 1) == []
        assert tx.deployments.newest("shop", "live", WAITING, 100) == []
        tx.deployments.wake("shop", "live", 1.0)

    with listening(database) as said:
        store.write(look)
    assert len(said) == 3
    with database.connect() as connection:
        if database.dialect.name == "postgresql":
            connection.execute(text("ANALYZE deployments"))
        asked = "EXPLAIN" if database.dialect.name == "postgresql" else "EXPLAIN QUERY PLAN"
        for statement, values in said.items():
            plan = str(connection.exec_driver_sql(f"{asked} {statement}", values).all())
            assert "deployments_ended" in plan, plan


def test_a_service_s_newest_deployments_are_chosen_without_the_snapshots_of_all(
    sqlite_store: SqliteStore, sqlite_database: Engine
) -> None:
    """No index has those of all its environments in their order: what is sorted are numbers."""
    with listening(sqlite_database) as said:
        sqlite_store.read(lambda tx: tx.deployments.newest("shop", None, None, 10))
    ((statement, values),) = said.items()
    with sqlite_database.connect() as connection:
        plan = [row[3] for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", values)]
    assert "SEARCH deployments USING COVERING INDEX deployments_line (service=?)" in plan
    assert "SEARCH deployments USING INTEGER PRIMARY KEY (rowid=?)" in plan


def test_letting_go_passes_by_what_trackers_told_and_is_kept(store: SqlStore, database: Engine) -> None:
    """Released versions, and what started deployments, are kept for good: a sweep looks at none of them."""

    def tell(tx: Transaction) -> None:
        for number in range(300):
            tx.tracker_tasks.add("*", f"origin:{number}", ORIGIN, {}, due_at=None, at=float(number))

    store.write(tell)
    with listening(database) as said:
        store.write(lambda tx: tx.retention.tracker_tasks(1000.0, START, 10))
    ((statement, values),) = said.items()
    with database.connect() as connection:
        if database.dialect.name == "postgresql":
            connection.execute(text("ANALYZE tracker_tasks"))
        asked = "EXPLAIN" if database.dialect.name == "postgresql" else "EXPLAIN QUERY PLAN"
        plan = str(connection.exec_driver_sql(f"{asked} {statement}", values).all())
    assert "tracker_tasks_old" in plan


def test_neighbours_are_looked_up_without_their_line_s_history(
    sqlite_store: SqliteStore, sqlite_database: Engine
) -> None:
    """SQLite keeps no figures of its tables here: of two conditions on the time it must not take the wider one."""
    world = World(sqlite_store, sqlite_database)
    with listening(sqlite_database) as said:
        for number in range(1, 4):
            world.accept(event_of(number, SUCCESS, at=10.0 * number, started=10.0 * number - 5))
    asked = {statement: values for statement, values in said.items() if " AS nearest" in statement}
    assert asked
    with sqlite_database.connect() as connection:
        for statement, values in asked.items():
            plan = [row[3] for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", values)]
            found = [step for step in plan if step.startswith("SEARCH runs")]
            assert len(found) == 2
            assert all(step.endswith("ordered_at=?)") for step in found), found


def runs_of_many(database: Engine) -> None:
    """Three thousand builds of thirty projects, one a second, that the server has counted."""
    runs = [
        {"key": f"build:ci/{number % 30}#{number}", "kind": "build", "source": "ci", "project": str(number % 30)}
        | {"number": str(number), "branch": "main", "status": "success", "is_finished": True, "is_fixed": False}
        | {"ordered_at": float(number), "revision": 1, "folded": {}, "updated_at": float(number)}
        for number in range(3000)
    ]
    with database.begin() as connection:
        connection.execute(subjects.insert(), runs)
        connection.execute(text("ANALYZE subjects"))


def test_what_a_line_ran_of_late_is_found_without_what_others_ran(store: SqlStore, database: Engine) -> None:
    """However much came since the server counted: it knows of nothing so new, and takes all that for a row."""
    runs_of_many(database)
    with listening(database) as said:
        assert store.read(lambda tx: tx.noise.runs(key_of(), "main", 3600.0)) == []
    ((statement, values),) = said.items()
    with database.connect() as connection:
        asked = "EXPLAIN" if database.dialect.name == "postgresql" else "EXPLAIN QUERY PLAN"
        plan = str(connection.exec_driver_sql(f"{asked} {statement}", values).all())
    assert "subjects_line" in plan, plan
    # As SQLite writes it, and PostgreSQL in its versions.
    assert re.search(r"ordered_at>\?|ordered_at > (?:\$|\(InitPlan|expr)", plan), plan


@pytest.mark.postgres
def test_what_is_asked_for_each_event_is_planned_once(postgres_database: Engine) -> None:
    """The driver forgets after a rollback what it has prepared, and the server plans anew what depends on values."""
    world = World(make_store(postgres_database), postgres_database, routes=ROUTES, destinations=PLACES)
    for number in range(40):
        world.accept(event_of(number, SUCCESS, at=10.0 * number, started=10.0 * number - 5))
        world.work(1)
        world.store.read(lambda tx: tx.deliveries.next_ready_at())
    with postgres_database.connect() as connection:
        asked = "SELECT statement, custom_plans FROM pg_prepared_statements WHERE generic_plans + custom_plans > 20"
        planned = {row.statement: row.custom_plans for row in connection.execute(text(asked))}
    assert len(planned) >= 15
    # One that takes any of a list is planned for its length. The others' plans are compared at five runs.
    assert {statement: anew for statement, anew in planned.items() if anew > 5 and "= ANY" not in statement} == {}


@pytest.mark.postgres
def test_no_query_starts_other_processes(postgres_database: Engine) -> None:
    """A planner that expects many rows where there are few starts two of them, which takes ten times the query."""
    runs_of_many(postgres_database)
    with postgres_database.connect() as connection:
        for cost in ("parallel_setup_cost", "parallel_tuple_cost", "min_parallel_table_scan_size"):
            connection.exec_driver_sql(f"SET {cost} = 0")
        plan = str(connection.exec_driver_sql("EXPLAIN SELECT count(*) FROM subjects WHERE is_finished").all())
    assert "Scan" in plan
    assert "Gather" not in plan
