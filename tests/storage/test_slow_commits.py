"""Several processes over a PostgreSQL whose commits take long, as with a synchronous standby elsewhere."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import Engine

from bot.domain.budgets import Window
from bot.domain.places import DestinationSettings, Operation
from bot.domain.routing import Match, Route
from bot.services.dispatcher import carry_out
from bot.services.ingest import Ingest, Outcome
from bot.services.router import Router
from bot.services.signal import Signal
from bot.storage import groups, postgres
from bot.storage.locks import Lock, hold
from tests.fakes import FakeClock
from tests.services.world import CI, World
from tests.stores import event_of, make_store

pytestmark = pytest.mark.postgres
DOORS, EVENTS, COMMIT_S = 4, 32, 0.12


def test_doors_of_one_project_wait_in_line_and_turn_nobody_away(
    postgres_database: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A commit takes longer than a group waits for a lock: all are stored in time, together and not one by one."""
    commit, commits = postgres._commit, []

    def commit_slowly(connection: object) -> None:
        commits.append(connection)
        time.sleep(COMMIT_S)
        commit(connection)

    stores = [make_store(postgres_database) for _ in range(DOORS)]
    router = Router([Route("routes[0]", Match(), (CI,))], {CI: DestinationSettings(CI, CI)})
    doors = [Ingest(store, FakeClock(), router, Signal(), frozenset()) for store in stores]
    monkeypatch.setattr(postgres, "_commit", commit_slowly)
    monkeypatch.setattr(groups, "LONGEST_WAIT_S", groups.WRITE_DEADLINE_S)  # for slow machines
    with ThreadPoolExecutor(EVENTS) as pool:
        told = [pool.submit(doors[number % DOORS].accept, [event_of(number)]) for number in range(EVENTS)]
        assert [one.result() for one in told] == [[Outcome.ACCEPTED]] * EVENTS
    assert len(commits) < EVENTS * 3 / 4
    for store in stores:
        store.close()


def test_what_a_call_came_to_waits_for_nobody_who_looks_at_budgets(
    postgres_database: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The card is settled and its place free while another worker holds the budgets; the call counts on."""
    window = Window("slack:T/chat.postMessage", 50, 60.0)
    store = make_store(postgres_database)
    world = World(store, postgres_database)
    world.messenger.account = dict.fromkeys(Operation, (window,))
    world.accept(event_of())
    (work,) = world.claim()
    monkeypatch.setattr(groups, "LONGEST_WAIT_S", 0.1)
    with postgres_database.connect() as other:
        hold(other, Lock.BUDGETS)
        carry_out(world.deliverer, work)
        assert (world.card().reason, world.card().shown_revision) == ("sent", 1)
        assert store.read(lambda tx: tx.deliveries.next_ready_at()) is None
    spent = store.read(lambda tx: tx.budgets.report(world.clock.now().timestamp()))
    assert [(one.scope, one.state.spent.count) for one in spent if one.window is not None] == [(window.scope, 1)]
    store.close()
