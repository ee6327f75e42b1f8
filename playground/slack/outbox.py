"""What Slack sends to the app: over Socket Mode or signed HTTP, with acknowledgement, redelivery and records.

Retries: https://docs.slack.dev/apis/events-api#retries. Signing: https://docs.slack.dev/authentication/verifying-requests-from-slack
"""

import asyncio
import hashlib
import hmac
import json
import time
import uuid
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlencode

import aiohttp

from playground import world
from playground.core import Core
from playground.options import Json
from playground.slack.socket import Sockets
from playground.tasks import Tasks

EVENTS: Final = "events_api"
INTERACTIVE: Final = "interactive"
COMMANDS: Final = "slash_commands"


@dataclass(frozen=True, slots=True)
class Outcome:
    """How the first attempt ended: `error` is what Slack would name it, None once acknowledged in time."""

    payload: object = None
    latency_ms: float | None = None
    error: str | None = None

    @property
    def is_acked(self) -> bool:
        """Whether the app answered in time."""
        return self.error is None


class Outbox:
    """Deliveries to the app."""

    def __init__(self, core: Core, sockets: Sockets) -> None:
        self._core = core
        self._sockets = sockets
        self._tasks = Tasks()
        self._session: aiohttp.ClientSession | None = None
        self.last: Json | None = None

    async def deliver(self, kind: str, payload: Json) -> Outcome:
        """Send a payload; answers after its first attempt, the retries go on by themselves."""
        envelope: Json = {
            "envelope_id": str(uuid.uuid4()),
            "type": kind,
            "payload": payload,
            "accepts_response_payload": kind != EVENTS,
        }
        return await self.send(envelope)

    async def send(self, envelope: Json) -> Outcome:
        """Send an envelope, maybe again; what was acknowledged before is not waited for."""
        self.last = envelope
        self._sockets.forget(str(envelope["envelope_id"]))
        outcome = await self._attempt(envelope, 0, None)
        if not outcome.is_acked:
            self._tasks.start(self._retry(envelope, outcome))
        return outcome

    async def _retry(self, envelope: Json, outcome: Outcome) -> None:
        delays = self._core.options.slack_event_retries_s
        is_event = envelope["type"] == EVENTS
        if not is_event:
            delays = delays[:1] if self._core.options.slack_mode == "socket" else ()
        for number, delay in enumerate(delays, 1):
            if outcome.is_acked or outcome.error == "no_retry":
                return
            await asyncio.sleep(delay)
            outcome = await self._attempt(envelope, number, outcome.error)

    async def _attempt(self, envelope: Json, number: int, reason: str | None) -> Outcome:
        record = self._core.deliveries.add(
            {
                "platform": "slack",
                "via": self._core.options.slack_mode,
                "kind": envelope["type"],
                "envelope_id": envelope["envelope_id"],
                "attempt": number,
                "payload": envelope["payload"],
                "is_acked": False,
                "ack": None,
                "latency_ms": None,
                "error": None,
            }
        )
        if self._core.options.slack_mode == "http":
            outcome = await self._over_http(envelope, record, number, reason)
        else:
            outcome = await self._over_socket(envelope, record, number, reason)
        record["error"] = outcome.error
        self._core.hub.touch()
        return outcome

    async def _over_socket(self, envelope: Json, record: Json, number: int, reason: str | None) -> Outcome:
        if number:
            envelope = envelope | {"retry_attempt": number, "retry_reason": reason or "timeout"}
        timeout_s = self._core.options.slack_ack_timeout_s
        deadline = time.monotonic() + timeout_s
        pending = await self._sockets.send(envelope, record, timeout_s)
        if pending is None:
            return Outcome(error="connection_failed")
        left = max(deadline - time.monotonic(), 0.01)
        done, _ = await asyncio.wait({pending.acked}, timeout=left)
        if not done:
            return Outcome(error="timeout")
        return Outcome(pending.acked.result(), record["latency_ms"])

    async def _over_http(self, envelope: Json, record: Json, number: int, reason: str | None) -> Outcome:
        kind, payload = str(envelope["type"]), envelope["payload"]
        headers, body = _http_body(kind, payload)
        headers |= signed(body)
        if number:
            headers |= {"X-Slack-Retry-Num": str(number), "X-Slack-Retry-Reason": reason or "http_error"}
        started = time.perf_counter()
        try:
            async with self._http().post(
                self._core.options.bot_url.rstrip("/") + self._core.options.bot_path,
                data=body,
                headers=headers,
                timeout=aiohttp.ClientTimeout(total=self._core.options.slack_ack_timeout_s),
                allow_redirects=False,
            ) as answer:
                text = await answer.text()
        except TimeoutError:
            return Outcome(error="http_timeout")
        except aiohttp.ClientError:
            return Outcome(error="connection_failed")
        record["latency_ms"] = latency = round((time.perf_counter() - started) * 1000, 3)
        record["status"] = answer.status
        if not 200 <= answer.status < 300:
            return Outcome(error="no_retry" if answer.headers.get("X-Slack-No-Retry") == "1" else "http_error")
        record["is_acked"], record["ack"] = True, _parsed(text)
        return Outcome(record["ack"], latency)

    def _http(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession()
        return self._session

    def cancel(self) -> None:
        """Give up the retries that are under way."""
        self._tasks.cancel()

    async def close(self) -> None:
        """End everything, at the end."""
        await self._tasks.close()
        if self._session is not None:
            await self._session.close()


def signed(body: bytes, now: int | None = None) -> dict[str, str]:
    """The headers with which Slack signs a body."""
    timestamp = str(int(time.time()) if now is None else now)
    base = b"v0:" + timestamp.encode() + b":" + body
    digest = hmac.new(world.SLACK_SIGNING_SECRET.encode(), base, hashlib.sha256).hexdigest()
    return {"X-Slack-Request-Timestamp": timestamp, "X-Slack-Signature": f"v0={digest}"}


def _http_body(kind: str, payload: Json) -> tuple[dict[str, str], bytes]:
    if kind == EVENTS:
        return {"Content-Type": "application/json"}, json.dumps(payload, ensure_ascii=False).encode()
    form = payload if kind == COMMANDS else {"payload": json.dumps(payload, ensure_ascii=False)}
    fields = {key: "" if value is None else str(value) for key, value in form.items()}
    return {"Content-Type": "application/x-www-form-urlencoded"}, urlencode(fields).encode()


def _parsed(text: str) -> object:
    if not text.strip():
        return None
    try:
        return json.loads(text)
    except ValueError:
        return text
