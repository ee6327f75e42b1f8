"""Socket Mode: connection URLs, hello, envelopes, acknowledgements, disconnects.

https://docs.slack.dev/apis/events-api/using-socket-mode
"""

import asyncio
import json
import secrets
import time
from collections import OrderedDict
from dataclasses import dataclass

from aiohttp import WSMsgType, web

from playground import world
from playground.core import Core
from playground.options import Json

_MOST_CONNECTIONS = 10
_KEPT = 1_000


@dataclass(slots=True)
class Pending:
    """An envelope that may still be acknowledged, with the record of its newest attempt."""

    acked: "asyncio.Future[object]"
    sent: float
    record: Json
    takes_payload: bool


class Sockets:
    """The app's open WebSockets; each envelope goes to one of them."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._tickets: OrderedDict[str, bool] = OrderedDict()
        self._open: dict[str, web.WebSocketResponse] = {}
        self._transports: dict[str, asyncio.Transport] = {}
        self._turn = 0
        self._pending: OrderedDict[str, Pending] = OrderedDict()
        self._opened = asyncio.Event()

    @property
    def count(self) -> int:
        """How many connections are open."""
        return len(self._open)

    def new_url(self, *, debug: bool = False) -> str:
        """A WebSocket address that can be used once."""
        ticket = secrets.token_urlsafe(24)
        self._tickets[ticket] = debug
        if len(self._tickets) > _KEPT:
            self._tickets.popitem(last=False)
        base = self._core.public_url.replace("http", "ws", 1)
        return f"{base}/slack/socket?ticket={ticket}&app_id={world.SLACK_APP}"

    async def connect(self, request: web.Request) -> web.StreamResponse:
        """The WebSocket itself, from the upgrade to its end."""
        if self._tickets.pop(request.query.get("ticket", ""), None) is None:
            return web.Response(status=401, text="invalid ticket")
        if len(self._open) >= _MOST_CONNECTIONS:
            return web.Response(status=429, text="too_many_websockets")
        socket = web.WebSocketResponse(autoping=True)
        await socket.prepare(request)
        name = secrets.token_hex(4)
        self._open[name] = socket
        if isinstance(request.transport, asyncio.Transport):
            self._transports[name] = request.transport
        await socket.send_json(self._hello())
        self._opened.set()
        self._core.hub.touch()
        try:
            async for frame in socket:
                if frame.type is WSMsgType.TEXT:
                    self._heard(str(frame.data))
        finally:
            self._open.pop(name, None)
            self._transports.pop(name, None)
            if not self._open:
                self._opened.clear()
            self._core.hub.touch()
        return socket

    def _hello(self) -> Json:
        return {
            "type": "hello",
            "num_connections": len(self._open),
            "debug_info": {"host": "playground", "build_number": 1, "approximate_connection_time": 18060},
            "connection_info": {"app_id": world.SLACK_APP},
        }

    def _heard(self, raw: str) -> None:
        try:
            ack = json.loads(raw)
        except ValueError:
            self._core.violate("slack", "socket_frame", "a frame from the app is not JSON")
            return
        if not isinstance(ack, dict) or not isinstance(ack.get("envelope_id"), str):
            self._core.violate("slack", "socket_frame", "a frame from the app has no envelope_id")
            return
        pending = self._pending.get(ack["envelope_id"])
        if pending is None:
            self._core.violate("slack", "unknown_envelope", f"acknowledged an unknown envelope {ack['envelope_id']}")
            return
        if not pending.acked.done():
            pending.record["latency_ms"] = round((time.perf_counter() - pending.sent) * 1000, 3)
            pending.record["ack"] = ack.get("payload")
            pending.record["is_acked"] = True
            pending.acked.set_result(ack.get("payload"))
        if ack.get("payload") and not pending.takes_payload:
            self._core.violate("slack", "ack_payload", "an envelope that accepts no payload was acknowledged with one")

    async def send(self, envelope: Json, record: Json, timeout_s: float) -> Pending | None:
        """Send an envelope to one connection; None where none opens within `timeout_s`."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._opened.wait()
        except TimeoutError:
            return None
        envelope_id = str(envelope["envelope_id"])
        pending = self._pending.get(envelope_id)
        if pending is None:
            future = asyncio.get_running_loop().create_future()
            pending = Pending(future, 0.0, record, bool(envelope["accepts_response_payload"]))
            self._pending[envelope_id] = pending
            if len(self._pending) > _KEPT:
                self._pending.popitem(last=False)
        names = list(self._open)
        self._turn += 1
        record["connection"] = names[self._turn % len(names)]
        pending.record, pending.sent = record, time.perf_counter()
        try:
            await self._open[record["connection"]].send_str(json.dumps(envelope, ensure_ascii=False))
        except (ConnectionError, RuntimeError):
            return pending
        return pending

    def forget(self, envelope_id: str) -> None:
        """Wait for a new acknowledgement when this envelope is sent again."""
        self._pending.pop(envelope_id, None)

    async def disconnect(self, reason: str) -> int:
        """Tell every connection to go, and close it (`warning` leaves it open; `drop` cuts without a word)."""
        names = list(self._open)
        for name in names:
            if reason == "drop":
                self._transports[name].abort()
                continue
            socket = self._open[name]
            await socket.send_json({"type": "disconnect", "reason": reason, "debug_info": {"host": "playground"}})
            if reason != "warning":
                await socket.close()
        return len(names)

    async def close(self) -> None:
        """Close every connection, at the end."""
        for socket in list(self._open.values()):
            await socket.close()
