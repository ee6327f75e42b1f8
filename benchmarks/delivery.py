"""Cards that one worker and two post in 200 channels, budgets lifted, beside a bare loop of the same calls."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import count
from statistics import median
from typing import Any

from benchmarks.databases import durable_postgres
from benchmarks.driver import closed
from benchmarks.harness import Ground, Report, bot_command, run_once, secrets, slack_settings, wait_until
from benchmarks.showing import channels, project
from benchmarks.signed import build_event, webhook
from benchmarks.slack_standin import CHANNELS
from playground.loopback import fetch, free_port

DELAY_S = 0.1  # Slack takes about so long, and more
HANDS = 16  # what a worker does at a time for one workspace
EACH = 4  # new cards a channel and round
ROUNDS = 3
SHOWN_S = 90.0
MIDDLE = (0.2, 0.8)  # of a round's posts: all workers are at work by then, and none is done yet


@dataclass
class Scene:
    """A web door, workers that come and go, and the stand-in."""

    ground: Ground
    settings: Mapping[str, Any]
    slack: int
    builds: count[int] = field(default_factory=count)

    def __post_init__(self) -> None:
        known = set(self.ground.folder.glob("bot-*"))
        self.web, self.port = self.ground.bot(self.settings, "web")
        (folder,) = set(self.ground.folder.glob("bot-*")) - known
        self.path = folder / "shipmate.yaml"

    def want(self, each: int) -> None:
        """Have new cards wanted, so many a channel."""
        numbers = [next(self.builds) for _ in range(each)]
        events = [build_event(project(channel), number) for number in numbers for channel in range(CHANNELS)]
        load = closed(self.port, [webhook(self.port, f"{e['project']}-{e['number']}", e) for e in events], 16)
        if set(load.statuses) != {202}:
            raise RuntimeError(f"not all were accepted: {dict(load.statuses)}")

    def worked(self, workers: int, posts: int) -> float:
        """Posts a second by so many workers, who begin when the cards are wanted already."""
        _posts(self.slack)
        command = bot_command(self.path, "worker")
        ready = f"http://127.0.0.1:{self.slack}/last"
        children = [self.ground.start(f"worker-{number}", command, ready, **secrets()) for number in range(workers)]
        made = self._made(posts)
        for child in children:
            self.ground.stop(child)
        return _rate(made)

    def bare(self, posts: int, threads: int) -> float:
        """Posts a second by the bare loop."""
        _posts(self.slack)
        run_once([sys.executable, "-m", "benchmarks.bare_slack", str(self.slack), str(posts), str(threads)])
        return _rate(_posts(self.slack))

    def _made(self, posts: int) -> list[float]:
        made: list[float] = []

        def are_all_made() -> bool:
            made.extend(_posts(self.slack))
            return len(made) >= posts

        wait_until(are_all_made, SHOWN_S, "all cards are shown", pause_s=0.2)
        return made


def measure(ground: Ground, report: Report) -> None:
    """On SQLite one worker, on PostgreSQL one and two, in rounds that alternate with the bare loop."""
    slack = free_port()
    command = [sys.executable, "-m", "benchmarks.slack_standin", str(slack), str(DELAY_S)]
    ground.start("slack", command, f"http://127.0.0.1:{slack}/last")
    report.say(
        f"each call is answered after {1000 * DELAY_S:.0f} ms; the bare loop has {HANDS} threads, as a worker has"
    )
    settings = slack_settings(slack, channels(CHANNELS), mode="http", budgets={"lifted": True})
    _compare(report, Scene(ground, settings, slack), "SQLite", (1,))
    with durable_postgres() as server:
        scene = Scene(ground, {**settings, "database_url": server.url(server.fresh())}, slack)
        _compare(report, scene, "PostgreSQL", (1, 2))
        ground.stop(scene.web)


def _compare(report: Report, scene: Scene, database: str, sizes: tuple[int, ...]) -> None:
    scene.want(1)
    scene.worked(1, CHANNELS)  # the channels are looked up
    posts = EACH * CHANNELS
    rates: dict[str, list[float]] = {"bare": [], **{str(size): [] for size in sizes}}
    for _ in range(ROUNDS):
        rates["bare"].append(scene.bare(posts, HANDS))
        for size in sizes:
            scene.want(EACH)
            rates[str(size)].append(scene.worked(size, posts))
    for name, found in rates.items():
        report.say(f"{database}, {name}: {', '.join(f'{rate:.0f}' for rate in found)} a second")
    ratios = [mine / other for mine, other in zip(rates["1"], rates["bare"], strict=True)]
    report.say(f"rounds from {min(ratios):.2f} to {max(ratios):.2f} of the bare loop")
    report.judge(f"one worker on {database}, against the bare loop", median(ratios), 0.5, at_least=True)
    if "2" in rates:
        gains = [two / one for two, one in zip(rates["2"], rates["1"], strict=True)]
        report.say(f"two workers, rounds from {min(gains):.2f} to {max(gains):.2f} times one")
        report.judge(f"two workers on {database}, against one", median(gains), 1.6, at_least=True)


def _rate(posts: list[float]) -> float:
    first, last = (int(share * (len(posts) - 1)) for share in MIDDLE)
    times = sorted(posts)
    return (last - first) / (times[last] - times[first])


def _posts(slack: int) -> list[float]:
    return list(json.loads(fetch(f"http://127.0.0.1:{slack}/posts"))["posts"])
