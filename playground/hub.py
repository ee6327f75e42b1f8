"""One number that grows with every visible change, and a way to wait for it."""

import asyncio


class Hub:
    """Tells live pages that something changed; used from the event loop's thread only."""

    def __init__(self) -> None:
        self.revision = 0
        self._changed = asyncio.Event()

    def touch(self) -> None:
        """Something visible changed."""
        self.revision += 1
        self._changed.set()
        self._changed = asyncio.Event()

    async def wait_beyond(self, revision: int, timeout_s: float) -> int:
        """The revision as soon as it is beyond the given one, or the same after `timeout_s`."""
        if self.revision <= revision:
            try:
                async with asyncio.timeout(timeout_s):
                    await self._changed.wait()
            except TimeoutError:
                return self.revision
        return self.revision
