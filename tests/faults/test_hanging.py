"""Many places, or a system behind commands, that hang all at once: the worker's loop serves others meanwhile."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest

from bot.bootstrap import COMMAND_HANDS, DELIVERY_HANDS, JOB_HANDS, TRACKER_HANDS
from bot.domain.builds import Build
from bot.domain.events import Event
from bot.domain.places import Place
from bot.domain.subjects import SubjectKey
from bot.errors import Unavailable
from bot.ports import Slot
from bot.services.delivery import Deliverer
from bot.services.dispatcher import Crew, Dispatcher
from bot.services.hands import SLOW_S, Hands
from bot.services.jobs import JobWorker
from bot.services.signal import Signal
from bot.services.sources import SourceAccess, Sources
from tests.fakes import FakeClock, FakeIds, FakeMessenger
from tests.services.world import CI, World
from tests.stores import NOW, SqlStore, event_of, key_of
from tests.waiting import wait_until

HANGING = 40
SHARE = DELIVERY_HANDS.size - DELIVERY_HANDS.spare  # what one account may have of them
ASKING = 120
OPTIONS = {"locale": "en", "timezone": "UTC", "mention": []}


@dataclass(slots=True)
class HangingMessenger(FakeMessenger):
    """A platform some of whose places never answer, until they are let go."""

    let_go: threading.Event = field(default_factory=threading.Event)
    hanging: set[str] = field(default_factory=set)

    def send(self, place: Place, *arguments: Any, **named: Any) -> str:
        """See `Messenger`."""
        if place.id.startswith("hang"):
            self.hanging.add(place.key)
            self.let_go.wait(30)
        return FakeMessenger.send(self, place, *arguments, **named)


@contextmanager
def running(world: World, crew: Crew) -> Iterator[Dispatcher]:
    """A loop with one crew."""
    dispatcher = Dispatcher(world.store, world.clock, Signal(), [crew])
    dispatcher.start()
    try:
        yield dispatcher
    finally:
        dispatcher.stop()


@pytest.fixture
def messenger(world: World) -> Iterator[HangingMessenger]:
    """The platforms; whatever happens nothing is left hanging."""
    made = HangingMessenger(world.clock)
    yield made
    made.let_go.set()


def _want(world: World, *places: str) -> None:
    """A card of one build is wanted at each place, those first that are named first."""
    world.accept(event_of())
    key = str(key_of(12))

    def work(tx: Any) -> None:
        tx.places.ensure([Place(place, place) for place in places])
        tx.cards.open(key, 1, [Slot(place, "card", OPTIONS) for place in places], is_final=False, at=0.0)

    world.store.write(work)


def _deliverer(world: World, messenger: FakeMessenger) -> Deliverer:
    platforms = {"slack": messenger, "dingtalk": messenger}
    return Deliverer(world.store, world.clock, FakeIds(), platforms, frozenset())


def test_forty_places_that_hang_delay_no_other_platform(world: World, messenger: HangingMessenger) -> None:
    """All of them are due first; the card on the other platform is shown before a single moment has passed."""
    _want(world, *(f"slack:T/hang{number:02}" for number in range(HANGING)), "dingtalk:app/cid")
    with running(world, Crew.of("deliveries", _deliverer(world, messenger), *DELIVERY_HANDS)):
        wait_until(lambda: len(messenger.titles("dingtalk:app/cid")) == 1)
        wait_until(lambda: len(messenger.hanging) == SHARE)
        messenger.let_go.set()
        wait_until(lambda: len(messenger.posts) >= HANGING + 1)


def test_places_of_the_same_account_are_late_by_a_moment_only(world: World, messenger: HangingMessenger) -> None:
    """What hangs is done aside after a second: those who are well come before anything of it has ended."""
    well = [f"slack:T/well{number}" for number in range(5)]
    _want(world, *(f"slack:T/hang{number:02}" for number in range(HANGING - 4)), *well)
    with running(world, Crew.of("deliveries", _deliverer(world, messenger), *DELIVERY_HANDS)):
        for hanging in (SHARE, 2 * SHARE):
            wait_until(lambda hanging=hanging: len(messenger.hanging) == hanging)
            world.clock.advance(SLOW_S)
        wait_until(lambda: all(messenger.titles(place) for place in well))
        assert not messenger.let_go.is_set()
        messenger.let_go.set()


def test_commands_that_hang_hold_none_that_need_nobody(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Many people wait for a CI system that does not answer; whoever asks for help gets it at once."""
    key = world.builds.start()
    let_go, asked = threading.Event(), threading.Semaphore(0)

    def hang(*_arguments: object, **_named: object) -> str:
        asked.release()
        let_go.wait(30)
        return "a line"

    monkeypatch.setattr(type(world.builds), "read_log", hang)
    for _ in range(ASKING):
        world.ask(f"log {key.short}")
    world.ask("help")
    world.ask("status")
    try:
        with running(world, Crew.of("commands", world.worker, *COMMAND_HANDS)):
            assert all(asked.acquire(timeout=30) for _ in range(COMMAND_HANDS.size - COMMAND_HANDS.spare))
            wait_until(lambda: len(world.said) == 2)
            assert not asked.acquire(blocking=False)
            let_go.set()
            wait_until(lambda: len(world.said) == ASKING + 2)
            wait_until(lambda: world.open_commands() == 0)
    finally:
        let_go.set()


@dataclass(frozen=True, slots=True)
class Reader:
    """A source that is down; `asked` is called first."""

    asked: Callable[[], object]

    def fetch(self, key: SubjectKey, *, with_log: bool) -> Event:
        """See `BuildReader`."""
        self.asked()
        raise Unavailable(key.source, "down")

    def list_builds(self, project: str, limit: int) -> list[Build]:
        """See `BuildReader`."""
        return []


def test_a_source_that_hangs_holds_no_other_up(world: World) -> None:
    """Ten builds run at a source that does not answer; what another one knows is asked for at once."""
    let_go, hanging, asked = threading.Event(), threading.Semaphore(0), threading.Event()
    readers = {"hangs": Reader(lambda: (hanging.release(), let_go.wait(30))), "well": Reader(asked.set)}
    sources = Sources({name: SourceAccess(reader=reader) for name, reader in readers.items()}, ())
    for number, source in enumerate(["hangs"] * 10 + ["well"]):
        world.accept(event_of(number, source=source))
        key = str(key_of(number, source=source))
        world.store.write(
            lambda tx, key=key, at=number: tx.jobs.add(key, "poll", key, {}, due_at=NOW + at / 100, at=NOW)  # type: ignore[misc]  # bound now
        )
    world.clock.advance(60)
    worker = JobWorker(world.store, world.clock, sources, world.ingest)
    try:
        with running(world, Crew.of("jobs", worker, *JOB_HANDS)):
            assert asked.wait(30)
            assert all(hanging.acquire(timeout=30) for _ in range(JOB_HANDS.size - JOB_HANDS.spare))
            assert not let_go.is_set()
            let_go.set()
    finally:
        let_go.set()


def test_a_tracker_that_hangs_leaves_hands_to_others(store: SqlStore) -> None:
    """Of each tracker so much is taken as its share allows, however much of it waits in front."""
    for number, tracker in enumerate(["jira"] * 9 + ["boards"]):
        store.write(
            lambda tx, at=number, tracker=tracker: tx.tracker_tasks.add(  # type: ignore[misc]  # bound now
                tracker, str(at), "say", {}, due_at=NOW + at / 100, at=NOW
            )
        )
    shares = Hands(TRACKER_HANDS.size, spare=TRACKER_HANDS.spare, bench=TRACKER_HANDS.bench).shares(NOW)
    taken = store.write(lambda tx: tx.tracker_tasks.lease(NOW + 1, NOW + 30, shares.room, shares.taker()))
    assert sorted(task.tracker for task in taken) == ["boards", "jira", "jira"]


def test_the_loop_rests_while_nothing_can_be_taken_up(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Due work of a kin that holds its share is looked at a few times a second, not all the time."""
    messenger = HangingMessenger(world.clock)
    deliverer = _deliverer(world, messenger)
    claims: list[int] = []
    claim: Callable[..., Any] = deliverer.claim

    def count(*arguments: Any) -> Any:
        claims.append(1)
        return claim(*arguments)

    monkeypatch.setattr(deliverer, "claim", count)
    waits: list[float] = []
    _want(world, *(f"slack:T/hang{number}" for number in range(4)))
    signal = Signal()
    wait = signal.wait
    monkeypatch.setattr(signal, "wait", lambda seconds: (waits.append(seconds), wait(seconds))[1])
    dispatcher = Dispatcher(world.store, world.clock, signal, [Crew.of("deliveries", deliverer, 3, bench=0, spare=1)])
    dispatcher.start()
    try:
        wait_until(lambda: len(messenger.hanging) == 2)
        wait_until(lambda: waits[-3:] == [0.25] * 3)
    finally:
        messenger.let_go.set()
        dispatcher.stop()
    assert len(claims) <= len(waits)  # of whole rounds: a claim comes before its round's rest
    assert isinstance(world.clock, FakeClock)


def test_addresses_that_are_looked_up_hang_with_their_platform(world: World) -> None:
    """They leave hands to places that are known, and the other way round."""
    _want(world, "slack:#a", "slack:#b", "slack:T/c0", "slack:T/c1", "dingtalk:app/x/y")
    most = {"slack": 1}

    def take(kin: str) -> bool:
        most[kin] = most.get(kin, 9) - 1
        return most[kin] >= 0

    leases = world.store.write(lambda tx: tx.deliveries.lease(NOW, NOW + 30, 9, take))
    taken = sorted(lease.key for lease in leases)
    assert [key for key in taken if "#" not in key] == ["dingtalk:app/x/y", "slack:T/c0", "slack:T/c1", CI]
    assert len([key for key in taken if "#" in key]) == 1
