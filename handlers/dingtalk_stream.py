"""The Stream connection to DingTalk: a thread with a clean stop, and reconnecting with growing pauses.

The SDK's own client has no stop, opens connections with blocking calls without a time limit, waits ten seconds after
each broken connection and logs tickets; its frames and acknowledgements are used, its loop is not.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, NoReturn

from bot.telemetry import CONNECTED, logger
from handlers.dingtalk import PLATFORM, Door

if TYPE_CHECKING:
    from handlers.dingtalk_session import Session

STOP_S = 2.0
CALL_S = 8.0
STEADY_S = 10.0
BRIEF_S = 1.0

log = logger(__name__)


class DingTalkStream:
    """Keeps one connection open and gives what it hears to a door.

    Times are in seconds: `first_pause_s` after the first failure, doubled up to `most_pause_s`. `on_change` is told
    whether the connection stands, from the start on; it must not block.
    """

    def __init__(
        self,
        client_id: str,
        client_secret: str,
        api_url: str,
        door: Door,
        *,
        first_pause_s: float = 1.0,
        most_pause_s: float = 60.0,
        on_change: Callable[[bool], None] = lambda is_connected: CONNECTED.labels(PLATFORM).set(is_connected),
    ) -> None:
        self._client_id = client_id
        self._client_secret = client_secret
        self._api_url = api_url
        self._door = door
        self._first_pause_s = first_pause_s
        self._most_pause_s = most_pause_s
        self._on_change = on_change
        self._is_connected = False
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._task: asyncio.Task[None] | None = None
        self._is_stopping = threading.Event()

    @property
    def is_connected(self) -> bool:
        """Whether commands are heard at this moment."""
        return self._is_connected

    def start(self) -> None:
        """Connect in a thread of its own; returns at once. The SDK is loaded there, not at import."""
        if self._thread is not None:
            raise RuntimeError("the stream was started before")
        self._on_change(False)
        self._thread = threading.Thread(target=self._run, name="dingtalk-stream", daemon=True)
        self._thread.start()

    def stop(self, timeout_s: float = STOP_S) -> bool:
        """End the connection and its thread; True when that was done within `timeout_s`."""
        self._is_stopping.set()
        loop, task, thread = self._loop, self._task, self._thread
        if loop is not None and task is not None:
            with contextlib.suppress(RuntimeError):  # the loop ended by itself meanwhile
                loop.call_soon_threadsafe(task.cancel)
        if thread is None:
            return True
        thread.join(timeout_s)
        return not thread.is_alive()

    def _run(self) -> None:
        with contextlib.suppress(asyncio.CancelledError):
            asyncio.run(self._guarded(self._keep_connected()))
        self._set_connected(False)

    async def _guarded(self, work: Coroutine[Any, Any, NoReturn]) -> None:
        self._loop = asyncio.get_running_loop()
        self._task = self._loop.create_task(work)
        if self._is_stopping.is_set():
            self._task.cancel()
        await self._task

    async def _keep_connected(self) -> NoReturn:
        from handlers.dingtalk_session import Session

        pause_s = self._first_pause_s
        while True:
            session = Session(self._client_id, self._client_secret, self._api_url, self._door, timeout_s=CALL_S)
            lasted_s = await self._listen(session)
            if lasted_s >= STEADY_S:
                pause_s = self._first_pause_s
            if session.was_sent_away and lasted_s >= BRIEF_S:
                continue  # DingTalk moves connections between its hosts: the next one is wanted at once
            await asyncio.sleep(pause_s)
            pause_s = min(pause_s * 2, self._most_pause_s)

    async def _listen(self, session: Session) -> float:
        """Hear one connection to its end and say how long it stood; no failure of it gets out."""
        loop = asyncio.get_running_loop()
        connected_at: float | None = None
        try:
            await session.connect()
            connected_at = loop.time()
            self._set_connected(True)
            await session.listen()
        except Exception as problem:  # noqa: BLE001 - the edge: whatever ends a connection, the next one is tried
            log.warning("dingtalk stream broken", error=type(problem).__name__, detail=str(problem)[:200])
        finally:
            self._set_connected(False)
            with contextlib.suppress(Exception):  # what has ended, or broke, may not be closed any more
                await session.close()
        return loop.time() - connected_at if connected_at is not None else 0.0

    def _set_connected(self, is_connected: bool) -> None:
        if is_connected != self._is_connected:
            self._is_connected = is_connected
            log.info("dingtalk stream connected" if is_connected else "dingtalk stream disconnected")
            self._on_change(is_connected)
