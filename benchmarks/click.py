"""A click's acknowledgement at our Slack door over HTTP, beside a bare Bolt app behind the same server."""

from __future__ import annotations

import sys
import time
from typing import Any

from benchmarks.driver import Load, paced, percentile
from benchmarks.harness import Ground, Report, slack_settings
from benchmarks.signed import slack_press
from playground import world
from playground.loopback import free_port

CLICKS = 200
RATE = 40.0
CONNECTIONS = 4
ROUNDS = 5


def measure(ground: Ground, report: Report) -> None:
    """Alternate rounds of clicks by many people between `shipmate run` and a Bolt app that only acknowledges."""
    playground = ground.playground("--slack-mode", "http", "--channel", "#one")
    _, port = ground.bot(slack_settings(playground, {"*": "#one"}, mode="http"))
    bolt_port = free_port()
    command = [sys.executable, "-m", "benchmarks.bare_bolt", str(bolt_port)]
    ground.start("bolt", command, f"http://127.0.0.1:{bolt_port}/readyz", SLACK_SIGNING_SECRET=_SECRET)
    pairs = [(_round(port, number), _round(bolt_port, number)) for number in range(ROUNDS + 1)][1:]
    ours = [one for mine, _ in pairs for one in mine.latencies_s]
    theirs = [one for _, other in pairs for one in other.latencies_s]
    for name, waits in (("ours", ours), ("bare Bolt", theirs)):
        report.say(
            f"{name}: p50 {1000 * percentile(waits, 0.5):.2f} ms, p99 {1000 * percentile(waits, 0.99):.2f} ms, "
            f"max {1000 * max(waits):.1f} ms"
        )
    report.judge("click to acknowledgement, p99 against Bolt's", percentile(ours, 0.99) / percentile(theirs, 0.99), 1.5)
    report.judge("slowest click", 1000 * max(ours), 500, unit=" ms")


def _round(port: int, number: int) -> Load:
    presses = [slack_press(port, _SECRET, press(number * CLICKS + click)) for click in range(CLICKS)]
    load = paced(port, presses, CONNECTIONS, RATE)
    if set(load.statuses) != {200}:
        raise RuntimeError(f"not all were acknowledged: {dict(load.statuses)}")
    return load


def press(number: int) -> dict[str, Any]:
    """A press of Retry on the card of a build that nobody knows: stored, acknowledged, then refused by the worker."""
    ts = f"{time.time():.6f}"
    return {
        "type": "block_actions",
        "user": {"id": "U024ALICE01", "username": "alice", "name": "alice", "team_id": world.SLACK_TEAM},
        "api_app_id": world.SLACK_APP,
        "token": world.SLACK_VERIFICATION_TOKEN,
        "container": {"type": "message", "message_ts": ts, "channel_id": "C024CI00001", "is_ephemeral": False},
        "trigger_id": f"{number}.{number}.benchmark",
        "team": {"id": world.SLACK_TEAM, "domain": world.SLACK_TEAM_DOMAIN},
        "enterprise": None,
        "is_enterprise_install": False,
        "channel": {"id": "C024CI00001", "name": "ci"},
        "message": {"type": "message", "ts": ts, "text": "card"},
        "state": {"values": {}},
        "response_url": "",
        "actions": [
            {
                "type": "button",
                "action_id": "ship:retry",
                "block_id": "actions",
                "text": {"type": "plain_text", "text": "Retry"},
                "value": f"retry nobody#{number}",
                "action_ts": f"{time.time():.6f}",
            }
        ],
    }


_SECRET = world.SLACK_SIGNING_SECRET
