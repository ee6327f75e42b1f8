"""One Socket Mode connection: frames in, Bolt's answers out. Imported late: Bolt takes a seventh of a second to load.

https://docs.slack.dev/apis/events-api/using-socket-mode. The SDK's client is not used: after a cut without a farewell
it spins until its pings fail, it holds up new frames for seconds while it replaces a connection, and its close waits
for a read to time out.
"""

from __future__ import annotations

import json
import threading
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from slack_bolt.adapter.socket_mode.internals import build_headers
from slack_sdk.socket_mode.request import SocketModeRequest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from bot.errors import Unavailable
from bot.telemetry import logger
from handlers.slack import dispatch
from handlers.slack_payloads import PLATFORM

if TYPE_CHECKING:
    from slack_bolt import App
    from slack_bolt.response import BoltResponse
    from slack_sdk import WebClient

CLOSE_S = 0.5
DRAIN_S = 1.0
PING_S = 20.0
THREADS = 8
MOST_WAITING = 500  # frames in hand, of a connection's

log = logger(__name__)


class Session:
    """A connection from its opening to its end; every frame is acknowledged on the connection it came over."""

    def __init__(self, app: App, app_token: str, client: WebClient, *, timeout_s: float) -> None:
        self._app = app
        self._work: set[Future[None]] = set()
        url = client.apps_connections_open(app_token=app_token).get("url")
        if not url:
            raise Unavailable(PLATFORM, "unreadable_answer", "no url")
        self._open = ExitStack()
        self._socket: ClientConnection = self._open.enter_context(
            connect(url, open_timeout=timeout_s, close_timeout=CLOSE_S, ping_interval=PING_S, ping_timeout=PING_S)
        )
        self._pool = ThreadPoolExecutor(THREADS, thread_name_prefix="slack-socket")

    def listen(self) -> bool:
        """Handle frames until the connection ends; True when Slack asked to be connected to anew."""
        try:
            for raw in self._socket:
                frame = json.loads(raw)
                if not isinstance(frame, dict):
                    continue
                if frame.get("type") == "disconnect":
                    log.info("slack socket sent away", reason=frame.get("reason"))
                    return frame.get("reason") != "link_disabled"
                request = SocketModeRequest.from_dict(frame)
                if request is not None:
                    self._start(request)
        except ConnectionClosed as problem:
            log.info("slack socket closed", detail=str(problem)[:200])
        return False

    def keep_listening(self) -> None:
        """Go on in a thread until the connection is closed: Slack uses it for some seconds after its announcement."""
        threading.Thread(target=self._listen_on, name="slack-socket-old", daemon=True).start()

    def interrupt(self) -> None:
        """Close from another thread, so that `listen` returns; acknowledgements under way go out before."""
        wait(list(self._work), DRAIN_S)
        self._socket.close()

    def close(self) -> None:
        """Let acknowledgements under way go out, then close."""
        self.interrupt()
        self._open.close()
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _listen_on(self) -> None:
        try:
            while self.listen():
                pass  # announced once more
        except Exception as problem:  # noqa: BLE001 - the edge: the connection that replaces this one is on its way
            log.warning("slack socket broken", error=type(problem).__name__)

    def _start(self, request: SocketModeRequest) -> None:
        if len(self._work) >= MOST_WAITING:  # left unacknowledged, so that it comes again or its person is told
            log.warning("slack frame left, too many wait", kind=request.type)
            return
        future = self._pool.submit(self._answer, request)
        self._work.add(future)
        future.add_done_callback(self._work.discard)

    def _answer(self, request: SocketModeRequest) -> None:
        """Give a frame to Bolt; one that Bolt does not answer with 200 stays without an acknowledgement."""
        try:
            answered = dispatch(self._app, request.payload, build_headers(request))
            if answered.response.status == 200:
                self._socket.send(json.dumps(_ack(request, answered.response)))
            for work in answered.after:
                work()
        except ConnectionClosed:
            log.info("slack acknowledgement lost", kind=request.type)  # the frame comes again and is known then
        except Exception as problem:  # the handler's edge: left unacknowledged, so that it comes again
            log.exception("slack frame failed", kind=request.type, error=problem)


def _ack(request: SocketModeRequest, response: BoltResponse) -> dict[str, Any]:
    """The envelope's id, and what Bolt says where the envelope takes an answer."""
    ack: dict[str, Any] = {"envelope_id": request.envelope_id}
    if response.body and request.accepts_response_payload:
        is_json = response.first_headers().get("content-type", "").startswith("application/json")
        ack["payload"] = json.loads(response.body) if is_json else {"text": response.body}
    return ack
