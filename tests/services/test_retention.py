"""What is old goes, in small steps; what something still waits for, or is judged by, stays however old it is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from sqlalchemy import Engine, event, func, select, update

from bot.domain.audit import AuditEntry
from bot.domain.budgets import Spent, Window
from bot.domain.builds import BuildStatus
from bot.domain.places import DestinationSettings
from bot.errors import DestinationGone, Rejected
from bot.ports import DeliveryQuery, Transaction
from bot.services import retention
from bot.services.ingest import Outcome
from bot.services.retention import BATCH, LONGEST_REST_S, SUBJECT_BATCH, Limits, Pruner, rest_s
from bot.storage.store import SqliteStore
from bot.storage.tables import cards, jobs, metadata, subjects
from tests.services.deployment_world import a_stage
from tests.services.world import CI, World
from tests.stores import SqlStore, event_of, key_of

RUNNING, SUCCESS, FAILED = BuildStatus.RUNNING, BuildStatus.SUCCESS, BuildStatus.FAILED
DAY = 86400.0
LIMITS = Limits(30 * DAY, 30 * DAY, 90 * DAY, 365 * DAY, 90 * DAY, 90 * DAY)


@pytest.fixture
def pruner(world: World) -> Pruner:
    """Prunes a world by the limits of a new configuration, without pauses."""
    return Pruner(world.store, world.clock, LIMITS, pause_s=0)


def counted(world: World) -> dict[str, int]:
    """How many rows each table holds, but for empty ones."""
    with world.database.connect() as connection:
        rows = {
            name: connection.scalar(select(func.count()).select_from(table)) for name, table in metadata.tables.items()
        }
    return {name: count for name, count in rows.items() if count}


def kept(world: World) -> set[str]:
    """The numbers of the builds that are known."""
    with world.database.connect() as connection:
        return set(connection.scalars(select(subjects.c.number)))


def later(world: World, days: float, number: int | str = 99, status: BuildStatus = SUCCESS) -> None:
    """Let days pass and end another build of the same branch."""
    world.clock.advance(days * DAY)
    at = world.clock.now().timestamp() - event_of().occurred_at.timestamp()
    world.accept(event_of(number, status, at=at))
    world.deliver(5)


def finish(world: World, number: int | str = 12, status: BuildStatus = SUCCESS, at: float = 0.0) -> None:
    """A build that ends and is shown."""
    world.accept(event_of(number, status, at=at))
    world.deliver(5)


def test_what_is_old_goes_by_its_own_limit(world: World, pruner: Pruner) -> None:
    """Events and attempts after thirty days, builds with their cards after ninety, and nothing before."""
    finish(world)
    later(world, 1, 13)
    later(world, 1, 14)
    world.clock.advance(20 * DAY)
    assert pruner.prune() == {}
    world.clock.advance(20 * DAY)
    assert pruner.prune() == {"events": 3, "attempts": 3}
    assert kept(world) == {"12", "13", "14"}
    world.clock.advance(60 * DAY)
    assert pruner.prune() == {"subjects": 2}
    assert counted(world).get("cards") == 1
    assert kept(world) == {"14"}


def test_off_keeps_for_ever(world: World) -> None:
    """Each limit can be lifted by itself."""
    finish(world)
    finish(world, 13, at=5)
    world.ask("help")
    world.work(10)
    before = counted(world)
    world.clock.advance(10_000 * DAY)
    assert Pruner(world.store, world.clock, Limits(None, None, None, None, None, None), pause_s=0).prune() == {}
    assert counted(world) == before
    only_events = Limits(30 * DAY, None, None, None, None, None)
    assert Pruner(world.store, world.clock, only_events, pause_s=0).prune() == {"events": 2}


def test_a_build_that_never_ended_stays(world: World, pruner: Pruner) -> None:
    """Nobody knows whether it runs on, and its card still shows that it does."""
    world.accept(event_of())
    world.deliver(5)
    later(world, 500)
    pruner.prune()
    assert kept(world) == {"12", "99"}
    assert world.card().message_ref


def test_a_card_that_does_not_show_the_end_keeps_its_build(world: World, pruner: Pruner) -> None:
    """However long a channel is out of reach, what was not shown there will be."""
    world.accept(event_of())
    world.deliver(5)
    world.accept(event_of(status=SUCCESS, at=5, started=0))
    later(world, 0, 13)
    with world.database.begin() as connection:  # as after a long outage
        is_old = cards.c.subject_key == str(key_of())
        connection.execute(update(cards).where(is_old).values(shown_revision=1, due_at=1e12))
    world.clock.advance(120 * DAY)
    pruner.prune()
    assert kept(world) == {"12", "13"}
    with world.database.begin() as connection:
        connection.execute(update(cards).where(is_old).values(shown_revision=2, due_at=0.0))
    pruner.prune()
    assert kept(world) == {"13"}


def test_a_card_that_was_given_up_lately_keeps_its_build(world: World, pruner: Pruner) -> None:
    """It can be looked at, with its attempts, and sent again, until its own limit after the last try."""
    world.accept(event_of(status=SUCCESS))
    with world.database.begin() as connection:  # as after an outage of two months
        connection.execute(update(cards).values(due_at=world.clock.now().timestamp() + 60 * DAY))
    later(world, 1, 13)
    world.clock.advance(60 * DAY)
    world.messenger.fail(CI, Rejected("slack", "msg_too_long"))
    world.deliver(5)
    assert world.card().is_dead
    world.clock.advance(60 * DAY)
    pruner.prune()
    assert kept(world) == {"12", "13"}
    assert counted(world)["attempts"] == 1
    world.clock.advance(60 * DAY)
    pruner.prune()
    assert kept(world) == {"13"}
    assert pruner.prune() == {}
    assert "attempts" not in counted(world)


def test_an_attempt_in_doubt_stays(world: World, pruner: Pruner) -> None:
    """Whether its post stands has not been found out."""
    world.accept(event_of())
    world.claim()
    world.clock.advance(40 * DAY)
    assert pruner.prune() == {"events": 1}
    assert counted(world)["attempts"] == 1


def test_the_last_run_of_a_branch_stays_for_the_next_one(world: World, pruner: Pruner) -> None:
    """A success after a failure of half a year ago is still called fixed; a year later nobody waits for it."""
    finish(world, status=FAILED)
    world.clock.advance(200 * DAY)
    pruner.prune()
    assert kept(world) == {"12"}
    later(world, 0, 13)
    record = world.store.read(lambda tx: tx.subjects.get(key_of(13)))
    assert record is not None
    assert record.is_fixed
    pruner.prune()
    assert kept(world) == {"12", "13"}  # 13 may still be told of, and is judged anew then
    world.clock.advance(100 * DAY)
    pruner.prune()
    assert kept(world) == {"13"}
    world.clock.advance(300 * DAY)
    pruner.prune()
    assert kept(world) == set()


def test_a_run_before_one_that_still_runs_stays(world: World, pruner: Pruner) -> None:
    """The running one will be judged by it when it ends, whatever came after."""
    finish(world, 1, FAILED)
    world.accept(event_of(2, at=5))
    finish(world, 3, at=10)
    world.clock.advance(120 * DAY)
    pruner.prune()
    assert kept(world) == {"1", "2", "3"}


def test_a_run_that_a_job_waits_for_stays(world: World, pruner: Pruner) -> None:
    """What is still to be asked of its source is asked."""
    finish(world)
    finish(world, 13, at=5)
    world.store.write(lambda tx: tx.jobs.add("enrich:x", "enrich", str(key_of()), {}, due_at=0.0, at=0.0))
    world.clock.advance(120 * DAY)
    pruner.prune()
    assert kept(world) == {"12", "13"}
    with world.database.begin() as connection:
        connection.execute(jobs.delete())
    pruner.prune()
    assert kept(world) == {"13"}


def test_other_branches_and_projects_do_not_count(world: World, pruner: Pruner) -> None:
    """Each branch of each project of each source has a last run of its own."""
    event = event_of(status=SUCCESS)
    world.accept(event)
    world.accept(event_of(13, SUCCESS, at=5, branch="other"))
    world.accept(event_of(14, SUCCESS, at=5, project="billing"))
    world.accept(event_of(15, SUCCESS, at=5, source="generic"))
    world.deliver(20)
    world.clock.advance(120 * DAY)
    pruner.prune()
    assert kept(world) == {"12", "13", "14", "15"}


def test_a_command_stays_while_it_keeps_its_build_from_a_second_retry(world: World, pruner: Pruner) -> None:
    """Who presses the button of an old card is told who did it before; with the build the command goes."""
    key = world.builds.start()
    world.builds.finish(key, FAILED)
    world.accept(world.builds.fetch(key, with_log=False))
    world.ask("retry user-service#1")
    world.work(10)
    assert len(world.builds.requests) == 1
    world.ask("help")
    world.work(10)
    world.clock.advance(120 * DAY)
    pruner.prune()
    assert counted(world)["commands"] == 1
    world.ask("retry user-service#1", "U2")
    world.work(10)
    assert len(world.builds.requests) == 1
    world.deliver(60)
    world.clock.advance(500 * DAY)
    assert pruner.prune()["commands"] == 2
    assert "commands" not in counted(world)


def test_an_open_command_stays(world: World, pruner: Pruner) -> None:
    """What was acknowledged is carried out, however late."""
    world.ask("help")
    world.clock.advance(500 * DAY)
    assert pruner.prune() == {}
    world.work(10)
    assert pruner.prune() == {"commands": 1}


def test_the_trail_stays(world: World, pruner: Pruner) -> None:
    """Who did what is never removed."""
    entry = AuditEntry(world.clock.now().timestamp(), "slack:U1", "retry", "user-service#12", "started")
    world.store.write(lambda tx: tx.audit.append(entry))
    world.clock.advance(10_000 * DAY)
    assert pruner.prune() == {}
    assert len(world.trail()) == 1


def test_a_delivery_is_known_as_long_as_its_event(world: World, pruner: Pruner) -> None:
    """What comes again within the limit changes nothing; later it folds into the same state."""
    finish(world)
    world.clock.advance(29 * DAY)
    pruner.prune()
    assert world.accept(event_of(status=SUCCESS)) == [Outcome.DUPLICATE]
    world.clock.advance(2 * DAY)
    assert pruner.prune()["events"] == 1
    assert world.accept(event_of(status=SUCCESS)) == [Outcome.UNCHANGED]


@pytest.fixture
def small_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Steps of a few rows, so that a test needs only some."""
    monkeypatch.setattr(retention, "BATCH", 3)
    monkeypatch.setattr(retention, "SUBJECT_BATCH", 2)


@pytest.mark.usefixtures("small_steps")
def test_no_transaction_is_long(world: World, pruner: Pruner) -> None:
    """Much that is old is dropped by many short steps, past what stays at its head, all of it in one go."""
    world.accept(event_of("stays"))
    for number in range(10):
        finish(world, number, at=number + 1)
        world.ask("help")
    world.work(10)
    world.deliver(60)
    world.clock.advance(120 * DAY)
    steps = []
    write = world.store.write

    def counting_write(work: Callable[..., object]) -> object:
        before = sum(counted(world).values())
        result = write(work)
        steps.append(before - sum(counted(world).values()))
        return result

    world.store.write = counting_write  # type: ignore[assignment, method-assign] # the fixture ends with the test
    dropped = pruner.prune()
    assert dropped["events"] == 11
    assert dropped["commands"] == 10
    assert dropped["subjects"] == 9
    assert kept(world) == {"stays", "9"}
    assert max(steps) <= 4  # two builds with a card each


@pytest.mark.usefixtures("small_steps")
def test_a_stop_ends_it_between_two_steps(world: World) -> None:
    """A process that is to end does not finish the whole sweep first."""
    for number in range(7):
        finish(world, number, at=number)
    world.clock.advance(120 * DAY)
    pruner = Pruner(world.store, world.clock, replace(LIMITS, subjects=None), pause_s=0)
    write = world.store.write

    def last_write(work: Callable[..., object]) -> object:
        pruner.stop()
        return write(work)

    world.store.write = last_write  # type: ignore[assignment, method-assign] # the fixture ends with the test
    assert pruner.prune() == {"events": 3}


def test_pruning_scans_no_large_table(sqlite_store: SqliteStore, sqlite_database: Engine) -> None:
    """What it looks at, and what it asks about each row, is found along an index, however much there is."""
    world = World(sqlite_store, sqlite_database)
    key = world.builds.start()
    world.builds.finish(key, FAILED)
    world.accept(world.builds.fetch(key, with_log=False))
    world.ask("retry user-service#1")
    world.work(10)
    finish(world, 13, at=20)
    world.deliver(60)
    world.clock.advance(400 * DAY)
    said: list[tuple[str, object]] = []

    @event.listens_for(sqlite_database, "before_cursor_execute")
    def note(_c: object, _cur: object, statement: str, parameters: object, _ctx: object, _many: bool) -> None:
        said.append((statement, parameters))

    dropped = Pruner(world.store, world.clock, LIMITS, pause_s=0).prune()
    event.remove(sqlite_database, "before_cursor_execute", note)
    assert set(dropped) == {"subjects", "events", "attempts", "commands"}
    plans = []
    with sqlite_database.connect() as connection:
        for statement, parameters in said:
            if statement.startswith(("SELECT", "DELETE")):
                plans += [row[3] for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters)]
    assert len(plans) > 10
    small = {"SCAN budgets", "SCAN budget_waits"}  # a row an account, or a branch that flapped yesterday
    assert [plan for plan in plans if plan.startswith("SCAN") and plan not in small] == []


def test_budgets_that_nobody_uses_go_after_a_day(world: World, pruner: Pruner) -> None:
    """A branch that flapped, an account that was called and who waited for it; what is paused or in use stays."""
    window, now = Window("slack:T:chat.update", 2), world.clock.now().timestamp()
    used = Window("slack:T:chat.postMessage", 2)

    def use(tx: Transaction) -> None:
        tx.pacing.spend("flapping:one", now + 3600)
        tx.pacing.pause("slack:T:paused", now + 2 * DAY)
        for one in (window, used):
            tx.budgets.store(one, Spent(), now)
        tx.budgets.line_up(window.scope, CI, is_urgent=True, now=now, until=now + 60)

    world.store.write(use)
    world.clock.advance(DAY - 60)
    assert pruner.prune() == {}
    world.clock.advance(DAY / 2)
    world.store.write(lambda tx: tx.budgets.store(used, Spent(), world.clock.now().timestamp()))
    assert pruner.prune() == {"budgets": 2}
    assert counted(world) == {"places": 2, "destinations": 2, "budgets": 2}


def test_notices_to_the_admin_go_as_dead_letters_do(make_world: Callable[..., World]) -> None:
    """They hang on no build: the one that was given up is off the list, the one that waits stays, and a cause that
    comes again is told of.
    """
    ops = "slack:T/ops"
    places = {name: DestinationSettings(name, f"slack:#{name}") for name in ("ci", "ops")}
    world = make_world(destinations=places, admin="ops")
    pruner = Pruner(world.store, world.clock, LIMITS, pause_s=0)
    world.messenger.fail(CI, DestinationGone("slack", "not_in_channel"))
    world.messenger.fail(ops, Rejected("slack", "restricted_action"))
    finish(world, 12)
    world.messenger.fail(CI, Rejected("slack", "msg_too_long"))
    finish(world, 13, at=5)
    world.clock.advance(80 * DAY)
    assert "notices" not in pruner.prune()
    with world.database.begin() as connection:  # as while the admin's place is away
        waits = cards.c.slot == "admin", cards.c.message_ref.is_not(None)
        connection.execute(update(cards).where(*waits).values(wanted_revision=9, due_at=1e12))
    world.clock.advance(20 * DAY)
    assert pruner.prune()["notices"] == 1
    assert world.store.read(lambda tx: tx.inspection.find(DeliveryQuery(is_dead=True, destination=ops), 9)) == []
    with world.database.connect() as connection:
        assert connection.scalar(select(func.count()).where(cards.c.slot == "admin")) == 1
    world.messenger.fail(CI, DestinationGone("slack", "not_in_channel"))
    later(world, 0, 14)
    assert world.operations(ops)[-1:] == ["post"]


def test_cards_of_deployments_go_as_those_of_builds_do(store: SqlStore, database: Engine) -> None:
    """What is known of the deployments stays: which version is out, and what was good before it."""
    stage = a_stage(store, database)
    stage.world.messenger.fail(CI, Rejected("slack", "msg_too_long"))
    for version in ("v1", "v2"):
        stage.good(version)
        stage.world.deliver(60)
    pruner = Pruner(store, stage.world.clock, LIMITS, pause_s=0)
    stage.world.clock.advance(100 * DAY)
    assert pruner.prune()["subjects"] == 1
    stage.world.clock.advance(300 * DAY)
    assert pruner.prune()["subjects"] == 1
    rows = counted(stage.world)
    assert (rows.get("cards"), rows.get("attempts"), rows["deployments"]) == (None, None, 2)


def test_steps_take_a_small_share_of_the_time() -> None:
    """A rest grows with the step before it, and where steps are quick is not shorter than it has to be."""
    assert rest_s(0.0001, 0.1) == 0.1
    assert 0.002 / (0.002 + rest_s(0.002, 0.1)) < 0.01
    assert rest_s(5.0, 0.1) == LONGEST_REST_S


def test_pruning_does_not_fall_behind() -> None:
    """With the longest rests there is time in a day for a million events, their builds, attempts and commands."""
    events, builds, commands = 1_000_000, 200_000, 20_000
    attempts = 3 * builds
    steps = (events + attempts + commands) / BATCH + builds / SUBJECT_BATCH
    assert steps * (LONGEST_REST_S + 0.2) < DAY
