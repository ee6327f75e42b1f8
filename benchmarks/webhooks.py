"""Accepted webhooks a second and their p99, beside a minimal door that commits one row a request."""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import UTC, datetime
from statistics import median
from typing import Any

from benchmarks.databases import durable_postgres
from benchmarks.driver import Load, closed, paced, percentile
from benchmarks.harness import Ground, Report, slack_settings
from benchmarks.signed import build_event, webhook
from playground.loopback import free_port

CONNECTIONS = 16
REQUESTS = 3000
ROUNDS = 6
PACE = 200.0
PACED_REQUESTS = 600
Pairs = list[tuple[Load, Load]]
BUILD_LIFE: tuple[tuple[str, dict[str, Any]], ...] = (
    ("build.started", {}),
    ("build.progressed", {"stages": [{"name": "compile", "status": "running"}]}),
    ("build.finished", {"status": "success"}),
)


def measure(ground: Ground, report: Report) -> None:
    """On SQLite, then on PostgreSQL with durable commits."""
    report.say("on SQLite:")
    full, same = _compare(ground, report, str(ground.folder / "yardstick.db"), {})
    _judge_rate(report, full, "SQLite", 0.6)
    report.judge("p99 at the same rate on SQLite, against the yardstick's", _tail(same), 1.0)
    with durable_postgres() as server:
        report.say("on PostgreSQL:")
        yardstick = server.url(server.fresh()).replace("+psycopg", "")
        full, same = _compare(ground, report, yardstick, {"database_url": server.url(server.fresh())})
        _judge_rate(report, full, "PostgreSQL", 0.45)
        report.say(f"p99 at the same rate, against the yardstick's: {_tail(same):.2f}")


def _compare(ground: Ground, report: Report, database: str, ours: Mapping[str, Any]) -> tuple[Pairs, Pairs]:
    """Alternate rounds between `shipmate web` and the yardstick, which get the same requests."""
    yardstick_port = free_port()
    door = ground.gunicorn("benchmarks.yardstick:webhook_door()", yardstick_port, YARDSTICK_DATABASE=database)
    bot, port = ground.bot({**slack_settings(free_port(), {"*": "#ci"}), **ours}, "web")
    full = [(_full(port, number), _full(yardstick_port, number)) for number in range(ROUNDS + 1)][1:]
    _say(report, "as fast as each can", full)
    same = [(_paced(port, number), _paced(yardstick_port, number)) for number in range(ROUNDS)]
    _say(report, f"{PACE:.0f}/s to both", same)
    ground.stop(bot)
    ground.stop(door)
    return full, same


def _judge_rate(report: Report, full: Pairs, database: str, least: float) -> None:
    ratios = [mine.rate / other.rate for mine, other in full]
    report.say(f"accept rate, rounds from {min(ratios):.2f} to {max(ratios):.2f} of the yardstick's")
    report.judge(f"accept rate on {database}, against the yardstick's", median(ratios), least, at_least=True)
    report.say(f"p99 as fast as each can, against the yardstick's: {_tail(full):.2f}")


def _full(port: int, number: int) -> Load:
    return _accepted(closed(port, _requests(port, f"full-{number}", REQUESTS), CONNECTIONS))


def _paced(port: int, number: int) -> Load:
    return _accepted(paced(port, _requests(port, f"paced-{number}", PACED_REQUESTS), CONNECTIONS, PACE))


def _accepted(load: Load) -> Load:
    if set(load.statuses) != {202}:
        raise RuntimeError(f"not all were accepted: {dict(load.statuses)}")
    return load


def _say(report: Report, how: str, pairs: Pairs) -> None:
    for name, loads in (("shipmate web", [pair[0] for pair in pairs]), ("yardstick", [pair[1] for pair in pairs])):
        report.say(
            f"{how}, {name}: {median(load.rate for load in loads):.0f}/s, p50 {_ms(loads, 0.5):.2f} ms, "
            f"p99 {_ms(loads, 0.99):.2f} ms, driver at {median(load.driver_share for load in loads):.0%} of a core"
        )


def _tail(pairs: Pairs) -> float:
    return _ms([pair[0] for pair in pairs], 0.99) / _ms([pair[1] for pair in pairs], 0.99)


def _requests(port: int, name: str, count: int) -> list[bytes]:
    """Whole lives of builds, all of them new."""
    lives, now = count // len(BUILD_LIFE), time.time()
    return [
        webhook(
            port,
            f"{event}-{name}-{life}",
            build_event(f"service-{name}", life, event, **_at(now + life + step), **more),
        )
        for life in range(lives)
        for step, (event, more) in enumerate(BUILD_LIFE)
    ]


def _at(seconds: float) -> dict[str, str]:
    return {"occurred_at": datetime.fromtimestamp(seconds, UTC).isoformat()}


def _ms(loads: list[Load], share: float) -> float:
    return 1000 * percentile([one for load in loads for one in load.latencies_s], share)
