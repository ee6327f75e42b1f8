"""Webhooks of 200 projects accepted on PostgreSQL: one `shipmate web`, then two over the same database."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from statistics import median

from benchmarks.databases import durable_postgres
from benchmarks.driver import Load, closed
from benchmarks.harness import Ground, Report, slack_settings
from benchmarks.signed import build_event, webhook
from playground.loopback import free_port

PROJECTS = 200
BUILDS = 400  # a round and door, two of each project
CONNECTIONS = 16
ROUNDS = 5


def measure(ground: Ground, report: Report) -> None:
    """Rounds that alternate between one door and two."""
    with durable_postgres() as server:
        settings = slack_settings(free_port(), {"*": "#ci"})
        settings["database_url"] = server.url(server.fresh())
        doors = [ground.bot(settings, "web") for _ in range(2)]
        ports = [port for _, port in doors]
        rounds = [(_round(ports[:1], f"one-{n}"), _round(ports, f"two-{n}")) for n in range(ROUNDS + 1)][1:]
        for child, _ in doors:
            ground.stop(child)
    for name, rates in zip(("one web", "two web"), zip(*rounds, strict=True), strict=True):
        report.say(f"{name}: {median(rates):.0f}/s (rounds from {min(rates):.0f} to {max(rates):.0f})")
    report.say(f"two against one: {median(two / one for one, two in rounds):.2f}")


def _round(ports: Sequence[int], name: str) -> float:
    """Events accepted a second, at all doors together."""
    requests = [_requests(port, f"{name}-{number}") for number, port in enumerate(ports)]
    with ThreadPoolExecutor(len(ports)) as senders:
        loads = list(senders.map(lambda port, sent: closed(port, sent, CONNECTIONS), ports, requests))
    return sum(map(_accepted, loads)) / max(load.elapsed_s for load in loads)


def _accepted(load: Load) -> int:
    if set(load.statuses) != {202}:
        raise RuntimeError(f"not all were accepted: {dict(load.statuses)}")
    return len(load.latencies_s)


def _requests(port: int, name: str) -> list[bytes]:
    """Starts, then ends of new builds."""
    steps: dict[str, dict[str, str]] = {"build.started": {}, "build.finished": {"status": "success"}}
    return [
        webhook(
            port,
            f"{event}-{name}-{build}",
            build_event(f"service-{build % PROJECTS}", f"{name}-{build}", event, **more),
        )
        for event, more in steps.items()
        for build in range(BUILDS)
    ]
