"""The worker's loop: woken, bounded, drained, and never stopped by one crew or one piece."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from time import monotonic

import pytest

from bot.errors import StorageUnavailable
from bot.services import dispatcher, leaps
from bot.services.dispatcher import STUCK_S, Crew, Dispatcher
from bot.services.signal import Signal
from tests.fakes import FakeClock
from tests.stores import NOW, SqlStore
from tests.waiting import wait_until

CREWS = ("deliveries", "commands", "jobs")


@dataclass
class FakeWorker:
    """Gives out what is in `waiting`; `does` is done with each piece, `claims` before any is given."""

    waiting: list[str] = field(default_factory=list)
    does: Callable[[str], None] = lambda _piece: None
    claims: Callable[[], None] = lambda: None
    limits: list[int] = field(default_factory=list)
    done: list[str] = field(default_factory=list)
    rested: list[str] = field(default_factory=list)
    lease_s: float = 30.0

    def claim(self, limit: int) -> list[str]:
        """See `Worker`."""
        self.limits.append(limit)
        self.claims()
        taken, self.waiting[:] = self.waiting[:limit], self.waiting[limit:]
        return taken

    def carry_out(self, work: str) -> None:
        """See `Worker`."""
        self.does(work)
        self.done.append(work)

    def put_off(self, work: str) -> None:
        """See `Worker`."""
        self.rested.append(work)


@dataclass
class Loop:
    """A running dispatcher over fake workers, whose work is due by the clock; `looks` has an entry for each round."""

    dispatcher: Dispatcher
    workers: dict[str, FakeWorker]
    signal: Signal
    clock: FakeClock
    store: SqlStore
    crews: list[Crew]
    looks: list[object]


@pytest.fixture
def loop(store: SqlStore, monkeypatch: pytest.MonkeyPatch) -> Iterator[Loop]:
    """Three crews of two; each has due work while its worker has any."""
    clock, signal, looks = FakeClock(), Signal(), list[object]()
    workers = {name: FakeWorker() for name in CREWS}

    def dues(tx: object) -> dict[str, float | None]:
        looks.append(tx)
        return {name: NOW if worker.waiting else None for name, worker in workers.items()}

    monkeypatch.setattr("bot.services.dispatcher._dues", dues)
    crews = [Crew(name, workers[name], 2) for name in CREWS]
    running = Dispatcher(store, clock, signal, crews)
    made = Loop(running, workers, signal, clock, store, crews, looks)
    yield made
    made.dispatcher.stop()


def test_a_ring_wakes_the_loop(loop: Loop) -> None:
    """Work that comes while nothing is due is done as soon as the bell rings."""
    loop.dispatcher.start()
    worker = loop.workers["commands"]
    worker.waiting += ["a", "b", "c"]
    loop.signal.ring()
    wait_until(lambda: sorted(worker.done) == ["a", "b", "c"])
    assert loop.dispatcher.trouble() is None


def test_no_more_is_claimed_than_there_are_hands(loop: Loop) -> None:
    """A crew of two holds two pieces; the third is left to others until a hand is free."""
    worker, release = loop.workers["jobs"], threading.Event()
    worker.does = lambda _piece: (release.wait(30), None)[1]
    worker.waiting += ["a", "b", "c"]
    loop.dispatcher.start()
    wait_until(lambda: worker.waiting == ["c"])
    loop.workers["commands"].waiting.append("x")
    loop.signal.ring()
    wait_until(lambda: loop.workers["commands"].done == ["x"])
    assert worker.waiting == ["c"]
    release.set()
    wait_until(lambda: sorted(worker.done) == ["a", "b", "c"])
    assert max(worker.limits) == 2


@pytest.mark.parametrize("error", [KeyError("ours"), StorageUnavailable("locked")], ids=["mistake", "storage"])
def test_a_piece_that_fails_stops_no_other(loop: Loop, error: Exception) -> None:
    """A mistake is counted by the worker, other failures are left to the lease; the next piece is done."""
    worker = loop.workers["commands"]

    def fail(piece: str) -> None:
        if piece == "bad":
            raise error

    worker.does = fail
    worker.waiting += ["bad", "good"]
    loop.dispatcher.start()
    wait_until(lambda: worker.done == ["good"])
    wait_until(lambda: worker.rested == (["bad"] if isinstance(error, KeyError) else []))


@pytest.mark.parametrize("error", [KeyError("ours"), StorageUnavailable("locked")], ids=["mistake", "storage"])
def test_a_crew_that_cannot_claim_stops_no_other(loop: Loop, error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first crew's claims fail; the crews after it get their work, and it is asked again later."""
    monkeypatch.setattr(dispatcher, "LONGEST_SLEEP_S", 0.05)
    worker = loop.workers["deliveries"]

    def fail() -> None:
        raise error

    worker.claims = fail
    worker.waiting.append("a")
    loop.workers["jobs"].waiting.append("b")
    loop.dispatcher.start()
    wait_until(lambda: loop.workers["jobs"].done == ["b"])
    worker.claims = lambda: None
    wait_until(lambda: worker.done == ["a"])


def test_a_database_that_is_away_is_waited_for(loop: Loop, monkeypatch: pytest.MonkeyPatch) -> None:
    """The loop outlives failed rounds."""
    monkeypatch.setattr(dispatcher, "LONGEST_SLEEP_S", 0.05)
    worker, faults = loop.workers["deliveries"], [StorageUnavailable("locked"), StorageUnavailable("locked")]

    def fail_twice() -> None:
        if faults:
            raise faults.pop()

    worker.claims = fail_twice
    worker.waiting.append("a")
    loop.dispatcher.start()
    wait_until(lambda: worker.done == ["a"])


def test_a_clock_that_leaps_gives_no_work_to_two_hands(loop: Loop) -> None:
    """The lease of a piece under way seems to have run out: nothing is taken up until that piece is done."""
    worker, begun, release = loop.workers["deliveries"], threading.Event(), threading.Event()

    def take_time(piece: str) -> None:
        if piece == "a":
            begun.set()
            release.wait(30)

    worker.does = take_time
    worker.waiting.append("a")
    loop.dispatcher.start()
    assert begun.wait(30)
    loop.clock.advance(3600)
    worker.waiting.append("a again, its lease is over")
    claims, looks = len(worker.limits), len(loop.looks)

    def has_gone_on() -> bool:
        loop.signal.ring()
        return len(loop.looks) > looks + 5

    wait_until(has_gone_on, "five rounds of the loop")
    assert (len(worker.limits), loop.dispatcher.trouble()) == (claims, None)
    release.set()
    wait_until(lambda: len(worker.done) == 2)
    assert worker.done[0] == "a"


def test_where_others_are_at_work_a_leap_is_waited_out(loop: Loop, monkeypatch: pytest.MonkeyPatch) -> None:
    """For as long as they may hold such work; what is taken for long waits for longer."""
    monkeypatch.setattr(leaps, "HEARD_LATE_S", 0.0)
    loop.dispatcher = Dispatcher(loop.store, loop.clock, loop.signal, loop.crews, has_others=True)
    short, long = loop.workers["deliveries"], loop.workers["commands"]
    short.lease_s, long.lease_s = 0.5, 1000.0
    long.waiting.append("first")
    loop.dispatcher.start()
    wait_until(lambda: long.done == ["first"])
    begun_at = monotonic()  # before the loop can hear of the leap
    loop.clock.advance(3600)
    for worker in (short, long):
        worker.waiting.append("later")
    loop.signal.ring()
    wait_until(lambda: short.done == ["later"])
    assert monotonic() - begun_at >= short.lease_s
    assert (long.waiting, loop.dispatcher.trouble()) == (["later"], None)


def test_stopping_ends_what_is_in_hand(loop: Loop) -> None:
    """A piece under way is finished, what waits is left, and the process is not ready any more."""
    worker, begun, release = loop.workers["commands"], threading.Event(), threading.Event()

    def take_time(_piece: str) -> None:
        begun.set()
        release.wait(30)

    worker.does = take_time
    worker.waiting.append("a")
    loop.dispatcher.start()
    assert begun.wait(30)
    stopping = threading.Thread(target=loop.dispatcher.stop)
    stopping.start()
    wait_until(lambda: not loop.dispatcher._thread.is_alive())  # a round that had begun may take one more
    assert loop.dispatcher.trouble()
    worker.waiting.append("b")
    release.set()
    stopping.join(30)
    assert (worker.done, worker.waiting) == (["a"], ["b"])
    assert loop.dispatcher.trouble() == "the dispatcher does not run"


def test_a_stuck_crew_is_named(loop: Loop) -> None:
    """When every hand of a crew has held its piece for minutes, the process says that it is not ready."""
    worker, release, begun = loop.workers["jobs"], threading.Event(), threading.Semaphore(0)

    def hang(_piece: str) -> None:
        begun.release()
        release.wait(30)

    worker.does = hang
    worker.waiting += ["a", "b"]
    loop.dispatcher.start()
    assert all(begun.acquire(timeout=30) for _ in range(2))
    assert loop.dispatcher.trouble() is None
    loop.clock.advance(STUCK_S + 1)
    assert "jobs" in str(loop.dispatcher.trouble())
    release.set()
    wait_until(lambda: loop.dispatcher.trouble() is None)


def test_a_loop_that_was_never_started_is_not_alive(loop: Loop) -> None:
    """A process whose loop does not run is not ready."""
    assert loop.dispatcher.trouble()
    loop.dispatcher.start()
    assert loop.dispatcher.trouble() is None
