"""One transaction's statements: writes whose answer nobody needs wait, and are sent together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, CursorResult, Dialect, Executable, NestedTransaction, ScalarResult

from bot.storage.rows import Row, Write

_One = Mapping[str, Any]
_Parameters = _One | list[dict[str, Any]]
_Result = CursorResult[*tuple[Any, ...]]


@dataclass(slots=True)
class _Batch:
    """What waits to be written by one run of a statement."""

    write: Write
    rows: dict[tuple[Any, ...], Row] = field(default_factory=dict)

    def add(self, row: Row) -> None:
        once_per = self.write.once_per
        place = tuple(row[name] for name in once_per) if once_per else (len(self.rows),)
        self.rows[place] = self.write.merge(self.rows[place], row) if place in self.rows else row


class Unit:
    """A connection within a transaction; what is asked of it sees all that was written before.

    Rows that wait are about something: those about one thing keep their order, those about different things must not
    depend on each other. `flush` comes before the commit.
    """

    __slots__ = ("_batches", "_connection", "_last", "dialect")

    def __init__(self, connection: Connection) -> None:
        self.dialect: Dialect = connection.dialect
        self._connection = connection
        self._batches: list[_Batch] = []
        self._last: dict[tuple[str, str], int] = {}  # in which batch the last row about a thing waits, by table

    def execute(self, statement: Executable, parameters: _Parameters | None = None) -> _Result:
        """Run a statement after all that waits."""
        self.flush()
        return self._connection.execute(statement, parameters)

    def scalar(self, statement: Executable, parameters: _One | None = None) -> Any:  # noqa: ANN401 - any column
        """The first column of the first row; None without one."""
        self.flush()
        return self._connection.scalar(statement, parameters)

    def scalars(self, statement: Executable, parameters: _One | None = None) -> ScalarResult[Any]:
        """The first column of all rows."""
        self.flush()
        return self._connection.scalars(statement, parameters)

    def begin_nested(self) -> NestedTransaction:
        """A savepoint."""
        self.flush()
        return self._connection.begin_nested()

    def aside(self, statement: Executable, parameters: _Parameters | None = None) -> _Result:
        """Run a statement that has nothing to do with what waits, and leave that waiting."""
        return self._connection.execute(statement, parameters)

    def later(self, about: str, write: Write, row: Row) -> None:
        """Write a row before the next statement that is not `aside`."""
        thing = (str(write.statement.table), about)
        place = self._last.get(thing, 0)
        while place < len(self._batches) and self._batches[place].write is not write:
            place += 1
        if place == len(self._batches):
            self._batches.append(_Batch(write))
        self._last[thing] = place
        self._batches[place].add(row)

    def flush(self) -> None:
        """Write all that waits."""
        if not self._batches:
            return
        batches, self._batches, self._last = self._batches, [], {}
        for batch in batches:
            self._connection.execute(batch.write.statement, batch.write.parameters(list(batch.rows.values())))
