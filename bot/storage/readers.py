"""How many read at a time. The last connections are not for readers: who writes never waits for those who read."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from bot.errors import StorageUnavailable

POOL_WAIT_S = 8.0
KEPT_FREE = 3  # for the writer, for what waits aside for a lock, and for who looks whether the database answers at all


class Readers:
    """Places for readers, of a pool of so many `connections`; who gets none within 8 s is told so."""

    def __init__(self, connections: int) -> None:
        self._places = threading.BoundedSemaphore(connections - KEPT_FREE)

    @contextmanager
    def place(self) -> Iterator[None]:
        """Have a place meanwhile; StorageUnavailable when none becomes free in time."""
        if not self._places.acquire(timeout=POOL_WAIT_S):
            raise StorageUnavailable("all connections to the database are in use")
        try:
            yield
        finally:
            self._places.release()
