"""Webhook to card beside a million old events, and while they are pruned, against a new database."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.click import press
from benchmarks.databases import analyse, durable_postgres, is_at_rest, open_engine
from benchmarks.driver import closed, percentile
from benchmarks.filling import repeat
from benchmarks.harness import Ground, Report, bot_command, secrets, slack_settings, wait_until
from benchmarks.showing import Said, channels, drive, project
from benchmarks.signed import build_event, slack_press, webhook
from playground import world
from playground.children import Child

CHANNELS = 50
RATE = 100.0
BUILDS = 100  # a round: each starts and ends
ROUNDS = 15
MODELS = 200  # builds, with five events each
PRESSES = 20
REPETITIONS = 1000
OLD_EVENTS = MODELS * 5 * REPETITIONS
AGE_S = 120 * 86400.0  # beyond every limit of retention but that for the last builds of a branch
SETTLED_S = 60.0


@dataclass
class Side:
    """One bot with its database."""

    name: str
    path: Path
    port: int
    url: str
    child: Child | None = None
    waits: list[float] = field(default_factory=list)
    rounds: int = 0

    def start(self, ground: Ground, module: str = "bot") -> None:
        """Start it."""
        command = [sys.executable, "-m", module, *bot_command(self.path)[3:]]
        self.child = ground.start("shipmate", command, f"http://127.0.0.1:{self.port}/readyz", **secrets())

    def stop(self, ground: Ground) -> None:
        """End it."""
        assert self.child is not None
        ground.stop(self.child)


def measure(ground: Ground, report: Report) -> None:
    """On SQLite, then on PostgreSQL with durable commits."""
    compare(ground, report, "SQLite", lambda number: f"sqlite:///{ground.folder / f'{number}.db'}")
    with durable_postgres() as server:
        compare(ground, report, "PostgreSQL", lambda _number: server.url(server.fresh()))


def compare(ground: Ground, report: Report, engine: str, database: Callable[[int], str]) -> None:
    """Rounds that alternate between a bot over a new database and one over an old one, which then prunes it."""
    playground = _playground(ground)
    new, old = (_side(ground, playground, name, database(number)) for number, name in enumerate(("new", "old")))
    for side in (new, old):
        side.start(ground)
        _live(side)
    old.stop(ground)
    _age(report, old)
    old.start(ground)
    _judge(report, playground, new, old, f"on {engine} beside {OLD_EVENTS:,} old events")
    old.stop(ground)
    old.start(ground, "benchmarks.pruning")
    _judge(report, playground, new, old, f"on {engine} while they are pruned")
    for side in (new, old):  # what comes next is not to share the machine with them
        side.stop(ground)


def _judge(report: Report, playground: int, new: Side, old: Side, what: str) -> None:
    for side in (new, old):
        side.waits = []
        _round(side, playground)  # what is slow only once is not measured
        side.waits = []
    for number in range(ROUNDS):
        for side in (new, old) if number % 2 else (old, new):
            _round(side, playground)
    for side in (new, old):
        report.say(
            f"{what}, {side.name} database: p50 {1000 * percentile(side.waits, 0.5):.2f} ms, "
            f"p99 {1000 * percentile(side.waits, 0.99):.2f} ms, max {1000 * max(side.waits):.1f} ms"
        )
    report.judge(f"webhook to card {what}, p99", percentile(old.waits, 0.99) / percentile(new.waits, 0.99), 1.2)


def _round(side: Side, playground: int) -> None:
    side.rounds += 1
    first = side.rounds * BUILDS
    started = [Said(one % CHANNELS, (first + one) // CHANNELS, "build.started") for one in range(BUILDS)]
    found = drive(side.port, playground, [*started, *(one.ended() for one in started)], RATE)
    side.waits += [shown - said.at for said, shown in found]


def _side(ground: Ground, playground: int, name: str, url: str) -> Side:
    settings = slack_settings(playground, channels(CHANNELS), mode="http", budgets={"lifted": True})
    for route in settings["routes"]:
        route |= {"group": {"more_than": 100, "per": "1m"}, "flapping": {"more_than": 100, "per": "1h"}}
    path, port = ground.configure({**settings, "database_url": url})
    return Side(name, path, port, url)


def _live(side: Side) -> None:
    """The lives that the history repeats: builds that end in all ways, and people's commands."""
    closed(side.port, [webhook(side.port, f"model-{n}", body) for n, body in enumerate(_lives())], 4)
    closed(side.port, [slack_press(side.port, _SECRET, press(number)) for number in range(PRESSES)], 1)
    engine = open_engine(side.url)
    wait_until(lambda: is_at_rest(engine), SETTLED_S, "all models are shown", pause_s=0.5)
    engine.dispose()


def _lives() -> Iterator[dict[str, Any]]:
    for number in range(MODELS):
        name, build = project(number % CHANNELS), f"model-{number // CHANNELS}"
        yield build_event(name, build)
        for stage in range(3):
            stages = [{"name": f"step {one}", "status": "success", "duration_s": 4.2} for one in range(stage)]
            yield build_event(name, build, "build.progressed", stages=stages)
        ended = "failed" if number // CHANNELS == 1 else "success"
        yield build_event(name, build, "build.finished", status=ended)


def _age(report: Report, side: Side) -> None:
    engine = open_engine(side.url)
    started = time.perf_counter()
    rows = repeat(engine, REPETITIONS, older_by_s=AGE_S)
    analyse(engine)
    engine.dispose()
    took_s = time.perf_counter() - started
    report.say(f"history: {', '.join(f'{count:,} {name}' for name, count in rows.items())} ({took_s:.0f} s)")


def _playground(ground: Ground) -> int:
    named = [word for channel in channels(CHANNELS).values() for word in ("--channel", channel)]
    return ground.playground("--no-budgets", "--slack-mode", "http", *named)


_SECRET = world.SLACK_SIGNING_SECRET
