"""What was done is recorded: tried on while the database is away, never past the lease, and never twice."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from time import monotonic
from typing import Any

import pytest
from prometheus_client import REGISTRY
from sqlalchemy import Engine, select

from bot.domain.budgets import Window
from bot.domain.builds import BuildStatus
from bot.domain.deployments import DeploymentState
from bot.domain.places import Operation
from bot.errors import Conflict, LeaseLost, Rejected, StorageUnavailable
from bot.ports import Transaction
from bot.services.dispatcher import carry_out
from bot.services.settling import PAUSES_S, Settling, held_for
from bot.storage.groups import CommitLost, Locked
from bot.storage.tables import budgets, destinations
from tests.services.deployment_world import SERVICE, Stage, a_stage
from tests.services.tracker_world import TrackerWorld, moved
from tests.services.world import CI, DEV, World
from tests.stores import SqlStore, event_of
from tests.waiting import wait_until

SUCCESS = BuildStatus.SUCCESS
AWAY = StorageUnavailable("the database did not commit: database or disk is full")


@dataclass
class FakeStore:
    """Raises what is in `fails` first, then `always`, if that is anything; counts the tries."""

    fails: list[Exception] = field(default_factory=list)
    always: Exception | None = None
    tries: int = 0

    def write(self, work: Callable[[Transaction], Any], *_arguments: object, **_more: object) -> Any:
        """See `Store`."""
        self.tries += 1
        if problem := (self.fails.pop(0) if self.fails else self.always):
            raise problem
        return work(None)  # type: ignore[arg-type]  # nothing is asked of it

    def read(self, work: Callable[[Transaction], Any]) -> Any:
        """See `Store`."""
        return work(None)  # type: ignore[arg-type]  # the same


@dataclass(frozen=True)
class Held:
    """Something under a lease."""

    held_until: float


def late(outcome: str) -> float:
    """How often something was recorded late, or not at all."""
    return REGISTRY.get_sample_value("shipmate_recorded_late_total", {"outcome": outcome}) or 0.0


@pytest.mark.parametrize("problem", [AWAY, Locked("held by somebody else"), CommitLost("lost")], ids=repr)
def test_what_cannot_be_recorded_is_tried_until_it_can(problem: StorageUnavailable) -> None:
    """Whatever kept the database from it, and each time after a pause."""
    store, before = FakeStore([problem] * 4), late("recorded")
    assert Settling(store, pauses_s=(0.001,)).settle(Held(held_for(30)), lambda _tx: "done") == "done"
    assert (store.tries, late("recorded") - before) == (5, 1)


def test_pauses_grow_to_a_second() -> None:
    """Room for a moment is found at once, and nobody hammers at a database that stays away."""
    assert list(PAUSES_S) == sorted(PAUSES_S)
    assert (PAUSES_S[0], PAUSES_S[-1]) == (0.1, 1.0)


@pytest.mark.parametrize("problem", [LeaseLost("another"), Conflict("decided"), KeyError("ours")], ids=repr)
def test_other_errors_are_raised_at_once(problem: Exception) -> None:
    """Trying on would not change them."""
    store = FakeStore(always=problem)
    with pytest.raises(type(problem)):
        Settling(store).settle(Held(held_for(30)), lambda _tx: None)
    assert store.tries == 1


def test_nobody_tries_on_when_the_lease_ends() -> None:
    """Somebody else takes the work up then."""
    store, before, held = FakeStore(always=AWAY), late("not"), Held(held_for(5))
    with pytest.raises(StorageUnavailable):
        Settling(store, pauses_s=(0.01, 9)).settle(held, lambda _tx: None)
    assert monotonic() < held.held_until  # the pause of 9 s was not begun
    assert (store.tries, late("not") - before) == (2, 1)


def test_without_a_lease_it_is_tried_once() -> None:
    """Nobody knows for how long the work is one's own."""
    store = FakeStore(always=AWAY)
    with pytest.raises(StorageUnavailable):
        Settling(store).settle(Held(0.0), lambda _tx: None)
    assert store.tries == 1


def test_a_process_that_ends_waits_for_no_database() -> None:
    """Who waits tries once more at once, and who comes later once; what is not recorded is asked about then."""
    store, raised = FakeStore(always=AWAY), threading.Event()
    settling = Settling(store, pauses_s=(600,))
    held = Held(held_for(3600))

    def wait() -> None:
        with pytest.raises(StorageUnavailable):
            settling.settle(held, lambda _tx: None)
        raised.set()

    thread = threading.Thread(target=wait)
    thread.start()
    wait_until(lambda: store.tries == 1)
    settling.stop()
    thread.join(30)
    assert (raised.is_set(), store.tries) == (True, 2)
    with pytest.raises(StorageUnavailable):
        settling.settle(held, lambda _tx: None)
    assert store.tries == 3


def test_all_who_share_a_store_are_stopped_together() -> None:
    """A store that can be stopped stays the one it is, whoever is given it."""
    shared = Settling(FakeStore())
    assert Settling.of(shared) is shared
    assert isinstance(Settling.of(FakeStore()), Settling)


# --- over real databases


@pytest.fixture
def outage(monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """While it is set nothing can be settled, but all else goes on."""
    is_away, settle = threading.Event(), Settling.settle

    def fail(self: Settling, leased: Any, work: Callable[[Transaction], Any]) -> Any:
        def may_work(tx: Transaction) -> Any:
            if is_away.is_set():
                raise AWAY
            return work(tx)

        return settle(self, leased, may_work)

    monkeypatch.setattr(Settling, "settle", fail)
    return is_away


def test_a_card_is_free_again_as_soon_as_it_can_be_recorded(world: World, outage: threading.Event) -> None:
    """Not half a minute later: the end follows at once, and no platform is asked whether there is a card."""
    world.accept(event_of(12))
    [work] = world.claim()
    outage.set()
    settling = threading.Thread(target=carry_out, args=(world.deliverer, work))
    settling.start()
    wait_until(lambda: world.messenger.calls)
    outage.clear()
    settling.join(30)
    world.accept(event_of(12, SUCCESS, at=1))
    world.deliver(5)
    assert world.operations() == ["post", "update"]
    assert world.card().shown_final
    assert world.attempt_outcomes() == ["sent", "sent"]


def test_one_that_waits_keeps_no_other(world: World, outage: threading.Event) -> None:
    """While a card cannot be recorded another hand takes what comes."""
    world.accept(event_of(12))
    [work] = world.claim()
    outage.set()
    settling = threading.Thread(target=carry_out, args=(world.deliverer, work))
    settling.start()
    wait_until(lambda: world.messenger.calls)
    world.ask("help")
    [record] = world.take()
    answering = threading.Thread(target=carry_out, args=(world.worker, record))
    answering.start()
    wait_until(lambda: world.said)
    outage.clear()
    for thread in (settling, answering):
        thread.join(30)
    assert world.states() == ["done"]
    assert world.card().message_ref


# --- commits whose answer is lost


@pytest.fixture
def lost(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each settling is committed, and that is not heard of: it is tried once more."""

    def settle(self: Settling, leased: Any, work: Callable[[Transaction], Any]) -> Any:
        unheard = [CommitLost("the database was lost while it committed")]

        def write() -> Any:
            result = self.write(work)
            if unheard:
                raise unheard.pop()
            return result

        self._pauses_s = (0.001,)
        return self.insist(leased, write)

    monkeypatch.setattr(Settling, "settle", settle)


@pytest.fixture
def unheard(lost: None, make_world: Callable[..., World]) -> World:
    """A world in which that happens, whose builds can be asked for, with a failed build and a budget for changes."""
    world = make_world(readable=frozenset({"buildbot"}), is_resolved=False, admin="dev")
    world.messenger.account = {
        operation: (Window(f"slack:T:{operation}", 50),)
        for operation in (Operation.POST, Operation.UPDATE, Operation.RESOLVE)
    }
    world.builds.now = world.clock.now()
    return world


def test_a_delivery_is_settled_once(unheard: World) -> None:
    """Each call counts once in its budget, and each place is free again."""
    world = unheard
    world.accept(event_of(12))
    world.deliver(5)
    world.accept(event_of(12, SUCCESS, at=1))
    world.deliver(5)
    assert world.operations() == ["post", "update"]
    assert world.attempt_outcomes() == ["sent", "sent"]
    with world.database.connect() as connection:
        held = list(connection.scalars(select(destinations.c.key).where(destinations.c.lease_until > 0)))
        spent = {row.scope: sum(count for _, count in row.spent) for row in connection.execute(select(budgets))}
    assert held == []
    assert {spent[f"slack:T:{operation}"] for operation in (Operation.POST, Operation.UPDATE)} == {1}
    assert spent[f"slack:T:{Operation.RESOLVE}"] == 1


def test_a_delivery_is_given_up_once(unheard: World) -> None:
    """One dead letter, and one notice to who runs the bot."""
    world = unheard
    world.messenger.fail(CI, Rejected("slack", "no_permission"))
    world.accept(event_of(12))
    world.deliver(5)
    assert world.attempt_outcomes() == ["dead:no_permission", "sent"]
    assert world.operations(DEV) == ["post"]


def a_failed_build(world: World) -> None:
    """A build that failed, with its card."""
    key = world.builds.start()
    world.builds.finish(key)
    world.accept(world.builds.fetch(key, with_log=False))
    world.deliver(5)
    world.builds.now = world.clock.now()


def test_a_retry_is_on_the_trail_once(unheard: World) -> None:
    """From the press to its build, and one answer."""
    a_failed_build(unheard)
    unheard.ask("retry user-service#1")
    unheard.work(30)
    assert [outcome for *_, outcome in unheard.trail()] == ["started", "done:build:buildbot/user-service#2"]
    assert (len(unheard.builds.requests), len(unheard.said), unheard.open_commands()) == (1, 1, 0)


def test_a_cancel_is_on_the_trail_once(unheard: World) -> None:
    """What was done in one call, too."""
    unheard.accept(unheard.builds.fetch(unheard.builds.start(), with_log=False))
    unheard.ask("cancel user-service#1")
    unheard.work(5)
    assert [outcome for *_, outcome in unheard.trail()] == ["started", "done"]


@pytest.mark.parametrize("typed", ["retry user-service#1", "retry user-service#99", "run user-service nonsense=1"])
def test_a_failure_is_on_the_trail_once(unheard: World, typed: str) -> None:
    """A refusal of the CI system's, for good."""
    unheard.accept(unheard.builds.fetch(unheard.builds.start(), with_log=False))
    unheard.ask(typed)
    unheard.work(30)
    trail = unheard.trail()
    assert trail
    assert len(set(trail)) == len(trail)
    assert (len(unheard.said), unheard.open_commands()) == (1, 0)


def test_a_job_ends_once(unheard: World) -> None:
    """What is read of a build is one event, however often it is stored."""
    key = unheard.builds.start()
    unheard.accept(unheard.builds.fetch(key, with_log=False))
    unheard.enrich(10)
    unheard.builds.finish(key)
    unheard.enrich(30)
    unheard.deliver(10)
    assert unheard.card(1).shown_final
    assert unheard.store.read(lambda tx: tx.jobs.next_due_at()) is None


@pytest.fixture
def tracked(lost: None, store: SqlStore, database: Engine) -> TrackerWorld:
    """A tracker in such a world, with one trigger."""
    return TrackerWorld(store, database)


def test_a_change_of_an_issue_starts_one_deployment(tracked: TrackerWorld) -> None:
    """And stands on the trail once."""
    tracked.hear(moved())
    tracked.work(5)
    assert [outcome for *_, outcome in tracked.trail()] == ["accepted:1"]
    assert (len(tracked.deployments.fired), tracked.outcomes()) == (1, ["done"])


def test_a_dropped_change_is_on_the_trail_once(tracked: TrackerWorld) -> None:
    """Whose issue has moved on."""
    tracked.hear(moved("Ready"))
    tracked.clock.advance(2 * 86400)
    tracked.work(5)
    assert [outcome for *_, outcome in tracked.trail()] == ["dropped:too_old"]


@pytest.fixture
def stage(lost: None, store: SqlStore, database: Engine) -> Stage:
    """A service that is deployed in such a world."""
    return a_stage(store, database)


def test_a_deployment_takes_each_step_once(stage: Stage) -> None:
    """The run is ordered once, at once, and the trail tells of each state once."""
    stage.build("v1")
    stage.ask(f"deploy {SERVICE} v1 to staging")
    stage.go_on(5)
    stage.run_ends()
    stage.go_on(60)
    assert (stage.state(), len(stage.runs())) == (DeploymentState.SUCCEEDED, 1)
    trail = stage.world.trail()
    assert len(set(trail)) == len(trail)
