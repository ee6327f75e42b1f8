"""The record of what the playground received and sent: calls, deliveries to the bot, violations of the protocols."""

import time
from collections import deque
from itertools import islice

from playground.options import Json


class Journal:
    """A bounded list of records numbered from 1 without gaps, so that `since` costs nothing to find."""

    def __init__(self, kept: int) -> None:
        self._records: deque[Json] = deque(maxlen=kept)
        self.last = 0

    def add(self, record: Json) -> Json:
        """Number and time a record, and keep it."""
        self.last += 1
        record["seq"] = self.last
        record.setdefault("time", time.time())
        self._records.append(record)
        return record

    def since(self, seq: int, **wanted: str | None) -> list[Json]:
        """The records after `seq` whose fields equal those of `wanted` that are given."""
        first = self.last - len(self._records) + 1
        start = max(seq + 1 - first, 0)
        filters = [(key, value) for key, value in wanted.items() if value]
        return [
            one for one in islice(self._records, start, None) if all(one.get(key) == value for key, value in filters)
        ]

    def clear(self) -> None:
        """Empty the list and number from 1 again."""
        self._records.clear()
        self.last = 0
