"""Watches which thread holds connections: one that holds one must not wait for another, or all may wait for all."""

from __future__ import annotations

import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Engine, event
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.pool import ConnectionPoolEntry

from tests.stores import SqlStore

HOARDER = "hoarder"


class Holders:
    """Who holds connections of an engine; `seconds` are the places where a thread asked for one more.

    Threads named `HOARDER` do so for a test.
    """

    def __init__(self, engine: Engine) -> None:
        self.seconds: list[str] = []
        self._holder: dict[ConnectionPoolEntry, int] = {}
        event.listen(engine, "checkout", self._took)
        event.listen(engine, "checkin", self._gave)
        event.listen(engine, "detach", self._gave)

    def ask(self) -> None:
        """Note where this thread is when it holds a connection and is about to wait for a further one."""
        me = threading.current_thread()
        if me.ident in list(self._holder.values()) and not me.name.startswith(HOARDER):
            self.seconds.append("".join(traceback.format_stack(limit=12)))

    def _took(self, _driver: DBAPIConnection, entry: ConnectionPoolEntry, _proxy: object) -> None:
        self.ask()
        self._holder[entry] = threading.get_ident()

    def _gave(self, _driver: DBAPIConnection | None, entry: ConnectionPoolEntry) -> None:
        self._holder.pop(entry, None)


@contextmanager
def nobody_holds_two(engine: Engine, store: SqlStore) -> Iterator[None]:
    """Fail when a thread took a connection, or wrote, while it had one already."""
    holders, write = Holders(engine), store.write

    def asking(work: Callable[[Any], Any], *rest: Any, **named: Any) -> Any:
        holders.ask()
        return write(work, *rest, **named)

    store.write = asking  # type: ignore[method-assign, assignment] # to see who calls it
    yield
    assert not holders.seconds, holders.seconds[0]
