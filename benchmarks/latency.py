"""Webhook to card: when the playground shows what a webhook said, with budgets lifted and with budgets on."""

from __future__ import annotations

import random
import re
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.driver import paced, percentile
from benchmarks.harness import Ground, Report, calls, slack_settings, wait_until
from benchmarks.signed import build_event, webhook

CHANNELS = 50
SUBJECTS = 200
RATE = 50.0
CONNECTIONS = 8
WARM_UP = 50
PLACE_INTERVAL_S = 1.0
FINALS_WITHIN_BURST = 20  # of the 25 updates that the workspace's budget lets go at once
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
        return f"{_project(self.channel)}#{self.number}"


def measure(ground: Ground, report: Report) -> None:
    """Send starts and ends at an even pace and look at the playground's own record of calls."""
    playground = _playground(ground, "--no-budgets")
    bot, port = ground.bot(slack_settings(playground, _routed(), budgets={"lifted": True}))
    started = [Said(one % CHANNELS, one // CHANNELS, "build.started") for one in range(SUBJECTS)]
    ended = [Said(one.channel, one.number, "build.finished") for one in started]
    _drive(port, playground, [Said(one.channel, one.number + 1000, one.event) for one in started[:WARM_UP]])
    said = _drive(port, playground, [*started, *ended])
    waits = [shown - one.at for one, shown in _shown(playground, said)]
    report.say(f"budgets lifted: {len(waits)} of {len(said)} shown, max {1000 * max(waits):.1f} ms")
    report.judge("webhook to card, p50", 1000 * percentile(waits, 0.5), 15, unit=" ms")
    report.judge("webhook to card, p99", 1000 * percentile(waits, 0.99), 50, unit=" ms")
    ground.stop(bot)
    _with_budgets(ground, report)


def _with_budgets(ground: Ground, report: Report) -> None:
    """The same in random order, so that channels get more than one at a time; only what goes beyond counts."""
    playground = _playground(ground)
    _, port = ground.bot(slack_settings(playground, _routed()))
    order = random.Random(2)  # the same order in every run
    started = [Said(one % CHANNELS, one // CHANNELS, "build.started") for one in range(SUBJECTS)]
    order.shuffle(started)
    ended = [Said(one.channel, one.number, "build.finished") for one in started[:FINALS_WITHIN_BURST]]
    said = _drive(port, playground, [*started, *ended])
    refused = sum(1 for call in calls(playground) if call["status"] == 429)
    found = list(_shown(playground, said))
    allowed = _earliest([one for one, _ in found])
    waits = [max(0.0, shown - allowed[one]) for one, shown in found]
    imposed = [allowed[one] - one.at for one, _ in found]
    report.say(f"budgets on: {len(waits)} of {len(said)} shown, {refused} calls refused by the platform")
    report.say(f"the budget alone makes them wait: p50 {percentile(imposed, 0.5):.2f} s, max {max(imposed):.2f} s")
    report.say(f"beyond the budget, p50: {percentile(waits, 0.5):.3f} s")
    report.judge("beyond the budget, p99", percentile(waits, 0.99), 1.0, unit=" s")


def _earliest(said: Sequence[Said]) -> dict[Said, float]:
    """When an ideal sender would show each: one call a second and channel, in the order of the events."""
    free: dict[int, float] = defaultdict(float)
    allowed = {}
    for one in sorted(said, key=lambda one: one.at):
        allowed[one] = max(one.at, free[one.channel])
        free[one.channel] = allowed[one] + PLACE_INTERVAL_S
    return allowed


def _drive(port: int, playground: int, wanted: Sequence[Said]) -> list[Said]:
    """Send the events; returns them with their times once all are shown."""
    known = _count(playground)
    requests = [_request(port, one) for one in wanted]
    load = paced(port, requests, CONNECTIONS, RATE)
    if set(load.statuses) != {202}:
        raise RuntimeError(f"not all were accepted: {dict(load.statuses)}")

    wait_until(lambda: _count(playground) >= known + len(wanted), SETTLED_S, "all cards are shown", pause_s=0.5)
    return [Said(one.channel, one.number, one.event, load.sent_at[place]) for place, one in enumerate(wanted)]


def _shown(playground: int, said: Iterable[Said]) -> Iterator[tuple[Said, float]]:
    """Each event with the time of the first call that showed it."""
    first: dict[tuple[str, str], float] = {}
    for call in calls(playground):
        if _is_shown(call):
            named = _SUBJECT.search(call["arguments"]["text"])
            subject = f"{named[1]}#{named[2]}" if named else ""
            first.setdefault((subject, call["method"]), call["time"])
    for one in said:
        if (key := (one.subject, _METHODS[one.event])) in first:
            yield one, first[key]


def _count(playground: int) -> int:
    return sum(1 for call in calls(playground) if _is_shown(call))


def _is_shown(call: dict[str, Any]) -> bool:
    return call["method"] in _METHODS.values() and call["status"] == 200 and bool(call["answer"].get("ok"))


def _request(port: int, one: Said) -> bytes:
    more = {"status": "success"} if one.event == "build.finished" else {}
    body = build_event(_project(one.channel), one.number, one.event, **more)
    return webhook(port, f"{one.event}-{one.subject}-{time.monotonic_ns()}", body)


def _playground(ground: Ground, *arguments: str) -> int:
    channels = [word for channel in _routed().values() for word in ("--channel", channel)]
    return ground.playground(*channels, *arguments)


def _routed() -> dict[str, str]:
    return {_project(channel): f"#channel-{channel}" for channel in range(CHANNELS)}


def _project(channel: int) -> str:
    return f"project-{channel}"
