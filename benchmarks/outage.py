"""Ten minutes without the platform, in simulated time: what it takes to catch up with 10,000 events on 300 cards."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any
from unittest import mock

from cryptography.fernet import Fernet, MultiFernet
from sqlalchemy import Engine, func, select

from benchmarks.harness import Ground, Report, secrets, slack_settings
from benchmarks.showing import channels, project
from bot.bootstrap import register_destinations
from bot.domain.builds import BuildFacts, BuildStatus, Phase, Stage, StageStatus
from bot.domain.events import Event, EventKind
from bot.domain.places import CARD_SLOT
from bot.domain.subjects import SubjectKey, SubjectKind
from bot.ports import Store
from bot.services.delivery import Deliverer
from bot.services.dispatcher import carry_out
from bot.services.ingest import Ingest, Outcome
from bot.services.router import Router
from bot.services.signal import Signal
from bot.services.upkeep import Upkeep
from bot.settings import load, routes_of
from bot.storage.opening import open_database, store_of
from bot.storage.tables import cards, events
from bot.system import UlidIds
from bot.telemetry import set_up_logging
from integrations.outside import connect_outside
from playground.options import Options
from playground.server import Playground

CHANNELS = 30
CARDS = 300
STANDING = 50  # as many as Slack lets an app change in a minute
EVENTS = 10_000
OUTAGE_S = 600.0
LEAD_S = 180.0
UPKEEP_S = 5.0
AT_ONCE = 16  # as many as the worker has in hand
FEW = 3  # calls a channel, beyond one for each card
END = "✅"
OUTAGES: Mapping[str, tuple[Mapping[str, Any], int]] = {
    "connections reset": ({"kind": "down"}, STANDING),
    "status 503": ({"kind": "status", "status": 503}, CARDS),
}


class SimulatedTime:
    """The time of all that takes part, the playground with its rate limits included; it stands until it is moved."""

    def __init__(self) -> None:
        self.at = datetime.now(UTC)

    def now(self) -> datetime:
        """See `bot.ports.Clock`."""
        return self.at

    def time(self) -> float:
        """As in the module `time`."""
        return self.at.timestamp()

    monotonic = time

    def time_ns(self) -> int:
        """As in the module `time`."""
        return int(self.time() * 1e9)

    def move_to(self, at: float) -> None:
        """Let time pass; it never goes back."""
        self.at = max(self.at, datetime.fromtimestamp(at, UTC) + timedelta(microseconds=10))


@dataclass
class Bot:
    """What takes events in and shows them, with nobody beside it who calls it: time moves when all is done."""

    clock: SimulatedTime
    engine: Engine
    store: Store
    ingest: Ingest
    deliverer: Deliverer
    upkeep: Upkeep
    hands: Executor
    upkeep_at: float = 0.0

    def work_until(self, end: float) -> None:
        """Do what is due, until that time."""
        while (due := self._next_due(end)) <= end:
            self.clock.move_to(due)
            if due >= self.upkeep_at:
                self.upkeep.tell_overdue()
                self.upkeep_at = self.clock.time() + UPKEEP_S
            list(self.hands.map(partial(carry_out, self.deliverer), self.deliverer.claim(AT_ONCE)))
        self.clock.move_to(end)

    def catch_up(self) -> float:
        """Do all that is wanted; how long it takes."""
        started = self.clock.time()
        while self.store.read(lambda tx: tx.deliveries.next_ready_at()) is not None:
            self.work_until(self.clock.time() + 1.0)
        return self.clock.time() - started

    def accept(self, event: Event) -> None:
        """Take an event in."""
        if self.ingest.accept([event]) != [Outcome.ACCEPTED]:
            raise RuntimeError(f"not accepted: {event}")

    def _next_due(self, end: float) -> float:
        due = self.store.read(lambda tx: tx.deliveries.next_ready_at())
        return min(self.upkeep_at, end + 1.0 if due is None else due)


def measure(ground: Ground, report: Report) -> None:
    """Two ways of being away: one finds most cards still to be posted, the other all of them to be changed."""
    set_up_logging(level="ERROR")
    for away, (fault, standing) in OUTAGES.items():
        clock = SimulatedTime()
        with (
            mock.patch("playground.core.time", clock),
            mock.patch("playground.slack.store.time", clock),
            Playground(_options()) as playground,
            _bot(ground, playground, clock) as bot,
        ):
            found = _live_through(fault, standing, bot, playground)
            _judge(report, f"{away}, {standing} of {CARDS} cards stood before", found)
            _check(bot, playground)


@dataclass(frozen=True)
class Found:
    """The calls after an outage, and how long they took."""

    meanwhile: int
    made: Sequence[Mapping[str, Any]]
    took_s: float


def _live_through(fault: Mapping[str, Any], standing: int, bot: Bot, playground: Playground) -> Found:
    """Start what stands before the outage, tell all the rest while it lasts, then let the bot catch up."""
    begins_at = bot.clock.time() + LEAD_S
    lives = [list(_life(number, begins_at, stood=number < standing)) for number in range(CARDS)]
    for life in lives[:standing]:
        bot.accept(life.pop(0))
    bot.work_until(begins_at)
    before = playground.state()["last_call"]
    playground.client.faults({"method": "*", **fault})
    for event in sorted((event for life in lives for event in life), key=lambda event: event.occurred_at):
        bot.work_until(event.occurred_at.timestamp())
        bot.accept(event)
    bot.work_until(begins_at + OUTAGE_S)
    away = playground.calls(since=before)
    playground.client.faults()
    took_s = bot.catch_up()
    return Found(len(away), playground.calls(since=before + len(away)), took_s)


def _judge(report: Report, what: str, found: Found) -> None:
    remarks = [
        call for call in found.made if call["method"] == "chat.postMessage" and call["arguments"].get("thread_ts")
    ]
    methods = Counter(call["method"] for call in found.made)
    report.say(f"{what}: caught up in {found.took_s:.0f} s; {found.meanwhile} calls while it lasted")
    report.say(f"afterwards {', '.join(f'{count} {name}' for name, count in sorted(methods.items()))}")
    report.say(f"of these {len(remarks)} remarks in threads, that an end is late")
    report.judge(f"all calls, for {CARDS} cards", methods.total(), CARDS + FEW * CHANNELS)
    report.judge("calls beyond the platform's limits", sum(call["status"] == 429 for call in found.made), 0)


def _check(bot: Bot, playground: Playground) -> None:
    """Raise unless all events are kept, and each build has one post, which shows its end."""
    with bot.engine.connect() as connection:
        kept = connection.scalar(select(func.count()).select_from(events))
        behind = connection.scalar(
            select(func.count()).select_from(cards).where(cards.c.slot == CARD_SLOT, ~cards.c.shown_final)
        )
    posts = [
        post for place in playground.state()["platforms"]["slack"]["channels"].values() for post in place["messages"]
    ]
    ends = Counter(post["text"].splitlines()[0] for post in posts if END in post["text"])
    if (kept, behind, len(posts), len(ends)) != (EVENTS, 0, CARDS, CARDS):
        raise RuntimeError(f"{kept} events kept, {behind} cards behind, {len(posts)} posts, {len(ends)} of them final")


def _life(number: int, begins_at: float, *, stood: bool) -> Iterator[Event]:
    """A build's events: one that stood began before the outage, all others begin and all end within it."""
    count = EVENTS // CARDS + (number < EVENTS % CARDS)
    key = SubjectKey(SubjectKind.BUILD, "generic", project(number % CHANNELS), str(number))
    starts_at = begins_at + OUTAGE_S / 2 * number / CARDS
    for one in range(count):
        is_end = one == count - 1
        at = datetime.fromtimestamp(starts_at + OUTAGE_S / 2 * one / count, UTC)
        if stood and one == 0:
            at = datetime.fromtimestamp(begins_at - LEAD_S, UTC)
        facts = BuildFacts(
            status=BuildStatus.SUCCESS if is_end else BuildStatus.RUNNING,
            branch="main",
            stages=(Stage(f"step {one}", StageStatus.RUNNING),),
        )
        kind = EventKind.BUILD_FINISHED if is_end else EventKind.BUILD_PROGRESSED if one else EventKind.BUILD_STARTED
        yield Event("generic", f"{number}.{one}", kind, key, at, Phase.FINISHED if is_end else Phase.RUNNING, facts)


def _options() -> Options:
    return Options(port=0, calls_kept=100_000, extra_channels=tuple(channels(CHANNELS).values()))


@contextmanager
def _bot(ground: Ground, playground: Playground, clock: SimulatedTime) -> Iterator[Bot]:
    port = int(playground.url.rpartition(":")[2])
    path, _ = ground.configure(slack_settings(port, channels(CHANNELS)))
    settings = load(path, {**os.environ, **secrets()})
    outside = connect_outside(settings, clock)
    engine = open_database(settings, is_upgraded=True)
    store = store_of(engine, MultiFernet([Fernet(Fernet.generate_key())]))
    register_destinations(store, outside)
    signal, hands = Signal(), ThreadPoolExecutor(AT_ONCE)
    addresses = frozenset(destination.address for destination in outside.destinations.values())
    messengers = {kind: platform.messenger for kind, platform in outside.platforms.items()}
    try:
        yield Bot(
            clock,
            engine,
            store,
            Ingest(store, clock, Router(routes_of(settings), outside.destinations), signal, frozenset()),
            Deliverer(store, clock, UlidIds(), messengers, addresses),
            Upkeep(store, clock, signal),
            hands,
        )
    finally:
        hands.shutdown()
        store.close()
