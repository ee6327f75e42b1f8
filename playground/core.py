"""What both platforms share: settings, records, faults, budgets, and the door through which every call comes in."""

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from aiohttp import web

from playground.budgets import Budgets
from playground.faults import Fault, FaultKind, Faults, drop_connection, hold
from playground.hub import Hub
from playground.journal import Journal
from playground.options import Json, Options


@dataclass(frozen=True, slots=True)
class Answer:
    """What a platform answers: a status, a JSON body or a text, and headers."""

    body: object
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)

    def response(self) -> web.Response:
        """The answer on the wire."""
        if isinstance(self.body, str):
            kind = "text/html" if self.body.startswith("<") else "text/plain"
            return web.Response(text=self.body, status=self.status, headers=self.headers, content_type=kind)
        raw = json.dumps(self.body, ensure_ascii=False).encode()
        return web.Response(body=raw, status=self.status, headers=self.headers, content_type="application/json")


@dataclass(frozen=True, slots=True)
class Incoming:
    """A call as it came in, before anything was checked."""

    platform: str
    method: str
    place: str
    arguments: Json


class Core:
    """The state that is neither Slack's nor DingTalk's."""

    def __init__(self, options: Options) -> None:
        self.started_with = options
        self.options = options
        self.hub = Hub()
        self.calls = Journal(options.calls_kept)
        self.deliveries = Journal(options.calls_kept)
        self.violations = Journal(500)
        self.faults = Faults()
        self.budgets = Budgets()
        self.public_url = ""

    def reset(self) -> None:
        """Back to how it was at the start; numbers begin at 1 again."""
        self.options = self.started_with
        for journal in (self.calls, self.deliveries, self.violations):
            journal.clear()
        self.faults.rules.clear()
        self.budgets.clear()

    def violate(self, platform: str, rule: str, text: str) -> None:
        """Record that the bot broke a platform's protocol in a way that the platform itself would not mention."""
        self.violations.add({"platform": platform, "rule": rule, "text": text})
        self.hub.touch()

    def spend(self, key: str, *, limit: int, window_s: float) -> float:
        """Count a call against a budget: 0, or the seconds to wait; always 0 while budgets are lifted."""
        if not self.options.budgets:
            return 0.0
        return self.budgets.spend(key, limit=limit, window_s=window_s, now=time.monotonic())

    async def receive(
        self,
        request: web.Request,
        incoming: Incoming,
        work: Callable[[], Answer],
        throttled: Callable[[int], Answer],
    ) -> web.Response:
        """Apply faults, do the work, record the call and answer it."""
        fault = self.faults.take(incoming.platform, incoming.method, incoming.place)
        await hold(fault)
        answer = _instead(fault, throttled) or work()
        is_lost = fault is not None and fault.kind in {FaultKind.LOST_ANSWER, FaultKind.DOWN}
        record: Json = {
            "time": time.time(),
            "platform": incoming.platform,
            "method": incoming.method,
            "place": incoming.place,
            "arguments": incoming.arguments,
            "answer": answer.body,
            "status": answer.status,
        }
        if fault is not None:
            record["fault"] = str(fault.kind)
        self.calls.add(record)
        self.hub.touch()
        return drop_connection(request) if is_lost else answer.response()


def _instead(fault: Fault | None, throttled: Callable[[int], Answer]) -> Answer | None:
    """The answer of a fault that keeps the work from being done."""
    match fault.kind if fault else None:
        case FaultKind.DOWN:
            return Answer(None, 0)
        case FaultKind.STATUS if fault:
            return Answer(fault.body, fault.status)
        case FaultKind.RETRY_AFTER if fault:
            return throttled(fault.retry_after)
        case _:
            return None


def json_object(raw: bytes) -> Json:
    """A body as a JSON object; an empty one where it is not."""
    try:
        given = json.loads(raw or b"{}")
    except ValueError:
        return {}
    return given if isinstance(given, dict) else {}
