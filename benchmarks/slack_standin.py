"""Slack's Web API as far as posting needs it, each answer after the same delay: `python -m benchmarks.slack_standin`.

It takes a tenth of what a worker takes for a call, so that it is not what is measured. `GET /posts` says when each post
came; `GET /last` is the last one's body.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from email.utils import formatdate
from itertools import count
from typing import Any
from urllib.parse import parse_qs

CHANNELS = 200
_IDENTITY = {"ok": True, "team_id": "T1", "team": "bench", "user_id": "U1", "user": "shipmate", "bot_id": "B1"}
_CHANNELS = [{"id": f"C{number}", "name": f"channel-{number}"} for number in range(CHANNELS)]


class StandIn:
    """What was posted since `GET /posts` was asked last."""

    def __init__(self, delay_s: float) -> None:
        self.delay_s = delay_s
        self.posts: list[float] = []
        self.last: dict[str, Any] = {}
        self._numbers = count(1)

    def answer(self, target: str, body: bytes) -> dict[str, Any]:
        """The answer to a request, whatever its delay."""
        match target.rpartition("/")[2]:
            case "posts":
                posts, self.posts = self.posts, []
                return {"posts": posts}
            case "last":
                return self.last
            case "chat.postMessage":
                self.posts.append(time.time())
                self.last = _arguments(body)
                return {"ok": True, "channel": self.last["channel"], "ts": f"1700000000.{next(self._numbers):06d}"}
            case "users.conversations":
                return {"ok": True, "channels": _CHANNELS, "response_metadata": {"next_cursor": ""}}
            case _:
                return _IDENTITY


class Connection(asyncio.Protocol):
    """One kept-alive connection, one request at a time."""

    def __init__(self, stand_in: StandIn) -> None:
        self._stand_in = stand_in
        self._received = bytearray()
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Somebody calls."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, chunk: bytes) -> None:
        """A part of a request, or all of it."""
        self._received += chunk
        head, found, body = bytes(self._received).partition(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0] or 0)
        if not found or len(body) < length:
            return
        self._received.clear()
        method, target, _ = head.partition(b"\r\n")[0].decode().split(" ")
        answer = json.dumps(self._stand_in.answer(target, body)).encode()
        delay_s = self._stand_in.delay_s if method == "POST" else 0.0
        asyncio.get_running_loop().call_later(delay_s, self._send, answer)

    def _send(self, answer: bytes) -> None:
        assert self._transport is not None
        head = f"HTTP/1.1 200 OK\r\nDate: {formatdate(usegmt=True)}\r\nContent-Type: application/json\r\n"
        self._transport.write(f"{head}Content-Length: {len(answer)}\r\n\r\n".encode() + answer)


def _arguments(body: bytes) -> dict[str, Any]:
    if body.startswith(b"{"):
        return dict(json.loads(body))
    return {name: values[-1] for name, values in parse_qs(body.decode()).items()}


async def serve(port: int, delay_s: float) -> None:
    """Answer until the process is ended."""
    stand_in = StandIn(delay_s)
    server = await asyncio.get_running_loop().create_server(lambda: Connection(stand_in), "127.0.0.1", port)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1]), float(sys.argv[2])))
