"""Seconds from `shipmate run` to ready, beside importing its libraries; resident memory after 10,000 events."""

from __future__ import annotations

import http.client
import sys
import time
from statistics import median

from benchmarks.driver import closed
from benchmarks.harness import (
    ROOT,
    Ground,
    Report,
    bot_command,
    calls,
    resident_mib,
    run_once,
    secrets,
    slack_settings,
    wait_until,
)
from benchmarks.signed import build_event, webhook
from playground.children import start_child

ROUNDS = 5
READY_S = 30.0
EVENTS = 10_000
LIFE: tuple[tuple[str, dict[str, str]], ...] = (("build.started", {}), ("build.finished", {"status": "success"}))
IMPORTS = "import flask, slack_bolt, sqlalchemy, pydantic, requests, structlog, waitress, cryptography.fernet"


def measure(ground: Ground, report: Report) -> None:
    """Start again and again: with a new database, with one that is there; then fill it."""
    playground = ground.playground("--no-budgets", "--channel", "#one")
    settings = slack_settings(playground, {"*": "#one"}, budgets={"lifted": True})
    news, agains, imports = [], [], []
    for _ in range(ROUNDS):
        path, port = ground.configure(settings)
        news.append(_start(ground, bot_command(path), port))
        agains.append(_start(ground, bot_command(path), port))
        imports.append(run_once([sys.executable, "-c", IMPORTS]))
    report.say(f"importing the libraries alone: {median(imports):.2f} s")
    report.say(f"start with a new database: {median(news):.2f} s ({median(news) / median(imports):.2f} × the imports)")
    report.say(f"start with one that is there: {median(agains):.2f} s ({median(agains) / median(imports):.2f} ×)")
    report.judge("start to ready, slower of both", max(median(news), median(agains)), 2.0, unit=" s")
    _memory(ground, report, playground, settings)


def _start(ground: Ground, command: list[str], port: int) -> float:
    started = time.perf_counter()
    child = start_child("starting", command, ground.folder / "starting.log", environment=_environment(), folder=ROOT)
    ground.children.append(child)
    wait_until(lambda: _is_ready(port), READY_S, "it is ready", pause_s=0.005)
    elapsed = time.perf_counter() - started
    ground.stop(child)
    return elapsed


def _is_ready(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", "/readyz")
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()


def _environment() -> dict[str, str]:
    import os

    return {**os.environ, "NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1", **secrets()}


def _memory(ground: Ground, report: Report, playground: int, settings: dict[str, object]) -> None:
    child, port = ground.bot(settings)
    fresh = resident_mib(child)
    requests = [
        webhook(port, f"{event}-{number}", build_event("user-service", number, event, **more))
        for number in range(EVENTS // len(LIFE))
        for event, more in LIFE
    ]
    closed(port, requests, 16)
    wait_until(lambda: not _grows(playground), 120.0, "all is shown", pause_s=0.1)
    report.say(f"resident memory when ready: {fresh:.0f} MiB")
    report.judge("resident memory after 10,000 events", resident_mib(child), 150, unit=" MiB")


def _grows(playground: int) -> bool:
    before = _last(playground)
    time.sleep(1.5)
    return _last(playground) > before


def _last(playground: int) -> int:
    found = calls(playground, since=0)
    return int(found[-1]["seq"]) if found else 0
