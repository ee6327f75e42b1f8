"""Runs the real program with one function of it made deadly: `python -m tests.crash.runner POINT run --config FILE`.

The product knows nothing of this. A point names a function and whether the process dies as if by `kill -9` before it
is called or after it has returned. `none` kills nowhere. In every case leases end sooner than in earnest, so that what
a dead process held is taken over within seconds.
"""

from __future__ import annotations

import functools
import importlib
import itertools
import os
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

LEASE_S = 2.0


@dataclass(frozen=True, slots=True)
class Point:
    """Where the process dies: around the `call`-th call of `function` of `owner` (a module, or a class in it)."""

    owner: str
    function: str
    is_after: bool
    call: int = 1


POINTS = {
    # an event's rows are written in the transaction, which is never committed
    "before_ingest_commit": Point("bot.services.ingest:Ingest", "accept_in", is_after=True),
    # the event is committed, the sender waits for its answer
    "after_ingest_commit": Point("bot.services.ingest:Ingest", "accept", is_after=True),
    # a destination and an attempt are taken, nothing is sent yet
    "after_claim": Point("bot.services.delivery:Deliverer", "carry_out", is_after=False),
    # Slack has shown the card and said so, nobody has noted it
    "after_post": Point("integrations.slack.client:SlackMessenger", "send", is_after=True),
    # the same for what comes second, in the card's thread
    "after_notice": Point("integrations.slack.client:SlackMessenger", "send", is_after=True, call=2),
    # DingTalk has the card
    "after_card": Point("integrations.dingtalk.client:DingTalkMessenger", "send", is_after=True),
    # a press is stored, Slack has no acknowledgement
    "before_ack": Point("bot.services.commands:CommandInbox", "accept", is_after=True),
    # a press is taken by a worker
    "after_command_claim": Point("bot.services.commands:CommandWorker", "carry_out", is_after=False),
    # Buildbot was never asked, though the intention is noted
    "before_trigger": Point("integrations.buildbot.control:BuildbotControl", "retry", is_after=False),
    # Buildbot has begun to rebuild, nobody has noted it
    "after_trigger": Point("integrations.buildbot.control:BuildbotControl", "retry", is_after=True),
    # the new build's number is known and noted, nobody was told
    "before_answer": Point("integrations.slack.people:SlackResponder", "respond", is_after=False),
    # the person was told, the command is still open
    "after_answer": Point("integrations.slack.people:SlackResponder", "respond", is_after=True),
    # some of the tables exist
    "during_migration": Point("alembic.operations:Operations", "create_table", is_after=True, call=4),
    # the trail's links are written, not committed
    "during_sealing": Point("bot.storage.places:SqlAuditTrail", "seal", is_after=True),
}


def make_deadly(point: Point) -> None:
    """Put the kill around the point's function."""
    module, _, name = point.owner.partition(":")
    owner = getattr(importlib.import_module(module), name)
    setattr(owner, point.function, _deadly(getattr(owner, point.function), point))


def _deadly(function: Callable[..., Any], point: Point) -> Callable[..., Any]:
    calls = itertools.count(1)

    @functools.wraps(function)
    def call(*arguments: Any, **named: Any) -> Any:
        is_last = next(calls) == point.call
        if is_last and not point.is_after:
            os.kill(os.getpid(), signal.SIGKILL)
        result = function(*arguments, **named)
        if is_last:
            os.kill(os.getpid(), signal.SIGKILL)
        return result

    return call


def shorten_leases() -> None:
    """Let a lease end after two seconds instead of half a minute."""
    from bot.services import commands, jobs, planning, steps

    for module in (commands, jobs, planning):
        module.LEASE_S = LEASE_S
    steps.STEP_S = LEASE_S
    planning.CALL_S = LEASE_S / 8  # a search may take as much of the lease as in earnest


def main() -> None:
    """Run `shipmate` with the rest of the command line."""
    name = sys.argv.pop(1)
    shorten_leases()
    if name != "none":
        make_deadly(POINTS[name])
    from bot.cli import main as run

    run()


if __name__ == "__main__":
    main()
