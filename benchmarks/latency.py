"""Webhook to card: when the playground shows what a webhook said, with budgets lifted and with budgets on."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Sequence

from benchmarks.driver import percentile
from benchmarks.harness import Ground, Report, calls, slack_settings
from benchmarks.showing import Said, channels, drive

CHANNELS = 50
SUBJECTS = 200
RATE = 50.0
WARM_UP = 50
PLACE_INTERVAL_S = 1.0
FINALS_WITHIN_BURST = 20  # of the 50 updates that the workspace's budget lets go at once


def measure(ground: Ground, report: Report) -> None:
    """Send starts and ends at an even pace and look at the playground's own record of calls."""
    playground = _playground(ground, "--no-budgets")
    bot, port = ground.bot(slack_settings(playground, channels(CHANNELS), budgets={"lifted": True}))
    started = [Said(one % CHANNELS, one // CHANNELS, "build.started") for one in range(SUBJECTS)]
    ended = [one.ended() for one in started]
    drive(port, playground, [Said(one.channel, one.number + 1000, one.event) for one in started[:WARM_UP]], RATE)
    waits = [shown - one.at for one, shown in drive(port, playground, [*started, *ended], RATE)]
    report.say(f"budgets lifted: {len(waits)} of {2 * SUBJECTS} shown, max {1000 * max(waits):.1f} ms")
    report.judge("webhook to card, p50", 1000 * percentile(waits, 0.5), 15, unit=" ms")
    report.judge("webhook to card, p99", 1000 * percentile(waits, 0.99), 50, unit=" ms")
    ground.stop(bot)
    _with_budgets(ground, report)


def _with_budgets(ground: Ground, report: Report) -> None:
    """The same in random order, so that channels get more than one at a time; only what goes beyond counts."""
    playground = _playground(ground)
    _, port = ground.bot(slack_settings(playground, channels(CHANNELS)))
    order = random.Random(2)  # the same order in every run
    started = [Said(one % CHANNELS, one // CHANNELS, "build.started") for one in range(SUBJECTS)]
    order.shuffle(started)
    wanted = [*started, *(one.ended() for one in started[:FINALS_WITHIN_BURST])]
    found = drive(port, playground, wanted, RATE)
    refused = sum(1 for call in calls(playground) if call["status"] == 429)
    allowed = _earliest([one for one, _ in found])
    waits = [max(0.0, shown - allowed[one]) for one, shown in found]
    imposed = [allowed[one] - one.at for one, _ in found]
    report.say(f"budgets on: {len(waits)} of {len(wanted)} shown, {refused} calls refused by the platform")
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


def _playground(ground: Ground, *arguments: str) -> int:
    named = [word for channel in channels(CHANNELS).values() for word in ("--channel", channel)]
    return ground.playground(*named, *arguments)
