"""The web door: a Flask application, and waitress to serve it."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from time import monotonic, sleep
from typing import Any

from flask import Blueprint, Flask, Response

from handlers.later import sorry

MAX_CONNECTIONS = 1000
IDLE_S = 20
SEND_BYTES = 16 * 1024
MAX_HEAD_BYTES = 32 * 1024  # the loop searches all that has come of a head whenever more of it comes
MAX_BODY_BYTES = 1024 * 1024
FRAME_BYTES = 64 * 1024  # a chunked body comes with the lengths of its chunks
MEMORY_BYTES = 128 * 1024  # of each unfinished request's body; what is larger waits in a temporary file
STOP_S = 5
WAIT_S = 0.01


def create_app(
    doors: Sequence[Blueprint],
    readiness: Callable[[], str | None],
    remarks: Callable[[], Sequence[str]] = tuple,
    refresh: Callable[[], None] = lambda: None,
) -> Flask:
    """The application. `readiness` says why the process cannot serve, or None when it can.

    `remarks` are further lines of `/readyz` that turn no sender away, such as a chat platform that is not connected.
    `refresh` brings metrics up to date that are not counted as things happen.
    """
    telling = threading.Lock()
    app = Flask("shipmate", static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = MAX_BODY_BYTES
    app.url_map.merge_slashes = False  # nobody is sent on to whatever the header Host names
    for door in doors:
        app.register_blueprint(door)

    @app.get("/healthz")
    def healthz() -> Response:
        return Response("ok\n", mimetype="text/plain")

    @app.get("/readyz")
    def readyz() -> Response:
        problem = readiness()
        lines = [problem or "ready", *remarks(), ""]
        return Response("\n".join(lines), status=503 if problem else 200, mimetype="text/plain")

    @app.get("/metrics")
    def metrics() -> Response:
        from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

        with telling:  # what one request brings up to date, another one does not read half
            refresh()
            return Response(generate_latest(), content_type=CONTENT_TYPE_LATEST)

    @app.errorhandler(500)  # Flask has logged it
    def mistake(_problem: Exception) -> Response:
        return sorry()

    @app.get("/")
    def index() -> Response:
        return Response("Shipmate is running. See /readyz and /metrics.\n", mimetype="text/plain")

    return app


class WebServer:
    """waitress in a thread: it reads whole requests before a worker thread sees them, so slow clients hold none."""

    def __init__(self, app: Flask, listen: str, threads: int) -> None:
        from waitress.server import BaseWSGIServer, create_server
        from waitress.wasyncore import close_all

        from handlers.bodies import limited_to

        # It warns at every request that waits for a thread, which made a busy minute twice as slow.
        logging.getLogger("waitress.queue").setLevel(logging.ERROR)
        self._sockets: dict[int, Any] = {}
        try:
            self._server = create_server(
                app,
                map=self._sockets,
                listen=listen,
                threads=threads,
                connection_limit=MAX_CONNECTIONS,
                channel_timeout=IDLE_S,
                cleanup_interval=5,
                max_request_header_size=MAX_HEAD_BYTES,
                max_request_body_size=MAX_BODY_BYTES + FRAME_BYTES,
                inbuf_overflow=MEMORY_BYTES,
                asyncore_use_poll=True,
                ident="shipmate",
                clear_untrusted_proxy_headers=True,
            )
        except OSError:  # an address that cannot be used: what was opened on the way there is not left open
            close_all(self._sockets)
            raise
        self._listeners = [one for one in self._sockets.values() if isinstance(one, BaseWSGIServer)]
        # Head and body leave in one piece, by the loop's thread: a fifth less work than two sends by a worker.
        self._server.adj.send_bytes = SEND_BYTES
        for one in self._listeners:
            one.channel_class = limited_to(MAX_BODY_BYTES)
        self._thread = threading.Thread(target=self._server.run, name="web", daemon=True)

    @property
    def port(self) -> int:
        """The port that was bound, the last one where a name stands for several addresses."""
        several = getattr(self._server, "effective_listen", None)
        return int(several[-1][1] if several else self._server.effective_port)

    def start(self) -> None:
        """Begin to answer."""
        self._thread.start()

    def stop(self) -> None:
        """Take no more connections; requests in hand are answered. Nothing happens a second time."""
        if not self._thread.is_alive():
            return
        # The loop itself lets go, woken for it: by itself it looks once a second.
        wake = self._listeners[0].trigger.pull_trigger
        wake(self._stop_listening)
        until = monotonic() + STOP_S
        self._server.task_dispatcher.shutdown(timeout=STOP_S)
        while self._has_requests() and monotonic() < until:
            sleep(WAIT_S)
        wake(self._let_go)
        self._thread.join(STOP_S)
        if not self._thread.is_alive():
            for one in self._listeners:
                one.trigger.close()

    def _has_requests(self) -> bool:
        """Whether answers hang on writes, or are being made; who came when the threads had left gets none."""
        queue = self._server.task_dispatcher.queue
        while queue:
            queue.popleft().cancel()
        return any(channel.requests for one in self._listeners for channel in list(one.active_channels.values()))

    def _stop_listening(self) -> None:
        for one in self._listeners:
            one.del_channel()
            one.socket.close()

    def _let_go(self) -> None:
        """Of the connections that clients keep open; the loop ends with the last one.

        The triggers leave the loop, open: the very wake for this may still be writing to one.
        """
        for one in self._listeners:
            one.trigger.del_channel()
        for one in self._sockets.values():
            one.close_when_flushed = True
