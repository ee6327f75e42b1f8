"""Resident memory of `shipmate run` after 100,000 events, beside that after 10,000 of the same."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from benchmarks.databases import is_at_rest, open_engine
from benchmarks.driver import closed
from benchmarks.harness import Ground, Report, resident_mib, slack_settings, wait_until
from benchmarks.showing import channels, project
from benchmarks.signed import build_event, webhook

CHANNELS = 50
EVENTS = 100_000
STEP = 10_000
OF_A_BUILD = 100  # every change of a card is an event, few are calls
PROGRESS_INTERVAL_S = 30.0
CONNECTIONS = 8
SETTLED_S = 120.0


def measure(ground: Ground, report: Report) -> None:
    """Send whole lives of builds, and look after each step when all of them are shown."""
    named = [word for channel in channels(CHANNELS).values() for word in ("--channel", channel)]
    playground = ground.playground("--no-budgets", *named)
    url = f"sqlite:///{ground.folder / 'memory.db'}"
    settings = slack_settings(playground, channels(CHANNELS), budgets={"lifted": True})
    bot, port = ground.bot({**settings, "database_url": url, "progress_interval_s": PROGRESS_INTERVAL_S})
    found = [resident_mib(bot)]
    engine = open_engine(url)
    for step in range(EVENTS // STEP):
        load = closed(port, list(_lives(port, step)), CONNECTIONS)
        if set(load.statuses) != {202}:
            raise RuntimeError(f"not all were accepted: {dict(load.statuses)}")
        wait_until(lambda: is_at_rest(engine), SETTLED_S, "all is shown", pause_s=0.25)
        found.append(resident_mib(bot))
        report.say(f"{(step + 1) * STEP:,}: {found[-1]:.1f} MiB; {load.rate:.0f}/s")
    engine.dispose()
    report.judge("memory after 100,000 events against after 10,000", found[-1] / found[1], 1.1)


def _lives(port: int, step: int) -> Iterator[bytes]:
    """Each build changes with every event, the builds of a batch taking turns, as they do when many run."""
    builds = [(project(one % CHANNELS), f"{step}-{one}") for one in range(STEP // OF_A_BUILD)]
    for number in range(OF_A_BUILD):
        for name, build in builds:
            event = "build.progressed"
            more: dict[str, Any] = {"stages": [{"name": f"step {number}", "status": "running"}]}
            if number == 0:
                event, more = "build.started", {}
            elif number == OF_A_BUILD - 1:
                event, more = "build.finished", {"status": "success"}
            yield webhook(port, f"{name}-{build}-{number}", build_event(name, build, event, **more))
