"""Accepted webhooks a second and their p99, beside a minimal door that commits one row a request."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime
from statistics import median

from benchmarks.driver import Load, closed, percentile
from benchmarks.harness import Ground, Report, slack_settings
from benchmarks.signed import build_event, webhook
from playground.loopback import free_port

CONNECTIONS = 16
REQUESTS = 3000
ROUNDS = 6
BUILD_LIFE = (
    ("build.started", {}),
    ("build.progressed", {"stages": [{"name": "compile", "status": "running"}]}),
    ("build.finished", {"status": "success"}),
)


def measure(ground: Ground, report: Report) -> None:
    """Alternate rounds between `shipmate web` and the yardstick, which get the same requests."""
    yardstick_port = free_port()
    ground.gunicorn(
        "benchmarks.yardstick:webhook_door()", yardstick_port, YARDSTICK_DATABASE=str(ground.folder / "yardstick.db")
    )
    _, port = ground.bot(slack_settings(free_port(), {"*": "#ci"}), "web")
    ours, theirs = _rounds(port), _rounds(yardstick_port)
    pairs = [(ours(number), theirs(number)) for number in range(ROUNDS + 1)][1:]
    for name, loads in (("shipmate web", [pair[0] for pair in pairs]), ("yardstick", [pair[1] for pair in pairs])):
        report.say(
            f"{name}: {median(load.rate for load in loads):.0f}/s, p50 {_ms(loads, 0.5):.2f} ms, "
            f"p99 {_ms(loads, 0.99):.2f} ms, driver at {median(load.driver_share for load in loads):.0%} of a core"
        )
    rate = median(mine.rate / other.rate for mine, other in pairs)
    tail = _ms([pair[0] for pair in pairs], 0.99) / _ms([pair[1] for pair in pairs], 0.99)
    report.judge("accept rate against the yardstick's", rate, 0.5, at_least=True)
    report.judge("p99 against the yardstick's", tail, 1.0)


def _rounds(port: int) -> Callable[[int], Load]:
    def drive(number: int) -> Load:
        load = closed(port, _requests(port, number), CONNECTIONS)
        if set(load.statuses) != {202}:
            raise RuntimeError(f"not all were accepted: {dict(load.statuses)}")
        return load

    return drive


def _requests(port: int, number: int) -> list[bytes]:
    """Whole lives of builds, all of them new."""
    lives, now = REQUESTS // len(BUILD_LIFE), time.time()
    return [
        webhook(
            port,
            f"{event}-{number}-{life}",
            build_event("user-service", number * lives + life, event, **_at(now + life + step), **more),
        )
        for life in range(lives)
        for step, (event, more) in enumerate(BUILD_LIFE)
    ]


def _at(seconds: float) -> dict[str, str]:
    return {"occurred_at": datetime.fromtimestamp(seconds, UTC).isoformat()}


def _ms(loads: list[Load], share: float) -> float:
    return 1000 * percentile([one for load in loads for one in load.latencies_s], share)
