"""One Stream connection, in the SDK's frames. Imported late: the SDK takes a fifth of a second to load."""

from __future__ import annotations

import asyncio
import json
import logging
import platform
from typing import Any
from urllib.parse import quote_plus

import aiohttp
import dingtalk_stream
import websockets
from dingtalk_stream import AckMessage, CallbackMessage, SystemMessage
from dingtalk_stream.version import VERSION_STRING

from bot.errors import AuthFailed, Unavailable
from bot.telemetry import logger
from handlers.dingtalk import BAD_REQUEST, FAILED, OK, PLATFORM, TOPIC_CARD, TOPIC_ROBOT, UNKNOWN_TOPIC, Door

OPEN_PATH = "/v1.0/gateway/connections/open"
CLOSE_S = 0.5
DRAIN_S = 1.0
PING_S = 20.0
MOST_WAITING = 500  # frames in hand, of a connection's

log = logger(__name__)
# The SDK logs whole frames, which carry bearer addresses: its logger leads nowhere.
_QUIET = logging.Logger("dingtalk_stream.quiet")
_QUIET.addHandler(logging.NullHandler())


class Session(dingtalk_stream.DingTalkStreamClient):  # type: ignore[misc]  # the SDK has no types
    """The SDK's client with what its loop lacks: time limits, a close, and acknowledgements by what was stored."""

    def __init__(self, client_id: str, client_secret: str, api_url: str, door: Door, *, timeout_s: float) -> None:
        super().__init__(dingtalk_stream.Credential(client_id, client_secret), _QUIET)
        self.was_sent_away = False
        self._url = f"{api_url}{OPEN_PATH}"
        self._door = door
        self._timeout_s = timeout_s
        self._tasks: set[asyncio.Task[None]] = set()

    async def connect(self) -> None:
        """Ask for an endpoint and connect to it with its ticket, which serves once, within 90 seconds."""
        async with asyncio.timeout(self._timeout_s):
            self.websocket = await websockets.connect(
                await self._open(),
                open_timeout=self._timeout_s,
                close_timeout=CLOSE_S,
                ping_interval=PING_S,
                ping_timeout=PING_S,
            )

    async def listen(self) -> None:
        """Handle frames until the connection ends or the gateway sends us away."""
        async for raw in self.websocket:
            frame = json.loads(raw)
            if _topic(frame) == (SystemMessage.TYPE, SystemMessage.TOPIC_DISCONNECT):
                self.was_sent_away = True
                return
            if len(self._tasks) >= MOST_WAITING:
                await self._handle(frame, is_full=True)
                continue
            task = asyncio.create_task(self._handle(frame))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        """Let acknowledgements under way go out, then close."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=DRAIN_S)
        if self.websocket is not None:
            await self.websocket.close()

    async def _open(self) -> str:
        topics = [{"type": CallbackMessage.TYPE, "topic": topic} for topic in (TOPIC_ROBOT, TOPIC_CARD)]
        body = {
            "clientId": self.credential.client_id,
            "clientSecret": self.credential.client_secret,
            "subscriptions": topics,
            "ua": f"dingtalk-sdk-python/v{VERSION_STRING} python/{platform.python_version()}",
            "localIp": "",
        }
        headers = {"Accept": "application/json"}  # the gateway answers XML otherwise
        async with (
            aiohttp.ClientSession(trust_env=True) as session,
            session.post(self._url, json=body, headers=headers, allow_redirects=False) as response,
        ):
            if response.status in (400, 401, 403):
                raise AuthFailed(PLATFORM, "stream_refused", f"http {response.status}")
            if response.status != OK:
                raise Unavailable(PLATFORM, "gateway_unavailable", f"http {response.status}")
            granted = await response.json(content_type=None)
        match granted:
            case {"endpoint": str(endpoint), "ticket": str(ticket)}:
                return f"{endpoint}?ticket={quote_plus(ticket)}"
            case _:
                raise Unavailable(PLATFORM, "unreadable_answer", "no endpoint")

    async def _handle(self, frame: dict[str, Any], *, is_full: bool = False) -> None:
        kind, topic = _topic(frame)
        if kind == SystemMessage.TYPE:
            ack = await self.system_handler.raw_process(SystemMessage.from_dict(frame))
        elif is_full:
            log.warning("dingtalk callback refused, too many wait, to be sent again", topic=topic)
            ack = _ack(frame, FAILED)
        elif kind == CallbackMessage.TYPE:
            ack = await self._take(topic, frame)
        else:
            ack = _ack(frame, UNKNOWN_TOPIC)
        try:
            await self.websocket.send(json.dumps(ack.to_dict()))
        except websockets.ConnectionClosed:
            log.info("dingtalk acknowledgement lost", topic=topic)  # the frame comes again and is known then

    async def _take(self, topic: str, frame: dict[str, Any]) -> AckMessage:
        try:
            message = CallbackMessage.from_dict(frame)
        except (ValueError, TypeError, AttributeError):
            return _ack(frame, BAD_REQUEST)
        if not isinstance(message.data, dict):
            return _ack(frame, BAD_REQUEST)
        code = await asyncio.to_thread(self._door.take, topic, message.headers.message_id or "", message.data)
        return _ack(frame, code)


def _ack(frame: dict[str, Any], code: int) -> AckMessage:
    """An acknowledgement whose empty response leaves a pressed card as it is; its new state comes as an update."""
    ack = AckMessage()
    ack.code = code
    ack.message = "OK" if code == OK else "not taken"
    headers = frame.get("headers")
    ack.headers.message_id = headers.get("messageId") if isinstance(headers, dict) else None
    ack.headers.content_type = "application/json"
    ack.data = {"response": {}}
    return ack


def _topic(frame: object) -> tuple[str, str]:
    if not isinstance(frame, dict):
        return "", ""
    headers = frame.get("headers")
    topic = headers.get("topic") if isinstance(headers, dict) else None
    return str(frame.get("type", "")), str(topic or "")
