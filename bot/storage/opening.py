"""From the configuration to an open database and its key; whatever stands in the way is named as a setting."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from cryptography.fernet import MultiFernet
from sqlalchemy import Engine
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from bot.errors import ConfigError
from bot.settings import Settings
from bot.storage.cipher import cipher_of, make_key
from bot.storage.postgres import PostgresStore, first_line, open_postgres
from bot.storage.schema import HEAD, can_serve, upgrade, version_of
from bot.storage.store import SqliteStore, open_sqlite
from bot.telemetry import remember_secrets


def open_key(settings: Settings, environment: Mapping[str, str] = os.environ, *, may_make: bool) -> MultiFernet:
    """The key for bearer addresses at rest: SHIPMATE_KEY, else the setting `key`, else the file `var/key`.

    Where there is none it is made when `may_make` says so; otherwise ConfigError says how to come by one.
    """
    path = settings.folder / "var" / "key"
    place, given = "SHIPMATE_KEY", environment.get("SHIPMATE_KEY", "")
    if not given and settings.key:
        place, given = "key", settings.key
    try:
        if not given:
            place = str(path)
            if may_make:
                make_key(path)
            given = path.read_text(encoding="ascii")
        remember_secrets(key.strip() for key in given.split(","))
        return cipher_of(given)
    except FileNotFoundError:
        raise ConfigError(
            "SHIPMATE_KEY",
            "is not set, and every process of one database needs the same key: set it, or `key: {file: …}`, or copy "
            f"{path.name} from the folder var of a host where `shipmate run` made one",
        ) from None
    except OSError as problem:
        raise ConfigError(place, f"cannot be used: {problem.strerror}") from None
    except ValueError:
        raise ConfigError(
            place, "is no Fernet key: 32 bytes in URL-safe base64, such as `shipmate run` makes"
        ) from None


def open_database(settings: Settings, *, is_upgraded: bool) -> Engine:
    """The database's engine; with `is_upgraded` its schema is brought to this version's, one process at a time."""
    url = settings.database
    if url.startswith("postgresql+psycopg:"):
        return _open_server(url, is_upgraded=is_upgraded)
    if not url.startswith("sqlite:///"):
        raise ConfigError("database_url", "must be sqlite:///path or postgresql+psycopg://user:password@host/database")
    path = Path(url.removeprefix("sqlite:///"))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        engine = open_sqlite(url)
        if is_upgraded:
            upgrade(engine)
        else:
            engine.connect().close()
    except OSError as problem:
        raise ConfigError("database_url", f"{path} cannot be used: {problem.strerror}") from None
    except DBAPIError as problem:
        raise ConfigError("database_url", f"{path} cannot be used: {problem.orig}") from None
    return engine


def _open_server(url: str, *, is_upgraded: bool) -> Engine:
    """A PostgreSQL server's engine; one that does not answer now is waited for, unless the schema is to be changed."""
    try:
        address = make_url(url)
    except (ArgumentError, ValueError):
        raise ConfigError("database_url", "is no address: postgresql+psycopg://user:password@host/database") from None
    remember_secrets([address.password or ""])
    engine = open_postgres(url)
    try:
        if is_upgraded:
            upgrade(engine)
    except DBAPIError as problem:
        engine.dispose()
        raise ConfigError("database_url", f"{place_of(engine)} cannot be used: {first_line(problem)}") from None
    return engine


def place_of(engine: Engine) -> str:
    """Where a database is, for people: a file's path, or a server's address without its password."""
    if engine.dialect.name != "postgresql":
        return str(engine.url.database)
    return engine.url.set(drivername="postgresql", query={}).render_as_string(hide_password=True)


def store_of(engine: Engine, cipher: MultiFernet) -> SqliteStore | PostgresStore:
    """The store over an open database."""
    if engine.dialect.name == "postgresql":
        return PostgresStore(engine, cipher)
    return SqliteStore(engine, cipher)


def obstacle(engine: Engine) -> str | None:
    """Why the database cannot be worked with, in a sentence; None when it can."""
    try:
        version = version_of(engine)
        if can_serve(engine, version):
            return None
    except DBAPIError as problem:
        return f"the database cannot be read: {first_line(problem)}"
    except PoolTimeout:
        return "the database cannot be read: all connections are in use"
    if version is not None and version > HEAD:
        return "the database was written by a newer version: run that one"
    return f"the database's schema is {version or 'missing'}, not {HEAD}: run `shipmate db upgrade`"
