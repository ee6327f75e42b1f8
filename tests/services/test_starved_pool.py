"""Ninety-five threads share a few connections: whoever gets none waits, is told, and loses nothing."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from time import monotonic

import pytest
from sqlalchemy import Engine

from bot.bootstrap import COMMAND_HANDS, DELIVERY_HANDS
from bot.domain.builds import BuildStatus
from bot.domain.places import DestinationSettings
from bot.domain.routing import Match, Route
from bot.errors import StorageUnavailable
from bot.services.dispatcher import Crew, Dispatcher, carry_out
from bot.services.signal import Signal
from bot.signatures import sign
from bot.storage import groups, readers
from bot.storage.opening import obstacle
from bot.storage.readers import KEPT_FREE
from handlers.gate import Gate
from handlers.webhooks import RETRY_AFTER_S, events_of, webhooks
from integrations import generic
from tests.handlers.serving import line_to, serve
from tests.holding import HOARDER, nobody_holds_two
from tests.services.world import World
from tests.stores import SqlStore, event_of
from tests.waiting import wait_until

SECRET = "whsec_c2l4dGVlbi1ieXRlcy1sb25n"
PATIENCE_S = 0.3
LONG_S = 60.0  # longer than any test waits
FEW = 3
PLACES = tuple(f"c{number}" for number in range(20))
SUCCESS = BuildStatus.SUCCESS


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch, database: Engine) -> None:
    """Nobody waits as long for a connection as at work."""
    monkeypatch.setattr(readers, "POOL_WAIT_S", PATIENCE_S)
    monkeypatch.setattr(database.pool, "_timeout", PATIENCE_S)


@contextmanager
def taken(database: Engine, but: int = 0) -> Iterator[None]:
    """Somebody has all connections but a few, and keeps them."""
    count = database.pool.size() - but  # type: ignore[attr-defined] # a QueuePool on both engines
    with ThreadPoolExecutor(1, thread_name_prefix=HOARDER) as somebody, ExitStack() as held:
        for _ in range(count):
            held.enter_context(somebody.submit(database.connect).result())
        yield


@contextmanager
def reading(store: SqlStore, database: Engine) -> Iterator[None]:
    """As many slow questions as are let in at a time."""
    begun, is_over = threading.Semaphore(0), threading.Event()

    def ask() -> None:
        store.read(lambda _tx: begun.release() or is_over.wait(30))  # type: ignore[func-returns-value] # both in turn

    count = database.pool.size() - KEPT_FREE  # type: ignore[attr-defined] # see above
    threads = [threading.Thread(target=ask) for _ in range(count)]
    for thread in threads:
        thread.start()
    try:
        assert all(begun.acquire(timeout=30) for _ in threads)
        yield
    finally:
        is_over.set()
        for thread in threads:
            thread.join(30)


def test_who_writes_does_not_wait_for_who_reads(world: World) -> None:
    """However many slow questions there are, webhooks are stored at once; a further question is refused in time."""
    with reading(world.store, world.database):
        begun_at = monotonic()
        assert world.accept(event_of()) == ["accepted"]
        assert obstacle(world.database) is None
        assert monotonic() - begun_at < PATIENCE_S * 10
        with pytest.raises(StorageUnavailable, match="all connections to the database are in use"):
            world.store.read(lambda tx: tx.deliveries.next_ready_at())
    world.deliver()
    assert world.operations() == ["post"]


def test_a_door_without_a_connection_turns_senders_away_in_time(world: World) -> None:
    """It answers 503 with a time to come again; nothing is stored by halves, and then everything is taken."""
    source = generic.GenericWebhook("generic", generic.Config.model_validate({"secrets": [SECRET]}))
    door = webhooks({"generic": events_of(source, world.ingest)}, world.clock, gate=Gate(4, world.store.longest_wait_s))
    body = json.dumps({"event": "build.started", "project": "billing", "number": 7}).encode()
    at = int(world.clock.now().timestamp())
    headers = {"webhook-id": "one", "webhook-timestamp": str(at), "webhook-signature": sign(SECRET, "one", at, body)}
    with serve([door]) as port, line_to(port) as line:
        with taken(world.database):
            told_at = monotonic()
            refused = line.ask("POST", "/webhooks/generic", headers, body)
            assert monotonic() - told_at < 10 * PATIENCE_S
            assert obstacle(world.database) == "the database cannot be read: all connections are in use"
        assert (refused.status, refused.said["reason"]) == (503, "not_stored: try again")
        assert refused.headers["Retry-After"] == str(RETRY_AFTER_S)
        assert line.ask("POST", "/webhooks/generic", headers, body).status == 202
        assert line.ask("POST", "/webhooks/generic", headers, body).status == 200
    world.deliver()
    assert world.operations() == ["post"]


def test_a_person_is_told_that_nothing_was_stored(world: World) -> None:
    """Whoever asks meanwhile gets an error with a sentence, and no half of a command; asking again works."""
    with (
        taken(world.database),
        pytest.raises(StorageUnavailable, match="all connections to the database are in use: not written, try again"),
    ):
        world.ask("retry user-service#12", key="press")
    assert world.states() == []
    assert world.ask("retry user-service#12", key="press")


def test_what_is_in_hand_is_taken_up_again(world: World) -> None:
    """A delivery made and a command carried out that cannot be settled stand once after their leases ended."""
    world.settling.stop()  # nobody waits for a connection here
    world.accept(event_of())
    world.ask("status")
    delivery, command = world.deliverer.claim(1)[0], world.take()[0]
    with taken(world.database):
        carry_out(world.deliverer, delivery)
        carry_out(world.worker, command)
    world.deliver(120)
    world.work(120)
    assert world.operations() == ["post"]
    assert world.states() == ["done"]


def test_all_hands_work_over_three_connections(
    make_world: Callable[..., World], store: SqlStore, database: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """More threads than connections by far end what there is to do, each thing once; none waits for ever."""
    monkeypatch.setattr(readers, "POOL_WAIT_S", LONG_S)  # on a slow machine, too, nobody is to be told to come again
    monkeypatch.setattr(database.pool, "_timeout", LONG_S)
    monkeypatch.setattr(groups, "LONGEST_WAIT_S", groups.WRITE_DEADLINE_S)
    places = {name: DestinationSettings(name, f"slack:#{name}") for name in PLACES}
    world = make_world(destinations=places, routes=(Route("routes[0]", Match(), PLACES),))
    world.messenger.place_interval_s = 0.0
    crews = (
        Crew.of("deliveries", world.deliverer, *DELIVERY_HANDS),
        Crew.of("commands", world.worker, *COMMAND_HANDS),
    )
    dispatcher = Dispatcher(store, world.clock, Signal(), crews)
    with taken(world.database, but=FEW):
        dispatcher.start()
        tellers = [threading.Thread(target=world.accept, args=(event_of(n, SUCCESS, started=0),)) for n in range(1, 4)]
        askers = [threading.Thread(target=world.ask, args=("status",), kwargs={"key": str(n)}) for n in range(8)]
        for thread in (*tellers, *askers):
            thread.start()
        for thread in (*tellers, *askers):
            thread.join(30)
        wait_until(lambda: len(world.messenger.calls) >= 3 * len(PLACES) and len(world.said) >= len(askers))
        dispatcher.stop()
    shown = [(call.place, call.title, call.operation.value) for call in world.messenger.calls]
    assert len(shown) == len(set(shown)) == 3 * len(PLACES)
    assert world.states() == ["done"] * len(askers)


def test_one_who_holds_a_connection_and_takes_another_is_noticed(store: SqlStore, database: Engine) -> None:
    """What watches all tests of services does see a question, or a write, within a question."""
    for second in ("read", "write"):
        with pytest.raises(AssertionError, match="test_starved_pool"), nobody_holds_two(database, store):
            store.read(lambda _tx, name=second: getattr(store, name)(lambda tx: tx.deliveries.next_ready_at()))
