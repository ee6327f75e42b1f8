"""From `database_url` to the database: the address, the schema, and what is said when the server cannot be used."""

from __future__ import annotations

from pathlib import Path

import pytest

from bot import telemetry
from bot.checking import check_all
from bot.errors import ConfigError
from bot.settings import Settings, load
from bot.storage.opening import obstacle, open_database, place_of
from bot.storage.schema import HEAD, version_of
from bot.storage.store import open_sqlite

AWAY = "postgresql+psycopg://shipmate:pass-word-1@127.0.0.1:9/ship"


def _settings(folder: Path, url: str) -> Settings:
    path = folder / "shipmate.yaml"
    path.write_text("database_url: ${DATABASE_URL}\n", "utf-8")
    return load(path, {"DATABASE_URL": url})


@pytest.mark.parametrize("scheme", ["postgres", "postgresql", "postgresql+psycopg"])
def test_every_spelling_of_the_scheme_is_the_same_driver(tmp_path: Path, scheme: str) -> None:
    """What hosting providers put into DATABASE_URL is taken as it is."""
    settings = _settings(tmp_path, f"{scheme}://shipmate@db/ship")
    assert settings.database == "postgresql+psycopg://shipmate@db/ship"


def test_a_server_that_is_away_is_waited_for(tmp_path: Path) -> None:
    """A process may start before its database; it says what it waits for, without the password."""
    engine = open_database(_settings(tmp_path, AWAY), is_upgraded=False)
    words = obstacle(engine) or ""
    assert words.startswith("the database cannot be read: connection failed: ")
    assert "\n" not in words
    assert "pass-word-1" not in f"{words} {place_of(engine)}"
    assert telemetry.redact("an error of the driver with pass-word-1") == "an error of the driver with [redacted]"
    engine.dispose()


def test_an_upgrade_needs_the_server_now(tmp_path: Path) -> None:
    """Whoever changes the schema reads which server did not answer."""
    with pytest.raises(
        ConfigError, match=r"database_url: postgresql://shipmate:\*\*\*@127.0.0.1:9/ship cannot be used"
    ):
        open_database(_settings(tmp_path, AWAY), is_upgraded=True)


def test_what_is_no_address_is_said(tmp_path: Path) -> None:
    """A port that is none stops the start with the form to write."""
    with pytest.raises(ConfigError, match="is no address"):
        open_database(_settings(tmp_path, "postgresql://h:port/d"), is_upgraded=False)


@pytest.mark.postgres
def test_check_says_what_the_database_lacks(tmp_path: Path, empty_postgres_url: str) -> None:
    """Before the upgrade the command that makes the schema; after it that the database can be used."""
    settings = _settings(tmp_path, empty_postgres_url)
    findings = [str(one) for one in check_all(settings) if one.setting == "database_url"]
    assert findings == [f"?? database_url: the database's schema is missing, not {HEAD}: run `shipmate db upgrade`"]
    engine = open_database(settings, is_upgraded=True)
    assert (version_of(engine), obstacle(engine)) == (HEAD, None)
    engine.dispose()
    findings = [str(one) for one in check_all(settings) if one.setting == "database_url"]
    assert findings[0].startswith("ok database_url: postgresql://shipmate@/test_")


def test_a_commit_to_a_file_is_on_disk(tmp_path: Path) -> None:
    """Each connection waits for the disk at every commit (FULL), with the log that readers need not wait for."""
    engine = open_sqlite(f"sqlite:///{tmp_path / 'shipmate.db'}")
    with engine.connect() as one, engine.connect() as other:
        for connection in (one, other):
            assert connection.exec_driver_sql("PRAGMA synchronous").scalar() == 2
            assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"
    engine.dispose()
