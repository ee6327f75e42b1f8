"""200 deployments verifying at once on one worker, 5 checks each every 10 s: how late checks are, and what it costs.

The deployments begin at random instants of ten seconds, as they do in life; Prometheus is a stand-in that answers at
once, in a process of its own. The cards stand in ten channels of the playground, within Slack's budgets.
"""

from __future__ import annotations

import json
import os
import random
import re
import statistics
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.databases import open_engine
from benchmarks.harness import Ground, Report, bot_command, calls, run_once, secrets, slack_settings
from bot.bootstrap import Core, register_destinations
from bot.domain.checks import begin
from bot.domain.deployments import Deployment, DeploymentState, Requester, Run, Version
from bot.ports import Transaction
from bot.services.deployments.records import Cause
from bot.settings import deployed_of, load
from bot.storage.clock import DatabaseClock
from bot.storage.opening import open_key
from bot.system import SystemClock
from integrations.outside import connect_outside
from playground.children import Child
from playground.loopback import fetch, free_port

DEPLOYMENTS, CHECKS, INTERVAL_S = 200, 5, 10.0
CHANNELS = 10
LEAD_S, WINDOW_S = 8.0, 30.0
AFTER_S = 2.0  # for looks that are late
SEED = 7
_ASKED = re.compile(r'service="(service-\d+)",check="(\d)"')
_TICKS = os.sysconf("SC_CLK_TCK")


def measure(ground: Ground, report: Report) -> None:
    """Begin all of them, look at thirty seconds, and compare when each check was asked with when it was due."""
    metrics, playground = _metrics(ground), ground.playground(*_named())
    door = free_port()
    path, _ = ground.configure(_settings(ground.folder, playground, metrics, door))
    run_once(bot_command(path, "db upgrade"), **secrets())
    starts_at = time.time() + LEAD_S
    began = _begin(path, starts_at)
    worker = ground.start("worker", bot_command(path, "worker"), f"http://127.0.0.1:{door}/readyz", **secrets())
    opens_at = starts_at + INTERVAL_S
    _sleep_until(opens_at)
    before = _cpu_s(worker)
    _sleep_until(opens_at + WINDOW_S)
    share = (_cpu_s(worker) - before) / WINDOW_S
    _sleep_until(opens_at + WINDOW_S + AFTER_S)
    asked = json.loads(fetch(f"http://127.0.0.1:{metrics}/asked"))
    late, missed = _lateness(began, asked, opens_at)
    shown = sum(call["method"] in ("chat.postMessage", "chat.update") for call in calls(playground))
    report.say(f"{len(late)} looks in {WINDOW_S:.0f} s; {shown} calls for {DEPLOYMENTS} cards")
    report.say(f"CPU: {share:.2f} of a core")
    cuts = statistics.quantiles(late, n=100)
    report.say(f"lateness p50 {cuts[49] * 1000:.0f} ms, p90 {cuts[89] * 1000:.0f} ms, max {max(late) * 1000:.0f} ms")
    report.judge("lateness p99", cuts[98], 1.0, unit=" s")
    report.judge("looks that were not made", missed, 0)


def _lateness(began: Sequence[float], asked: Sequence[tuple[float, str]], opens_at: float) -> tuple[list[float], int]:
    """How late each look was that was due in the window, and how many were never made."""
    seen: dict[tuple[int, int], list[float]] = {}
    for at, query in asked:
        if found := _ASKED.search(query):
            seen.setdefault((int(found[1].partition("-")[2]), int(found[2])), []).append(at)
    late, missed = [], 0
    for number, began_at in enumerate(began):
        due = [began_at + INTERVAL_S * step for step in range(1, 10)]  # the first look is one window later
        for due_at in (at for at in due if opens_at <= at < opens_at + WINDOW_S):
            for check in range(CHECKS):
                after = [at - due_at for at in seen.get((number, check), ()) if 0 <= at - due_at < INTERVAL_S]
                late += after[:1]
                missed += not after
    return late, missed


def _begin(path: Path, starts_at: float) -> list[float]:
    """Store the deployments as they are when their runs have gone well; when the checks of each begin."""
    environment = {**os.environ, **secrets()}
    settings, clock = load(path, environment), DatabaseClock(SystemClock())
    outside = connect_outside(settings, clock)
    core = Core(
        settings, outside, open_engine(settings.database_url), open_key(settings, environment, may_make=False), clock
    )
    chance = random.Random(SEED)
    began = [starts_at + chance.random() * INTERVAL_S for _ in range(DEPLOYMENTS)]
    services = deployed_of(settings)
    register_destinations(core.store, outside)

    def work(tx: Transaction) -> None:
        for number, began_at in enumerate(began):
            name = f"service-{number}"
            checks = tuple(begin(spec, began_at) for spec in services[name].targets["production"].checks)
            deployment = Deployment(
                0,
                name,
                "production",
                Version("v2", "0" * 40),
                Requester("slack:U1", "Ada"),
                began_at - 60,
                state=DeploymentState.VERIFYING,
                state_since=began_at,
                previous=Version("v1", "1" * 40),
                run=Run(began_at - 50, "1", f"build:buildbot/deploy#{number}"),
                started_at=began_at - 50,
                checks=checks,
            )
            core.deployments.records.add(tx, deployment, Cause("start"), dedup_key=name, due_at=began_at)

    try:
        core.store.write(work)
    finally:
        core.store.close()
    return began


def _settings(folder: Path, playground: int, metrics: int, door: int) -> dict[str, Any]:
    routed = {f"service-{number}": f"#channel-{number % CHANNELS}" for number in range(DEPLOYMENTS)}
    settings = slack_settings(playground, routed)
    for route in settings["routes"]:
        route["match"]["kind"] = "deployment"
    checks = {
        f"check-{number}": {
            "kind": "metric",
            "source": "prometheus",
            "query": f'sum(rate(requests_total{{service="{{{{service}}}}",check="{number}"}}[{{{{window}}}}]))',
            "max_value": 0.01,
            "window": f"{INTERVAL_S:.0f}s",
            "duration": "10m",
            "interval": f"{INTERVAL_S:.0f}s",
        }
        for number in range(CHECKS)
    }
    service = {
        "deploy": {"source": "buildbot", "project": "deploy"},
        "versions": "any",
        "environments": {"production": {}},
        "checks": checks,
    }
    buildbot = {"kind": "buildbot", "url": "http://127.0.0.1:9", "webhook_token": "${WEBHOOK_SECRET}"}
    return {
        **settings,
        "server": {"metrics_listen": f"127.0.0.1:{door}"},
        "database_url": f"sqlite:///{folder / 'verifying.db'}",
        "metrics": {"prometheus": {"kind": "prometheus", "url": f"http://127.0.0.1:{metrics}"}},
        "sources": {"buildbot": {**buildbot, "projects": {"deploy": {"builder": "deploy"}}}},
        "environments": {"production": {}},
        "services": {f"service-{number}": service for number in range(DEPLOYMENTS)},
    }


def _named() -> list[str]:
    return [word for number in range(CHANNELS) for word in ("--channel", f"#channel-{number}")]


def _metrics(ground: Ground) -> int:
    port = free_port()
    ground.start("metrics", [sys.executable, "-m", "benchmarks.metrics", str(port)], f"http://127.0.0.1:{port}/asked")
    return port


def _cpu_s(child: Child) -> float:
    """Seconds of a processor that a process has taken."""
    fields = Path(f"/proc/{child.process.pid}/stat").read_text("ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def _sleep_until(at: float) -> None:
    time.sleep(max(0.0, at - time.time()))
