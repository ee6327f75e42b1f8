"""Stream mode: tickets, frames, pings, acknowledgements, redelivery.

Frames as described in open-dingtalk/developerpedia and spoken by the dingtalk_stream SDK.
"""

import asyncio
import json
import secrets
import time
from collections import OrderedDict
from dataclasses import dataclass
from typing import Final

from aiohttp import WSMsgType, web

from playground import world
from playground.core import Core
from playground.options import Json
from playground.tasks import Tasks

TOPIC_BOT: Final = "/v1.0/im/bot/messages/get"
TOPIC_CARD: Final = "/v1.0/card/instances/callback"
_TICKET_S: Final = 90
_PING_S: Final = 30.0
_RETRIES: Final = 3
_KEPT: Final = 1_000


@dataclass(frozen=True, slots=True)
class Outcome:
    """How the first attempt ended: the ack's `response` and code, or why there is none."""

    response: object = None
    code: int | None = None
    latency_ms: float | None = None
    error: str | None = None


@dataclass(slots=True)
class _Connection:
    socket: web.WebSocketResponse
    transport: asyncio.Transport | None
    topics: frozenset[str]


@dataclass(slots=True)
class _Pending:
    acked: "asyncio.Future[Json]"
    sent: float
    record: Json


class Stream:
    """The app's open streams; each push goes to one of those that subscribed to its topic."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._tickets: OrderedDict[str, tuple[float, frozenset[str]]] = OrderedDict()
        self._open: dict[str, _Connection] = {}
        self._pending: OrderedDict[str, _Pending] = OrderedDict()
        self._tasks = Tasks()
        self._turn = 0
        self.last: Json | None = None

    @property
    def count(self) -> int:
        """How many connections are open."""
        return len(self._open)

    def new_endpoint(self, subscriptions: object) -> Json:
        """The answer of gateway/connections/open: an endpoint and a ticket for one connection."""
        given = subscriptions if isinstance(subscriptions, list) else []
        topics = frozenset(f"{one.get('type')} {one.get('topic')}" for one in given if isinstance(one, dict))
        ticket = secrets.token_hex(16)
        self._tickets[ticket] = (time.monotonic() + _TICKET_S, topics)
        if len(self._tickets) > _KEPT:
            self._tickets.popitem(last=False)
        return {"endpoint": self._core.public_url.replace("http", "ws", 1) + "/dingtalk/stream", "ticket": ticket}

    async def connect(self, request: web.Request) -> web.StreamResponse:
        """The WebSocket itself, from the upgrade to its end."""
        expires, topics = self._tickets.pop(request.query.get("ticket", ""), (0.0, frozenset[str]()))
        if expires < time.monotonic():
            return web.Response(status=401, text="invalid ticket")
        socket = web.WebSocketResponse(autoping=True)
        await socket.prepare(request)
        name = secrets.token_hex(4)
        transport = request.transport if isinstance(request.transport, asyncio.Transport) else None
        self._open[name] = _Connection(socket, transport, topics)
        self._core.hub.touch()
        pings = asyncio.create_task(self._ping(socket))
        try:
            async for frame in socket:
                if frame.type is WSMsgType.TEXT:
                    self._heard(str(frame.data))
        finally:
            pings.cancel()
            self._open.pop(name, None)
            self._core.hub.touch()
        return socket

    async def _ping(self, socket: web.WebSocketResponse) -> None:
        while not socket.closed:
            await asyncio.sleep(_PING_S)
            data = json.dumps({"opaque": secrets.token_hex(8)})
            await socket.send_json(_frame("SYSTEM", "ping", secrets.token_hex(12), data))

    def _heard(self, raw: str) -> None:
        try:
            ack = json.loads(raw)
            message_id = ack["headers"]["messageId"]
        except (ValueError, TypeError, KeyError):
            self._core.violate("dingtalk", "stream_frame", "a frame from the app is no acknowledgement")
            return
        pending = self._pending.get(message_id)
        if pending is None or pending.acked.done():
            return
        pending.record["latency_ms"] = round((time.perf_counter() - pending.sent) * 1000, 3)
        pending.record["is_acked"] = ack.get("code") == 200
        pending.record["ack"] = ack
        pending.acked.set_result(ack)

    async def push(self, topic: str, data: Json) -> Outcome:
        """Send a callback; answers after its first attempt, redelivery goes on by itself."""
        self.last = _frame("CALLBACK", topic, secrets.token_hex(12), json.dumps(data, ensure_ascii=False))
        return await self.send(self.last)

    async def send(self, frame: Json) -> Outcome:
        """Send a frame, maybe again."""
        self._pending.pop(frame["headers"]["messageId"], None)
        outcome = await self._attempt(frame, 0)
        if outcome.error:
            self._tasks.start(self._retry(frame))
        return outcome

    async def _retry(self, frame: Json) -> None:
        for number in range(1, _RETRIES + 1):
            outcome = await self._attempt(frame, number)
            if not outcome.error:
                return
            if outcome.error != "timeout":
                await asyncio.sleep(self._core.options.dingtalk_ack_timeout_s)

    async def _attempt(self, frame: Json, number: int) -> Outcome:
        headers = frame["headers"]
        record = self._core.deliveries.add(
            {
                "platform": "dingtalk",
                "via": "stream",
                "kind": headers["topic"],
                "envelope_id": headers["messageId"],
                "attempt": number,
                "payload": json.loads(frame["data"]),
                "is_acked": False,
                "ack": None,
                "latency_ms": None,
                "error": None,
            }
        )
        outcome = await self._sent(frame, record)
        record["error"] = outcome.error
        self._core.hub.touch()
        return outcome

    async def _sent(self, frame: Json, record: Json) -> Outcome:
        headers = frame["headers"]
        able = [name for name, one in self._open.items() if f"{frame['type']} {headers['topic']}" in one.topics]
        if not able:
            return Outcome(error="no_connection")
        message_id = headers["messageId"]
        pending = self._pending.get(message_id)
        if pending is None or pending.acked.done():
            pending = _Pending(asyncio.get_running_loop().create_future(), 0.0, record)
            self._pending[message_id] = pending
            if len(self._pending) > _KEPT:
                self._pending.popitem(last=False)
        self._turn += 1
        record["connection"] = name = able[self._turn % len(able)]
        pending.record, pending.sent = record, time.perf_counter()
        frame = frame | {"headers": headers | {"connectionId": name}}
        try:
            await self._open[name].socket.send_str(json.dumps(frame, ensure_ascii=False))
        except (ConnectionError, RuntimeError):
            return Outcome(error="connection_lost")
        done, _ = await asyncio.wait({pending.acked}, timeout=self._core.options.dingtalk_ack_timeout_s)
        if not done:
            return Outcome(error="timeout")
        return _read_ack(pending.acked.result(), record["latency_ms"])

    async def disconnect(self, reason: str) -> int:
        """Tell every connection to go, and close it after a while as DingTalk does (`drop` cuts at once)."""
        connections = list(self._open.values())
        for one in connections:
            if reason == "drop":
                if one.transport is not None:
                    one.transport.abort()
                continue
            data = json.dumps({"reason": reason})
            await one.socket.send_json(_frame("SYSTEM", "disconnect", secrets.token_hex(12), data))
            self._tasks.start(_close_later(one.socket))
        return len(connections)

    def cancel(self) -> None:
        """Give up the redeliveries that are under way."""
        self._tasks.cancel()

    async def close(self) -> None:
        """End everything, at the end."""
        await self._tasks.close()
        for one in list(self._open.values()):
            await one.socket.close()


async def _close_later(socket: web.WebSocketResponse) -> None:
    await asyncio.sleep(10)
    await socket.close()


def _read_ack(ack: Json, latency_ms: float | None) -> Outcome:
    code = ack.get("code")
    try:
        data = json.loads(ack.get("data") or "{}")
    except (ValueError, TypeError):
        return Outcome(error="bad_ack", latency_ms=latency_ms)
    response = data.get("response") if isinstance(data, dict) else None
    return Outcome(response, code, latency_ms, None if code == 200 else f"code_{code}")


def _frame(kind: str, topic: str, message_id: str, data: str) -> Json:
    return {
        "specVersion": "1.0",
        "type": kind,
        "headers": {
            "appId": world.DINGTALK_CLIENT_ID,
            "connectionId": "",
            "contentType": "application/json",
            "messageId": message_id,
            "time": str(int(time.time() * 1000)),
            "topic": topic,
        },
        "data": data,
    }
