"""Commands of a terminal that look and act in the database of a bot that may be running."""

from __future__ import annotations

import os
import pwd
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from cryptography.fernet import Fernet, MultiFernet
from sqlalchemy import Engine

from bot.errors import ConfigError
from bot.ports import Clock
from bot.services.operator import Operator
from bot.services.sources import SourceAccess, Sources
from bot.settings import Settings
from bot.storage.clock import DatabaseClock
from bot.storage.link import measure, tell_all
from bot.storage.opening import obstacle, open_database, store_of
from bot.system import SystemClock
from integrations.outside import connect_outside

_SQLITE = "sqlite:///"


@contextmanager
def operator(settings: Settings) -> Iterator[Operator]:
    """Whoever is logged in, at the configured database; ConfigError where it is not there or of another version."""
    outside = connect_outside(settings, SystemClock())
    path = Path(settings.database.removeprefix(_SQLITE))
    if settings.database.startswith(_SQLITE) and not path.exists():
        raise ConfigError("database_url", f"{path} does not exist: nothing has run here yet")
    engine = open_database(settings, is_upgraded=False)
    if problem := obstacle(engine):
        engine.dispose()
        raise ConfigError("database_url", problem)
    store = store_of(engine, MultiFernet([Fernet(Fernet.generate_key())]))  # nothing that is encrypted is read here
    clock, wake = _clock_and_bell(engine)
    try:
        yield Operator(
            store,
            clock,
            Sources({name: SourceAccess() for name in settings.sources}, ()),
            {name: destination.address for name, destination in outside.destinations.items()},
            name=_login_name(),
            wake=wake,
        )
    finally:
        store.close()


def _clock_and_bell(engine: Engine) -> tuple[Clock, Callable[[], None]]:
    """The database's time, and what tells its workers; those of SQLite look at the file themselves."""
    if engine.dialect.name != "postgresql":
        return SystemClock(), lambda: None
    clock = DatabaseClock(SystemClock())
    measure(engine, clock)
    return clock, lambda: tell_all(engine)


def _login_name() -> str:
    """The name of the account that runs this, which no environment variable changes."""
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return str(os.getuid())
