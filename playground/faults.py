"""Faults on demand: what goes wrong, for which calls, and how often."""

import asyncio
import math
import socket
import struct
from dataclasses import dataclass
from enum import StrEnum
from fnmatch import fnmatchcase

from aiohttp import web

from playground.options import Json


class FaultKind(StrEnum):
    """The ways in which a platform fails its clients."""

    DOWN = "down"
    SLOW = "slow"
    STATUS = "status"
    LOST_ANSWER = "lost_answer"
    RETRY_AFTER = "retry_after"


_DEFAULT_HTML = "<html><body><h1>Server Error</h1></body></html>"
_KEYS = frozenset({"platform", "method", "place", "kind", "times", "delay_s", "status", "body", "retry_after"})


@dataclass(slots=True)
class Fault:
    """One rule; `platform`, `method` and `place` are globs, `times` counts down and None means always."""

    kind: FaultKind
    platform: str = "*"
    method: str = "*"
    place: str = "*"
    times: int | None = None
    delay_s: float = 1.0
    status: int = 500
    body: object = _DEFAULT_HTML
    retry_after: int = 1

    def shown(self) -> Json:
        """The rule as the control API writes it."""
        answer: Json = {"kind": str(self.kind), "platform": self.platform, "method": self.method, "place": self.place}
        answer["times"] = self.times
        match self.kind:
            case FaultKind.SLOW:
                answer["delay_s"] = self.delay_s
            case FaultKind.STATUS:
                answer |= {"status": self.status, "body": self.body}
            case FaultKind.RETRY_AFTER:
                answer["retry_after"] = self.retry_after
            case _:
                pass
        return answer


def parse_fault(given: object) -> Fault:
    """Read one fault of the control API; ValueError says what is wrong with it."""
    if not isinstance(given, dict):
        raise ValueError("a fault is a JSON object")
    if unknown := sorted(set(given) - _KEYS):
        raise ValueError(f"a fault has no {', '.join(unknown)}; known: {', '.join(sorted(_KEYS))}")
    try:
        kind = FaultKind(str(given.get("kind")))
    except ValueError:
        raise ValueError(f"kind is one of {', '.join(FaultKind)}") from None
    times = given.get("times")
    return Fault(
        kind=kind,
        platform=str(given.get("platform", "*")),
        method=str(given.get("method", "*")),
        place=str(given.get("place", "*")),
        times=None if times is None else int(times),
        delay_s=float(given.get("delay_s", 1.0)),
        status=int(given.get("status", 500)),
        body=given.get("body", _DEFAULT_HTML),
        retry_after=math.ceil(float(given.get("retry_after", 1))),
    )


class Faults:
    """The list of faults now in force."""

    def __init__(self) -> None:
        self.rules: list[Fault] = []

    def take(self, platform: str, method: str, place: str) -> Fault | None:
        """The first fault that applies to this call; its `times` is counted down."""
        for rule in self.rules:
            if rule.times == 0:
                continue
            if (
                fnmatchcase(platform, rule.platform)
                and fnmatchcase(method, rule.method)
                and (fnmatchcase(place, rule.place) or rule.place.lstrip("#") == place.lstrip("#"))
            ):
                if rule.times is not None:
                    rule.times -= 1
                return rule
        return None


async def hold(fault: Fault | None) -> None:
    """Wait as long as a slow fault says."""
    if fault is not None and fault.kind is FaultKind.SLOW:
        await asyncio.sleep(fault.delay_s)


def drop_connection(request: web.Request) -> web.Response:
    """Reset the caller's connection, so that it sees no answer at all."""
    transport = request.transport
    if transport is not None:
        raw = transport.get_extra_info("socket")
        if raw is not None:
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        transport.abort()
    return web.Response()
