"""What is on the record: the bot's database, looked at from outside, whichever engine it is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cryptography.fernet import Fernet, MultiFernet
from sqlalchemy import Engine, NullPool, create_engine, text

from bot.domain.audit import AuditEntry, seal
from bot.storage.opening import store_of
from bot.storage.postgres import open_postgres
from bot.storage.store import open_sqlite

DAY_S = 86400.0
_TIMES = {
    "subjects": ("ordered_at", "updated_at"),
    "events": ("received_at",),
    "attempts": ("started_at",),
    "commands": ("accepted_at",),
    "cards": ("opened_at",),
}


@dataclass
class Record:
    """The database of a bot in `folder`; `url` names a PostgreSQL server's, without it SQLite's is meant."""

    folder: Path
    url: str = ""
    _looking: Engine = field(init=False)

    def __post_init__(self) -> None:
        address = self.url or f"sqlite:///file:{self._path}?mode=ro&uri=true"
        self._looking = create_engine(address, poolclass=NullPool)

    @property
    def _path(self) -> Path:
        return self.folder / "var" / "shipmate.db"

    def rows(self, query: str) -> Sequence[Mapping[str, Any]]:
        """The rows of a query, each by its columns' names."""
        with self._looking.connect() as connection:
            return [dict(row._mapping) for row in connection.execute(text(query))]

    def count(self, query: str) -> int:
        """The number that a query gives."""
        with self._looking.connect() as connection:
            return int(connection.scalar(text(query)) or 0)

    def age(self, days: int) -> None:
        """Turn back the times of all that is there by so much: for the bot, that time has passed."""
        engine = self._opened()
        with engine.begin() as connection:
            for table, columns in _TIMES.items():
                changes = ", ".join(f"{name} = {name} - {days * DAY_S}" for name in columns)
                connection.execute(text(f"UPDATE {table} SET {changes}"))
        engine.dispose()

    def trail_is_whole(self) -> bool:
        """Seal what is left and follow the chain."""
        store = store_of(self._opened(), MultiFernet([Fernet(Fernet.generate_key())]))
        store.write(lambda tx: tx.audit.seal(10_000))
        store.close()
        previous = ""
        for row in self.rows("SELECT * FROM audit ORDER BY seq"):
            entry = AuditEntry(**{name: row[name] for name in AuditEntry.__slots__})
            if (row["previous_hash"], row["hash"]) != (previous, seal(entry, row["seq"], previous)):
                return False
            previous = row["hash"]
        return True

    def _opened(self) -> Engine:
        return open_postgres(self.url) if self.url else open_sqlite(f"sqlite:///{self._path}")
