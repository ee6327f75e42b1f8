"""Commands that die beside a running bot or without one: `backup`, and `db upgrade` at each of its changes."""

from __future__ import annotations

import shutil
import sqlite3
import tempfile
from collections.abc import Iterable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import (
    JSON,
    Boolean,
    Double,
    Engine,
    Integer,
    LargeBinary,
    MetaData,
    String,
    create_engine,
    func,
    select,
)

from bot.storage import schema
from bot.storage.postgres import open_postgres
from bot.storage.store import open_sqlite
from bot.storage.tables import metadata
from tests.crash.buildbot import PROJECT
from tests.crash.checker import Verdict
from tests.crash.life import Doom
from tests.crash.outside import Outside
from tests.crash.rounds import Setting, live_through
from tests.crash.stage import outside_of

MIGRATIONS = Path(schema.__file__).parent / "migrations"
MOST_CHANGES = 200
_VALUES: Sequence[tuple[type, Any]] = (
    (Boolean, False),
    (Integer, 1),
    (Double, 1.0),
    (JSON, {}),
    (LargeBinary, b"x"),
    (String, "x"),
)


def back_up_at(setting: Setting, name: str) -> Verdict:
    """What a backup leaves that died there beside a running bot: a whole copy or none, and room for the next one."""
    found: list[str] = []

    def load(outside: Outside) -> None:
        outside.fail(PROJECT)
        target = outside.life.folder / "copy.db"
        outside.life.shipmate("backup", str(target), points=name, marks="backup-marks")
        if not list((outside.life.folder / "backup-marks").glob("burnt-*")):
            found.append("never reached")
        if target.exists():
            found.extend(_copy_problems(target))
            target.rename(target.with_name("first.db"))
        outside.fail(PROJECT)
        outside.life.shipmate("backup", str(target))
        found.extend(_copy_problems(target))
        unfinished = list(outside.life.folder.glob("copy.db.*.unfinished"))
        if len(unfinished) > 1:
            found.append(f"left behind: {', '.join(path.name for path in unfinished)}")

    verdict = live_through(setting, Doom(), load)
    verdict.found += found
    verdict.counts["deaths"] += 1
    return verdict


def _copy_problems(copy: Path) -> list[str]:
    with closing(sqlite3.connect(f"file:{copy}?mode=ro", uri=True)) as connection:
        said = connection.execute("PRAGMA integrity_check").fetchone()[0]
        events = connection.execute("SELECT count(*) FROM events").fetchone()[0]
    return [] if said == "ok" and events else [f"{copy.name} is {said} and holds {events} events"]


# --- the schema


def starts() -> list[str]:
    """The versions to upgrade from: none, and all but the newest."""
    found = [script.revision for script in ScriptDirectory(str(MIGRATIONS)).walk_revisions()]
    return ["", *reversed(found[1:])]


def upgrade_from(setting: Setting, start: str, changes: Iterable[int] = range(1, MOST_CHANGES)) -> Verdict:
    """How a database fared whose upgrade died after its first change, its second one, and so on until none was left.

    `changes`: after which of them; in the end it is upgraded.
    """
    verdict = Verdict()
    with setting.fresh_database() as database, tempfile.TemporaryDirectory(prefix="crash-") as name:
        folder = Path(name)
        with outside_of(folder, setting.roles, Doom(), database=database) as outside:
            engine = _engine(folder, database)
            rows = _begin(engine, start)
            for change in changes:
                marks = folder / "upgrade-marks"
                shutil.rmtree(marks, ignore_errors=True)
                if outside.life.shipmate("db", "upgrade", points=f"operation-{change}", marks=marks.name) == 0:
                    break
                verdict.counts["deaths"] += 1
                verdict.counts["upgrades cut short"] += 1
                verdict.found += _problems(engine, start, rows, f"after change {change}")
            else:
                outside.life.shipmate("db", "upgrade")
            verdict.found += _problems(engine, schema.HEAD, rows, "in the end")
            engine.dispose()
    return verdict


def _engine(folder: Path, database: str) -> Engine:
    if database:
        return open_postgres(database)
    (folder / "var").mkdir(exist_ok=True)
    return open_sqlite(f"sqlite:///{folder}/var/shipmate.db")


def _begin(engine: Engine, start: str) -> dict[str, int]:
    """Bring an empty database to a version, with a row in each table; how many rows there are in each."""
    if not start:
        return {}
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    with engine.connect() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, start)
        tables = MetaData()
        tables.reflect(connection)
        for table in tables.sorted_tables:
            if table.name != "alembic_version":
                row = {column.name: _value(column.type) for column in table.columns if not column.nullable}
                connection.execute(table.insert(), row)
        connection.commit()
        return {name: 1 for name in tables.tables if name != "alembic_version"}


def _value(kind: object) -> object:
    return next(value for known, value in _VALUES if isinstance(kind, known))


def _problems(engine: Engine, version: str, rows: dict[str, int], when: str) -> list[str]:
    """What differs from a whole schema of a version that has lost no row."""
    looking = create_engine(engine.url)
    try:
        found = schema.version_of(looking)
        problems = [] if (found or "") == version else [f"{when} the schema is {found}, not {version or 'missing'}"]
        with looking.connect() as connection:
            tables = MetaData()
            tables.reflect(connection)
            counts = {name: connection.scalar(select(func.count()).select_from(tables.tables[name])) for name in rows}
            if counts != rows:
                problems.append(f"{when} there are {counts} rows")
            if not version and tables.tables:
                problems.append(f"{when} there are tables: {', '.join(tables.tables)}")
            if version == schema.HEAD:
                differences = compare_metadata(MigrationContext.configure(connection), metadata)
                problems += [f"{when}: {difference}" for difference in differences]
        return problems
    finally:
        looking.dispose()
