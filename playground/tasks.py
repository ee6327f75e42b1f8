"""Work that goes on after a call was answered: redeliveries, late closings."""

import asyncio
from collections.abc import Coroutine


class Tasks:
    """Keeps what runs alive until it has ended; used from the event loop's thread only."""

    def __init__(self) -> None:
        self._running: set[asyncio.Task[None]] = set()

    def start(self, work: Coroutine[None, None, None]) -> None:
        """Begin; failures are the work's own business."""
        task = asyncio.create_task(work)
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    def cancel(self) -> None:
        """Give up all that runs."""
        for task in self._running:
            task.cancel()

    async def close(self) -> None:
        """Give up all that runs, and wait until it has ended."""
        self.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)
