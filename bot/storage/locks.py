"""Advisory locks (PostgreSQL): what one at a time may do where no row stands for it yet.

https://www.postgresql.org/docs/current/explicit-locking.html#ADVISORY-LOCKS. Those here are pairs of numbers, which
never meet the single numbers that names are hashed to. SQLite has one writer and needs none of them.
"""

from __future__ import annotations

from enum import IntEnum

from sqlalchemy import Connection, text

from bot.storage.unit import Unit

_OURS = 7447  # "SHIP" on a telephone: apart from the locks of others in the same database
_HOLD = text(f"SELECT pg_advisory_xact_lock({_OURS}, :lock)")
_SHARE = text(f"SELECT pg_advisory_xact_lock_shared({_OURS}, :lock)")
_HOLD_NAMED = text("SELECT pg_advisory_xact_lock(hashtextextended(:name, 0))")
_TRY_FOR_SESSION = text(f"SELECT pg_try_advisory_lock({_OURS}, :lock)")


class Lock(IntEnum):
    """What is held: by changing the schema, by writing and chaining the audit trail, by leading the clocks, by looking
    at accounts' budgets, by joining people's accounts.
    """

    SCHEMA = 1
    AUDIT = 2
    CLOCK = 3
    BUDGETS = 4
    JOINING = 5


def hold(connection: Connection | Unit, lock: Lock) -> None:
    """Wait for a lock and keep it until the transaction ends."""
    if _has_locks(connection):
        connection.execute(_HOLD, {"lock": lock.value})


def share(connection: Unit, lock: Lock) -> None:
    """The same, beside others who share it."""
    if _has_locks(connection):
        connection.execute(_SHARE, {"lock": lock.value})


def hold_named(connection: Unit, name: str) -> None:
    """Wait for the lock of something that has a name, and keep it until the transaction ends."""
    if _has_locks(connection):
        connection.execute(_HOLD_NAMED, {"name": name})


def try_for_session(connection: Connection, lock: Lock) -> bool:
    """Take a lock until the connection ends; False when another has it. Always True on SQLite."""
    return not _has_locks(connection) or bool(connection.scalar(_TRY_FOR_SESSION, {"lock": lock.value}))


def _has_locks(connection: Connection | Unit) -> bool:
    return connection.dialect.name == "postgresql"
