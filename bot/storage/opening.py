"""From the configuration to an open database and its key; whatever stands in the way is named as a setting."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from cryptography.fernet import MultiFernet
from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError

from bot.errors import ConfigError
from bot.settings import Settings
from bot.storage.cipher import cipher_of, make_key
from bot.storage.schema import HEAD, upgrade, version_of
from bot.storage.store import open_sqlite
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
    if not url.startswith("sqlite:///"):
        raise ConfigError("database_url", "must be sqlite:///path")
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


def obstacle(engine: Engine) -> str | None:
    """Why the database cannot be worked with, in a sentence; None when it can."""
    try:
        version = version_of(engine)
    except DBAPIError as problem:
        return f"the database cannot be read: {problem.orig}"
    if version == HEAD:
        return None
    return f"the database's schema is {version or 'missing'}, not {HEAD}: run `shipmate db upgrade`"
