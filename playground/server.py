"""The playground's server: one aiohttp application on one port, in the foreground or in a thread of its own."""

import asyncio
import socket
import threading
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Self

from aiohttp import web

from playground.client import Client
from playground.control import Control
from playground.core import Core
from playground.dingtalk.platform import DingTalkPlatform
from playground.options import Json, Options
from playground.slack.platform import SlackPlatform
from playground.slack.replying import response_url
from playground.slack.uploading import shown, upload

_WEB = Path(__file__).parent / "web"
_SHUTDOWN_S = 0.5
_SETTLE_S = 0.01
_LARGEST_BODY = 2 * 1024 * 1024
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src 'self' data: https: http:; base-uri 'none'; form-action 'none'"
)


class Server:
    """The application and its life; everything here runs on one event loop."""

    def __init__(self, options: Options) -> None:
        self._options = options
        self._core = Core(options)
        self._slack = SlackPlatform(self._core)
        self._dingtalk = DingTalkPlatform(self._core)
        self._runner: web.AppRunner | None = None
        self._door: socket.socket | None = None
        self._url = ""

    @property
    def url(self) -> str:
        """The address it answers at, once started."""
        return self._url

    async def start(self) -> None:
        """Bind the port and begin to answer; OSError where the port is taken."""
        host = self._options.host
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._door = socket.create_server((host, self._options.port), family=family)
        self._runner = web.AppRunner(self._app(), access_log=None, shutdown_timeout=_SHUTDOWN_S)
        await self._runner.setup()
        await web.SockSite(self._runner, self._door).start()
        shown = "127.0.0.1" if host in {"0.0.0.0", ""} else f"[{host}]" if family is socket.AF_INET6 else host  # noqa: S104 - compared only
        self._url = f"http://{shown}:{self._door.getsockname()[1]}"
        self._core.public_url = self._options.public_url.rstrip("/") or self._url

    async def stop(self) -> None:
        """Close the port, so that nothing comes in any more, then every connection."""
        if self._door is None or self._runner is None:
            return
        # A server that is closed while it sets up a connection loses that connection's socket:
        # https://github.com/python/cpython/issues/109564
        asyncio.get_running_loop().remove_reader(self._door)
        await asyncio.sleep(_SETTLE_S)
        await self._slack.sockets.close()
        await self._slack.outbox.close()
        await self._dingtalk.stream.close()
        await self._runner.cleanup()
        await asyncio.sleep(0)  # what was closed is let go

    def _app(self) -> web.Application:
        app = web.Application(client_max_size=_LARGEST_BODY)
        app.add_routes(Control(self._core, self._slack, self._dingtalk).routes())
        app.add_routes(
            [
                web.post("/slack/api/{method}", self._slack.web_api),
                web.get("/slack/api/{method}", self._slack.web_api),
                web.get("/slack/socket", self._slack.sockets.connect),
                web.post("/slack/actions/{path:.+}", partial(response_url, self._slack)),
                web.post("/slack/upload/{ticket}", partial(upload, self._slack)),
                web.get("/slack/files/{file}/{name}", partial(shown, self._slack)),
                web.get("/dingtalk/stream", self._dingtalk.stream.connect),
                web.get("/dingtalk/oapi/gettoken", self._dingtalk.get_token),
                web.post("/dingtalk/oapi/topapi/v2/user/get", self._dingtalk.user_get),
                web.route("*", "/dingtalk/oapi/robot/send", self._dingtalk.robot_send),
                web.post("/dingtalk/oapi/robot/sendBySession", self._dingtalk.session_send),
                web.route("*", "/dingtalk/api/{path:.+}", self._dingtalk.api),
                web.get("/", _page("index.html", "text/html")),
                web.get("/style.css", _page("style.css", "text/css")),
                web.get("/app.js", _page("app.js", "text/javascript")),
                web.get("/draw.js", _page("draw.js", "text/javascript")),
                web.get("/slack.js", _page("slack.js", "text/javascript")),
                web.get("/dingtalk.js", _page("dingtalk.js", "text/javascript")),
                web.get("/emoji.json", _page("emoji.json", "application/json")),
            ]
        )
        return app


def _page(name: str, content_type: str) -> Callable[[web.Request], Awaitable[web.Response]]:
    async def handle(request: web.Request) -> web.Response:
        text = (_WEB / name).read_text("utf-8")
        headers = {"Content-Security-Policy": _POLICY, "Cache-Control": "no-cache", "X-Content-Type-Options": "nosniff"}
        return web.Response(text=text, content_type=content_type, headers=headers)

    return handle


class Playground:
    """The server in a thread of its own, for tests: `with Playground(Options(port=0)) as playground:`."""

    def __init__(self, options: Options | None = None) -> None:
        self.options = options or Options(port=0)
        self.client = Client("")
        self._loop = asyncio.new_event_loop()
        self._server = Server(self.options)
        self._thread = threading.Thread(target=self._run, name="playground", daemon=True)
        self._started = threading.Event()
        self._problem: BaseException | None = None
        self._stop = asyncio.Event()

    @property
    def url(self) -> str:
        """The address it answers at."""
        return self._server.url

    def start(self) -> Self:
        """Start the thread and wait until it answers; OSError where the port is taken."""
        self._thread.start()
        self._started.wait()
        if self._problem is not None:
            self._thread.join()
            raise self._problem
        self.client = Client(self.url)
        return self

    def stop(self) -> None:
        """Close every connection and end the thread."""
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._stop.set)
            self._thread.join()

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.run(self._serve())

    async def _serve(self) -> None:
        try:
            await self._server.start()
        except OSError as problem:
            self._problem = problem
            return
        finally:
            self._started.set()
        await self._stop.wait()
        await self._server.stop()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def act(self, **given: object) -> Json:
        """`POST /api/act`; `as_` stands for `as`."""
        return self.client.act(**given)

    def state(self, **query: object) -> Json:
        """`GET /api/state`"""
        return self.client.state(**query)

    def calls(self, **query: object) -> list[Json]:
        """The calls of `GET /api/calls`."""
        return self.client.calls(**query)
