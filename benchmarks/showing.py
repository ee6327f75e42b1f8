"""Starts and ends of builds sent at an even pace, and when the playground's record of calls shows each of them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any
from uuid import uuid4

from benchmarks.driver import paced
from benchmarks.harness import calls, last_call, wait_until
from benchmarks.signed import build_event, webhook

CONNECTIONS = 8
SETTLED_S = 60.0
_SUBJECT = re.compile(r"(project-\d+) ?#(\d+)")
_METHODS = {"build.started": "chat.postMessage", "build.finished": "chat.update"}


@dataclass(frozen=True, slots=True)
class Said:
    """One event of a subject, and when it was due to be sent (seconds since 1970)."""

    channel: int
    number: int
    event: str
    at: float = 0.0

    @property
    def subject(self) -> str:
        """As cards write it."""
        return f"{project(self.channel)}#{self.number}"

    def ended(self) -> Said:
        """The end of the same build."""
        return replace(self, event="build.finished")


def drive(port: int, playground: int, wanted: Sequence[Said], rate: float) -> list[tuple[Said, float]]:
    """Send the events, so many a second; each with its time and that of the first call that showed it.

    TimeoutError where not all are shown.
    """
    before = last_call(playground)
    load = paced(port, [_request(port, one) for one in wanted], CONNECTIONS, rate)
    if set(load.statuses) != {202}:
        raise RuntimeError(f"not all were accepted: {dict(load.statuses)}")
    said = [replace(one, at=load.sent_at[place]) for place, one in enumerate(wanted)]
    # To write out its record takes the playground 10 ms, in which it answers nobody: it is asked how long it is before.
    wait_until(lambda: last_call(playground) - before >= len(wanted), SETTLED_S, "all calls are made", pause_s=0.05)
    wait_until(lambda: len(_made(playground, before)) >= len(wanted), SETTLED_S, "all cards are shown", pause_s=0.1)
    return list(_shown(said, _made(playground, before)))


def channels(count: int) -> dict[str, str]:
    """The routes: a channel for each project."""
    return {project(channel): f"#channel-{channel}" for channel in range(count)}


def project(channel: int) -> str:
    """The project whose builds are shown in a channel."""
    return f"project-{channel}"


def _shown(said: Sequence[Said], made: Sequence[dict[str, Any]]) -> Iterator[tuple[Said, float]]:
    first: dict[tuple[str, str], float] = {}
    for call in made:
        named = _SUBJECT.search(call["arguments"]["text"])
        subject = f"{named[1]}#{named[2]}" if named else ""
        first.setdefault((subject, call["method"]), call["time"])
    for one in said:
        if (key := (one.subject, _METHODS[one.event])) in first:
            yield one, first[key]


def _made(playground: int, since: int) -> list[dict[str, Any]]:
    return [call for call in calls(playground, since=since) if _is_shown(call)]


def _is_shown(call: dict[str, Any]) -> bool:
    return call["method"] in _METHODS.values() and call["status"] == 200 and bool(call["answer"].get("ok"))


def _request(port: int, one: Said) -> bytes:
    more = {"status": "success"} if one.event == "build.finished" else {}
    return webhook(port, str(uuid4()), build_event(project(one.channel), one.number, one.event, **more))
