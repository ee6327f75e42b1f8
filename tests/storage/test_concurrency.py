"""What several processes do to one database at the same moment, with real threads: nothing lost, nothing twice.

Both engines keep these promises: SQLite by its one writer, PostgreSQL by the locks that the operations take.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any, TypeVar

import pytest
from sqlalchemy import Engine, select, text

from bot.domain.audit import AuditEntry, seal
from bot.domain.budgets import Window
from bot.domain.builds import BuildStatus
from bot.domain.commands import Actor, Command, CommandState, ReplyTo
from bot.domain.events import Event
from bot.domain.places import DestinationSettings, Place
from bot.domain.routing import Match, Route
from bot.errors import StorageUnavailable
from bot.ports import Arrival, Settlement, Slot, Subscription, Transaction
from bot.services import budgeting
from bot.services.ingest import Ingest, Outcome
from bot.services.router import Router
from bot.services.signal import Signal
from bot.storage import groups, postgres
from bot.storage.locks import Lock, hold, hold_named
from bot.storage.tables import audit, budgets, cards, commands, destinations, subjects
from bot.storage.transaction import SqlTransaction
from tests.fakes import FakeClock
from tests.stores import NOW, SqlStore, event_of, key_of, make_store
from tests.waiting import wait_until

T = TypeVar("T")
RUNNING, SUCCESS, FAILED = BuildStatus.RUNNING, BuildStatus.SUCCESS, BuildStatus.FAILED
PLACES = ("slack:T/ci", "slack:T/dev")
ROUNDS = 12


@pytest.fixture
def stores(database: Engine, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[SqlStore]]:
    """Four processes' stores over one database, whose doors turn nobody away on a slow machine."""
    monkeypatch.setattr(groups, "LONGEST_WAIT_S", groups.WRITE_DEADLINE_S)
    opened = [make_store(database) for _ in range(4)]
    yield opened
    for one in opened:
        one.close()


def at_once(*works: Callable[[], T]) -> list[T]:
    """The results of pieces that start at the same moment, each in a thread of its own."""
    barrier = threading.Barrier(len(works))

    def run(work: Callable[[], T]) -> T:
        barrier.wait(30)
        return work()

    with ThreadPoolExecutor(len(works)) as pool:
        return list(pool.map(run, works))


def ingests(stores: Sequence[SqlStore], places: Sequence[str] = PLACES) -> list[Ingest]:
    """A web process over each store; every build opens a card at each place."""
    settings = {place: DestinationSettings(place, place) for place in places}
    stores[0].write(lambda tx: tx.places.ensure([Place(place, place) for place in places]))
    router = Router([Route("routes[0]", Match(), tuple(places))], settings)
    return [Ingest(store, FakeClock(), router, Signal(), frozenset()) for store in stores]


def rows(database: Engine, query: Any) -> list[Any]:
    """What a query finds."""
    with database.connect() as connection:
        return list(connection.execute(query).all())


def test_one_delivery_at_two_doors_is_one_event(stores: list[SqlStore]) -> None:
    """A sender that repeats itself while the first request is still under way is told `duplicate` by one of them."""
    doors = ingests(stores)
    for number in range(ROUNDS):
        event = event_of(number)
        outcomes = at_once(*[lambda door=door, event=event: door.accept([event])[0] for door in doors])
        assert sorted(outcomes) == [Outcome.ACCEPTED] + [Outcome.DUPLICATE] * 3


def test_first_events_of_one_build_lose_nothing(stores: list[SqlStore], database: Engine) -> None:
    """Start and end of a build that nobody knew yet, at the same moment: one subject with both facts, cards final."""
    doors = ingests(stores)
    for number in range(ROUNDS):
        first = event_of(number, commit_title="a change")
        last = event_of(number, FAILED, at=5, started=0)
        at_once(lambda: doors[0].accept([first]), lambda: doors[1].accept([last]))  # noqa: B023 - run at once
        record = stores[0].read(lambda tx, number=number: tx.subjects.get(key_of(number)))
        assert record is not None
        assert record.build().status is FAILED
        assert record.folded.values["commit_title"] == "a change"
        found = stores[0].read(lambda tx, number=number: tx.cards.of_subject(str(key_of(number))))
        assert {card.wanted_revision for card in found if card.slot == "card"} == {record.revision}
        assert all(card.is_final for card in found)
    assert len(rows(database, select(subjects))) == ROUNDS


def test_fixed_is_judged_when_both_runs_end_at_once(stores: list[SqlStore]) -> None:
    """A failure and the success after it, heard by two doors at the same moment: the second is always `fixed`."""
    doors = ingests(stores)
    for number in range(0, 2 * ROUNDS, 2):
        failed = event_of(number, FAILED, at=10 * number)
        passed = event_of(number + 1, SUCCESS, at=10 * number + 5)
        at_once(lambda: doors[0].accept([failed]), lambda: doors[1].accept([passed]))  # noqa: B023 - run at once
        record = stores[0].read(lambda tx, number=number: tx.subjects.get(key_of(number + 1)))
        assert record is not None
        assert record.is_fixed


def test_doors_that_take_batches_in_opposite_order_both_end(stores: list[SqlStore]) -> None:
    """Two requests that hold what the other wants are one deadlock of the server's, which nobody sees."""
    doors = ingests(stores)
    for number in range(ROUNDS // 3):
        batch = [event_of(number, project=f"p{index}") for index in range(6)]
        turned = [event_of(number, SUCCESS, at=9, started=0, project=f"p{index}") for index in reversed(range(6))]
        outcomes = at_once(lambda: doors[0].accept(batch), lambda: doors[1].accept(turned))  # noqa: B023 - run at once
        assert all(one[0] is not Outcome.DUPLICATE for one in outcomes)
        for index in range(6):
            key = key_of(number, project=f"p{index}")
            record = stores[0].read(lambda tx, key=key: tx.subjects.get(key))
            assert record is not None
            assert record.build().status is SUCCESS


def test_a_want_between_claim_and_settle_is_not_lost(stores: list[SqlStore], database: Engine) -> None:
    """While revisions come in and a worker shows what it claimed, the end is always wanted until it was shown."""
    door = ingests(stores, PLACES[:1])[0]
    is_over = threading.Event()

    def tell() -> None:
        for second in range(60):
            door.accept([event_of(1, at=0, started=0, log=str(second))])
        is_over.set()

    def show_once() -> bool:
        for lease in stores[1].write(lambda tx: tx.deliveries.lease(NOW, NOW + 30, 1)):

            def claim(tx: Transaction) -> list[Any]:
                due = tx.deliveries.due_cards(PLACES[0], NOW, 5)
                return [(card, tx.subjects.get(key_of(1))) for card in due]

            for card, subject in stores[1].write(claim):
                shown = Settlement(card.id, "sent", shown_revision=subject.revision, message_ref="m")
                assert stores[1].write(lambda tx, s=shown, at=lease: tx.deliveries.settle(at, None, s, NOW))
            stores[1].write(lambda tx, at=lease: tx.pacing.release(at, arrival=0.0, free_at=0.0, reason=""))
            return True
        return False

    def show() -> None:
        while not is_over.is_set():
            show_once()
        while show_once():
            pass

    at_once(tell, show)
    ((revision,),) = rows(database, select(subjects.c.revision))
    assert rows(database, select(cards.c.wanted_revision, cards.c.shown_revision)) == [(revision, revision)]


def test_workers_that_claim_at_once_share_the_places(stores: list[SqlStore]) -> None:
    """Each destination with work is held by one worker, and none is left out for long."""
    places = [f"slack:T/c{number}" for number in range(20)]
    door = ingests(stores, places)[0]
    door.accept([event_of(1)])
    taken: list[str] = []
    while len(taken) < len(places):
        claims = at_once(*[_leasing(store, NOW, 3) for store in stores])
        taken += [lease.key for claim in claims for lease in claim]
    assert sorted(taken) == sorted(places)


def _leasing(store: SqlStore, now: float, most: int) -> Callable[[], Any]:
    return lambda: store.write(lambda tx: tx.deliveries.lease(now, now + 30, most))


def test_jobs_and_commands_are_taken_once(stores: list[SqlStore]) -> None:
    """Four workers that look at the same moment divide what is due among them."""
    for number in range(20):
        name = f"{number:02}"
        stores[0].write(lambda tx, name=name: tx.jobs.add(name, "poll", "s", {}, due_at=NOW, at=NOW))
        stores[0].write(lambda tx, name=name: tx.commands.add(_command(name)))
    jobs: list[str] = []
    taken: list[str] = []
    while len(jobs) < 20 or len(taken) < 20:
        for found in at_once(*[lambda one=one: one.write(lambda tx: tx.jobs.lease(NOW, NOW + 9, 2)) for one in stores]):
            jobs += [job.key for job in found]
        for got in at_once(*[lambda o=o: o.write(lambda tx: tx.commands.lease(NOW, NOW + 9, 2)) for o in stores]):
            taken += [record.command.id for record in got]
    names = [f"{number:02}" for number in range(20)]
    assert (sorted(jobs), sorted(taken)) == (names, names)


@pytest.mark.postgres
def test_a_command_is_taken_once_where_older_ones_come_free_meanwhile(postgres_database: Engine) -> None:
    """Who looks further for what it may take does not meet it again behind those that another one has let go of."""
    store = make_store(postgres_database)
    for number, platform in enumerate(("slack", "slack", "slack", "dingtalk", "slack")):
        store.write(lambda tx, n=number, p=platform: tx.commands.add(_command(f"{n:02}", p)))
    with postgres_database.connect() as other:
        other.execute(select(commands.c.id).where(commands.c.id < "02").with_for_update())

        def take(_typed: str, platform: str) -> bool:
            other.rollback()
            return platform == "dingtalk"

        taken = store.write(lambda tx: tx.commands.lease(NOW, NOW + 9, 2, take))
    store.close()
    assert [record.command.id for record in taken] == ["03"]


def _command(name: str, platform: str = "slack") -> Command:
    return Command(name, f"press-{name}", Actor("slack:U1", "u"), "retry a#1", ReplyTo(platform, PLACES[0]))


def test_a_press_heard_by_two_streams_is_one_command(stores: list[SqlStore], database: Engine) -> None:
    """Two connections that are both told of a click store it once."""
    for number in range(ROUNDS):
        name = f"{number:02}"
        answers = at_once(*[lambda one=one: one.write(lambda tx: tx.commands.add(_command(name))) for one in stores])  # noqa: B023 - run at once
        assert sorted(answers) == [False, False, False, True]
    assert len(rows(database, select(commands))) == ROUNDS


def test_commands_that_want_one_effect_at_once_cause_it_once(stores: list[SqlStore]) -> None:
    """Four people press Retry at the same moment: one triggers, the others are told who did."""
    for number in range(ROUNDS):
        for person in range(4):
            stores[0].write(lambda tx, name=f"{number:02}.{person}": tx.commands.add(_command(name)))
        records = stores[0].write(lambda tx: tx.commands.lease(NOW, NOW + 30, 4))

        def claim(store: SqlStore, record: Any, effect: str) -> str | None:
            other = store.write(lambda tx: tx.commands.claim_effect(record, effect, NOW))
            return other and other.command.id

        effect = f"retry:a#{number}"
        pairs = zip(stores, records, strict=True)
        holders = at_once(*[lambda s=s, r=r, e=effect: claim(s, r, e) for s, r in pairs])
        assert holders.count(None) == 1
        winner = records[holders.index(None)].command.id
        assert {holder for holder in holders if holder} == {winner}
        for record in records:
            stores[0].write(lambda tx, r=record: tx.commands.settle(r, CommandState.DONE, {}, is_open=False))


def test_a_budget_is_not_exceeded_by_its_first_users(stores: list[SqlStore]) -> None:
    """The first calls of an account, at the same moment, see each other though no row stood for it."""
    for number in range(ROUNDS):
        window = Window(f"slack:T{number}:chat.update", 3)
        taken = at_once(*[_taking(store, [window], f"slack:T/{one}") for one, store in enumerate(stores)])
        assert sorted(isinstance(one, budgeting.Refusal) for one in taken) == [False, False, False, True]
        assert stores[0].read(lambda tx, window=window: tx.budgets.open(window)).spent.count == 3


def _taking(store: SqlStore, windows: Sequence[Window], place: str) -> Callable[[], Any]:
    return lambda: store.write(lambda tx: budgeting.take(tx, windows, place, is_urgent=True, now=NOW))


def test_workers_that_meet_several_budgets_in_any_order_all_end(stores: list[SqlStore]) -> None:
    """Claims that hold one account's budget and want another one's do not wait for each other; none is exceeded."""
    windows = [Window(f"slack:T{number}:chat.update", 20) for number in range(4)]

    def claim(store: SqlStore, at: int) -> int:
        turned = windows[at:] + windows[:at]

        def work(tx: Transaction) -> int:
            taken = [budgeting.take(tx, [one], f"slack:T/{at}", is_urgent=True, now=NOW) for one in turned]
            return sum(not isinstance(one, budgeting.Refusal) for one in taken)

        return sum(store.write(work) for _ in range(ROUNDS))

    counts = at_once(*[lambda store=store, at=at: claim(store, at) for at, store in enumerate(stores)])
    spent = [stores[0].read(lambda tx, window=window: tx.budgets.open(window)).spent.count for window in windows]
    assert sum(counts) == sum(spent)
    assert max(spent) <= 20


def test_entries_written_while_sealers_chain_make_one_chain(stores: list[SqlStore], database: Engine) -> None:
    """Two sealers and two writers at once: every entry is chained once, in the order of its number."""

    def write(store: SqlStore, person: str) -> None:
        for number in range(40):
            entry = AuditEntry(NOW + number, person, "retry", "build:ci/a#1", "done")
            store.write(lambda tx, entry=entry: tx.audit.append(entry))

    def chain(store: SqlStore) -> None:
        for _ in range(15):
            store.write(lambda tx: tx.audit.seal(7))

    at_once(
        lambda: write(stores[0], "slack:U1"),
        lambda: write(stores[1], "slack:U2"),
        lambda: chain(stores[2]),
        lambda: chain(stores[3]),
    )
    while stores[0].write(lambda tx: tx.audit.seal(50)):
        pass
    previous, found = "", rows(database, select(audit).order_by(audit.c.seq))
    assert len(found) == 80
    for row in found:
        entry = AuditEntry(row.at, row.actor, row.verb, row.target, row.outcome, row.detail, row.command_id)
        assert (row.previous_hash, row.hash) == (previous, seal(entry, row.seq, previous))
        previous = row.hash


def test_an_address_is_resolved_while_events_open_cards_there(stores: list[SqlStore], database: Engine) -> None:
    """Cards opened at an unresolved address by one process, while two others learn which place it is, all get there."""
    address, place = "slack:#ci", Place("slack:T/ci", "#ci")
    doors = ingests(stores, [address])

    def tell(door: Ingest, project: str) -> None:
        for number in range(15):
            door.accept([event_of(number, project=project)])

    adopt = [lambda one=one: one.write(lambda tx: tx.places.adopt(address, place)) for one in stores[2:]]
    at_once(lambda: tell(doors[0], "a"), lambda: tell(doors[1], "b"), *adopt)
    stores[0].write(lambda tx: tx.places.adopt(address, place))  # as the worker does that finds work at the address
    found = rows(database, select(cards.c.destination))
    assert [row.destination for row in found] == [place.key] * 30
    assert {row.key for row in rows(database, select(destinations.c.key))} == {address, place.key}


def test_wishes_of_a_channel_at_once_count_as_they_were_said(stores: list[SqlStore]) -> None:
    """Who mutes a project and a moment later asks for all of them gets all, whichever worker is the slower one."""
    both = threading.Barrier(2)

    def wish(store: SqlStore, project: str, at: float, *, is_mute: bool) -> None:
        def work(tx: Transaction) -> None:
            tx.subscriptions.put(Subscription(PLACES[0], project, is_mute, (), "en", "slack:U1"), at)
            with suppress(threading.BrokenBarrierError):
                both.wait(0.05)

        store.write(work)

    at_once(
        lambda: wish(stores[0], "a", NOW, is_mute=True),
        lambda: wish(stores[1], "*", NOW + 1, is_mute=False),
    )
    kept = stores[0].read(lambda tx: tx.subscriptions.for_project("a"))
    assert [(one.project, one.is_mute) for one in kept] == [("*", False)]


def test_overdue_notices_are_opened_once_beside_events(stores: list[SqlStore], database: Engine) -> None:
    """Two clocks that find the same overdue card, while its build goes on, open one notice."""
    door = ingests(stores, PLACES[:1])[0]
    door.accept([event_of(1)])
    slot = [Slot(PLACES[0], "thread:overdue", {})]

    def open_(store: SqlStore) -> None:
        for revision in range(2, 12):
            store.write(lambda tx, r=revision: tx.cards.open(str(key_of(1)), r, slot, is_final=True, at=NOW))

    def tell() -> None:
        for second in range(10):
            door.accept([event_of(1, at=0, started=0, log=str(second))])

    at_once(lambda: open_(stores[1]), lambda: open_(stores[2]), tell)
    assert sorted(row.slot for row in rows(database, select(cards.c.slot))) == ["card", "thread:overdue"]


@pytest.mark.postgres
def test_what_waits_too_long_for_a_lock_is_not_written(
    postgres_database: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody who holds a table for good does not hold a request for good: it is told to come again."""
    from bot.storage import locks

    store = make_store(postgres_database)
    with postgres_database.begin() as other:
        locks.hold(other, locks.Lock.AUDIT)
        entry = AuditEntry(NOW, "slack:U1", "retry", "build:ci/a#1", "done")
        monkeypatch.setattr(groups, "WRITE_DEADLINE_S", 1.0)
        with pytest.raises(StorageUnavailable, match="lock timeout"):
            store.write(lambda tx: tx.audit.append(entry))
    monkeypatch.undo()
    store.write(lambda tx: tx.audit.append(entry))
    assert len(rows(postgres_database, select(audit))) == 1
    store.close()


@pytest.mark.postgres
def test_a_held_lock_stops_only_who_needs_it(postgres_database: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that stands still holds the budgets: a claim gives up soon, a settling waits, and others pass both."""
    monkeypatch.setattr(groups, "WRITE_DEADLINE_S", 30.0)
    monkeypatch.setattr(groups, "LONGEST_WAIT_S", 0.3)
    store = make_store(postgres_database)
    window = Window("slack:T/chat.update", 50, 60.0)
    with ThreadPoolExecutor(2) as pool:
        with postgres_database.connect() as still:
            hold(still, Lock.BUDGETS)
            settling = pool.submit(store.write, lambda tx: tx.budgets.open(window))
            with pytest.raises(StorageUnavailable):
                store.write(lambda tx: tx.budgets.open(window), is_patient=False)
            for number in range(3):
                assert store.write(lambda tx, n=number: tx.events.add(event_of(n), NOW)) is True  # type: ignore[misc]  # bound now
            left = pool.submit(store.write, lambda tx: tx.budgets.open(window))
            assert {settling.done(), left.done()} == {False}
            still.rollback()
        assert settling.result(30).paused_until == left.result(30).paused_until == 0.0
    store.close()


@pytest.mark.postgres
def test_events_of_a_project_that_is_taken_cost_others_one_glance(
    postgres_database: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another door holds the project for long: of twelve events that wait for it one asks, and others pass."""
    monkeypatch.setattr(groups, "LONGEST_WAIT_S", groups.WRITE_DEADLINE_S)  # for slow machines
    monkeypatch.setattr(postgres, "GLANCE_S", 0.9)  # twelve of them would be too long for anybody
    store, begun, gathered = make_store(postgres_database), threading.Event(), threading.Event()
    with ThreadPoolExecutor(ROUNDS + 1) as pool, postgres_database.connect() as door:
        door.execute(text("SELECT pg_advisory_xact_lock(hashtextextended('buildbot/user-service', 0))"))
        busy = pool.submit(store.write, lambda _tx: (begun.set(), gathered.wait(30)))
        assert begun.wait(30)
        waiting = [pool.submit(_adding(store, event_of(number))) for number in range(ROUNDS)]
        wait_until(lambda: store._writer.queue.qsize() == ROUNDS)
        gathered.set()
        busy.result(30)
        assert _adding(store, event_of(1, project="web"))() is True
        door.rollback()
        assert [one.result(30) for one in waiting] == [True] * ROUNDS
    store.close()


def _adding(store: SqlStore, event: Event) -> Callable[[], bool]:
    return lambda: store.write(lambda tx: tx.events.add(event, NOW), Arrival((event,), NOW))


@pytest.mark.postgres
def test_what_stands_aside_for_each_other_is_done_once(
    postgres_database: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Four processes' writers, and those of them that wait for locks, hold what the others want, in either order."""
    monkeypatch.setattr(postgres, "HURRY_S", 0.005)
    stores, names, done = [make_store(postgres_database) for _ in range(4)], ["a", "b"], []
    with postgres_database.begin() as connection:
        connection.execute(budgets.insert(), [{"scope": name, "arrival": 0.0} for name in names])

    def count(store: SqlStore, turned: Sequence[str]) -> None:
        def work(tx: Transaction) -> None:
            assert isinstance(tx, SqlTransaction)
            for name in turned:
                hold_named(tx.unit, name)
                tx.unit.execute(text("UPDATE budgets SET arrival = arrival + 1 WHERE scope = :name"), {"name": name})
                tx.unit.scalar(text("SELECT count(pg_sleep(0.01))"))

        for _ in range(4):
            with suppress(StorageUnavailable):  # on a slow machine
                store.write(work)
                done.append(store)

    at_once(*[lambda one=one, names=names[::way]: count(one, names) for one in stores for way in (1, -1)])
    assert any(store._writer._waiter for store in stores)
    assert done
    assert rows(postgres_database, select(budgets.c.arrival)) == [(len(done),)] * 2
    for store in stores:
        store.close()


@pytest.mark.postgres
def test_who_stands_aside_is_not_said_to_wait_for_the_writer(postgres_database: Engine) -> None:
    """A settling that meets a held lock for long is no sign that the database does not keep up: the door stays open."""
    store, window = make_store(postgres_database), Window("slack:T/chat.update", 50, 60.0)
    with ThreadPoolExecutor(1) as pool:
        with postgres_database.connect() as still:
            hold(still, Lock.BUDGETS)
            settling = pool.submit(store.write, lambda tx: tx.budgets.open(window))
            wait_until(lambda: store.longest_wait_s() > 0.0 or settling.done())
            wait_until(lambda: store.longest_wait_s() == 0.0)
            assert not settling.done()
            still.rollback()
        assert settling.result(30).paused_until == 0.0
    store.close()


@pytest.mark.postgres
def test_who_stands_aside_is_tried_anew_where_its_row_was_made_meanwhile(postgres_database: Engine) -> None:
    """As any single piece is: it meets a new state."""
    store, row = make_store(postgres_database), {"scope": "slack:T/x", "arrival": 1.0}

    def make(tx: Transaction) -> bool:
        assert isinstance(tx, SqlTransaction)
        is_new = tx.unit.execute(select(budgets.c.scope)).first() is None
        if is_new:
            tx.unit.execute(budgets.insert(), row)
        return is_new

    with ThreadPoolExecutor(1) as pool, postgres_database.connect() as other:
        other.execute(budgets.insert(), row)
        making = pool.submit(store.write, make)
        wait_until(lambda: store._writer._waiter)
        waits = text("SELECT count(*) FROM pg_locks WHERE NOT granted")
        wait_until(lambda: other.scalar(waits))
        other.commit()
        assert making.result(30) is False
    store.close()


@pytest.mark.postgres
def test_who_meets_a_lock_is_answered_when_the_store_closes(postgres_database: Engine) -> None:
    """Nobody waits for an answer that no writer will give."""
    store, window = make_store(postgres_database), Window("slack:T/chat.update", 50, 60.0)
    with ThreadPoolExecutor(1) as pool, postgres_database.connect() as still:
        hold(still, Lock.BUDGETS)
        settling = pool.submit(store.write, lambda tx: tx.budgets.open(window))
        wait_until(lambda: store._writer._waiter)
        store._writer.close()
        with pytest.raises(StorageUnavailable):
            settling.result(5)
    store.close()
