"""The Socket Mode connection to Slack: a thread with a clean stop, and reconnecting with growing pauses."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress
from time import monotonic
from typing import TYPE_CHECKING

from bot.telemetry import CONNECTED, logger
from handlers.slack_payloads import PLATFORM

if TYPE_CHECKING:
    from slack_bolt import App
    from slack_sdk import WebClient

    from handlers.slack_session import Session

STOP_S = 2.0
CALL_S = 8.0
STEADY_S = 10.0

log = logger(__name__)


class SlackSocket:
    """Keeps one connection open and gives what it hears to a Bolt app.

    `client` asks for each connection's address, so that its base_url and timeout decide where and how long. Times are
    in seconds: `first_pause_s` after the first failure, doubled up to `most_pause_s`. `on_change` is told whether the
    connection stands, from the start on; it must not block.
    """

    def __init__(
        self,
        app: App,
        app_token: str,
        client: WebClient,
        *,
        first_pause_s: float = 1.0,
        most_pause_s: float = 60.0,
        on_change: Callable[[bool], None] = lambda is_connected: CONNECTED.labels(PLATFORM).set(is_connected),
    ) -> None:
        self._app = app
        self._app_token = app_token
        self._client = client
        self._first_pause_s = first_pause_s
        self._most_pause_s = most_pause_s
        self._on_change = on_change
        self._is_connected = False
        self._is_stopping = threading.Event()
        self._lock = threading.Lock()
        self._session: Session | None = None
        self._thread: threading.Thread | None = None

    @property
    def is_connected(self) -> bool:
        """Whether commands are heard at this moment."""
        return self._is_connected

    def start(self) -> None:
        """Connect in a thread of its own; returns at once."""
        if self._thread is not None:
            raise RuntimeError("the socket was started before")
        self._on_change(False)
        self._thread = threading.Thread(target=self._keep_connected, name="slack-socket", daemon=True)
        self._thread.start()

    def stop(self, timeout_s: float = STOP_S) -> bool:
        """End the connection and its thread; True when that was done within `timeout_s`."""
        self._is_stopping.set()
        ends_at = monotonic() + timeout_s
        with self._lock:
            session = self._session
        if session is not None:
            session.interrupt()
        if self._thread is None:
            return True
        self._thread.join(max(0.0, ends_at - monotonic()))
        return not self._thread.is_alive()

    def _keep_connected(self) -> None:
        pause_s = self._first_pause_s
        while not self._is_stopping.is_set():
            connected_at = monotonic()
            was_steady = self._listen() and monotonic() - connected_at >= STEADY_S
            if was_steady:
                pause_s = self._first_pause_s
            self._is_stopping.wait(pause_s)
            pause_s = min(pause_s * 2, self._most_pause_s)

    def _listen(self) -> bool:
        """Hear one connection and those that replace it to their end; whether there was one. No failure gets out."""
        session: Session | None = None
        try:
            session = self._open(None)
            self._set_connected(True)
            opened_at = monotonic()
            # One that is sent away as soon as it stands waits like one that broke.
            while (
                session.listen() and monotonic() - opened_at >= self._first_pause_s and not self._is_stopping.is_set()
            ):
                session = self._open(session)
                opened_at = monotonic()
        except Exception as problem:  # noqa: BLE001 - the edge: whatever ends a connection, the next one is tried
            log.warning("slack socket broken", error=type(problem).__name__, detail=_reason(problem))
        finally:
            self._set_connected(False)
            with self._lock:
                last, self._session = self._session, None
            if last is not None:
                with suppress(Exception):  # what has ended, or broke, may not be closed any more
                    last.close()
        return session is not None

    def _open(self, old: Session | None) -> Session:
        """Connect; only then is the connection closed that the new one replaces, and until then it is heard."""
        from handlers.slack_session import Session

        if old is not None:
            old.keep_listening()
        new = Session(self._app, self._app_token, self._client, timeout_s=CALL_S)
        with self._lock:
            self._session = new
        if self._is_stopping.is_set():
            new.interrupt()
        if old is not None:
            old.close()
        return new

    def _set_connected(self, is_connected: bool) -> None:
        if is_connected != self._is_connected:
            self._is_connected = is_connected
            log.info("slack socket connected" if is_connected else "slack socket disconnected")
            self._on_change(is_connected)


def _reason(problem: Exception) -> str:
    """Slack's error word where there is one; texts of the SDK's errors would repeat the whole answer."""
    from slack_sdk.errors import SlackApiError

    return str(problem.response.get("error") if isinstance(problem, SlackApiError) else problem)[:200]
