"""Commands and jobs under leases: what is counted against them, whose effect it is, and rows that cannot be read."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import Engine, select, update

from bot.domain.commands import Actor, Command, CommandState, ReplyTo
from bot.ports import CommandRecord
from bot.services.hands import Shares
from bot.storage.tables import commands, jobs
from tests.stores import NOW, SqlStore

EFFECT = "retry:build:ci/a#1@0.1"
UNREADABLE = f"[{'7' * 5000}]"  # JSON to either engine, and a number that Python does not read
IN_DOUBT, RUNNING = CommandState.IN_DOUBT, CommandState.RUNNING


def add(store: SqlStore, name: str, person: str = "U1") -> None:
    """A stored press."""
    command = Command(
        name, f"press:{name}", Actor(f"slack:{person}", person), "retry a#1", ReplyTo("slack", "slack:T/C")
    )
    store.write(lambda tx: tx.commands.add(command))


def take(store: SqlStore, now: float = NOW) -> list[CommandRecord]:
    """All due commands, for 30 s."""
    return list(store.write(lambda tx: tx.commands.lease(now, now + 30, 10)))


def ended_in_doubt(store: SqlStore) -> CommandRecord:
    """A command that holds its effect and was ended without a word on it."""
    add(store, "01")
    (record,) = take(store)
    store.write(lambda tx: tx.commands.claim_effect(record, EFFECT, NOW, {"by": "U1"}))
    store.write(lambda tx: tx.commands.settle(record, IN_DOUBT, {"by": "U1"}, is_open=False))
    return record


def test_deaths_and_faults_are_counted_apart(store: SqlStore) -> None:
    """A holder that is never heard of again is a try; one that puts the command off is a fault, and ends the tries."""
    add(store, "01")
    first, second = take(store)[0], take(store, NOW + 30)[0]
    assert [(one.command.tries, one.faults) for one in (first, second)] == [(1, 0), (2, 0)]
    assert not store.write(lambda tx: tx.commands.put_off(first, NOW + 31))
    assert store.write(lambda tx: tx.commands.put_off(second, NOW + 31))
    third = take(store, NOW + 31)[0]
    assert (third.command.tries, third.faults) == (1, 1)
    store.write(lambda tx: tx.commands.settle(third, RUNNING, {"a": 1}, is_open=True, due_at=NOW + 32))
    fourth = take(store, NOW + 32)[0]
    assert (fourth.command.tries, fourth.faults, fourth.result) == (1, 1, {"a": 1})
    store.write(
        lambda tx: tx.commands.settle(fourth, CommandState.RUNNING, {}, is_open=True, due_at=NOW + 33, faults=0)
    )
    assert take(store, NOW + 33)[0].faults == 0


def test_leases_grow_from_the_fourth_death_on(store: SqlStore) -> None:
    """A command that kills its holders is held longer each time; one beside it is held as usual."""
    add(store, "01")
    now, held = NOW, []
    for _ in range(6):
        take(store, now)
        due_at = store.read(lambda tx: tx.commands.next_due_at())
        assert due_at is not None
        held.append(due_at - now)
        now = due_at
    assert held == [30, 30, 30, 30, 60, 120]
    add(store, "02")
    assert {record.command.id for record in take(store, now)} == {"01", "02"}
    assert store.read(lambda tx: tx.commands.next_due_at()) == now + 30


def test_what_a_command_acts_on_is_noted_with_its_effect(store: SqlStore) -> None:
    """A crash right after the claim leaves the aim behind, for the next holder; a second claim changes nothing."""
    add(store, "01")
    (record,) = take(store)
    store.write(lambda tx: tx.commands.claim_effect(record, EFFECT, NOW + 1, {"source": "ci"}))
    store.write(lambda tx: tx.commands.claim_effect(record, EFFECT, NOW + 2, {"source": "other"}))
    (again,) = take(store, NOW + 31)
    assert (again.triggered_at, again.result) == (NOW + 1, {"source": "ci"})


@pytest.mark.parametrize("is_put_off", [True, False])
def test_an_effect_that_is_freed_was_never_triggered(store: SqlStore, is_put_off: bool) -> None:
    """Who certainly caused nothing holds nothing: neither the effect nor the time of the trigger."""
    add(store, "01")
    (record,) = take(store)
    store.write(lambda tx: tx.commands.claim_effect(record, EFFECT, NOW, {}))
    if is_put_off:
        store.write(lambda tx: tx.commands.put_off(record, NOW + 1, frees_effect=True))
    else:
        state = CommandState.ACCEPTED
        store.write(lambda tx: tx.commands.settle(record, state, {}, is_open=True, due_at=NOW + 1, frees_effect=True))
    (again,) = take(store, NOW + 1)
    assert again.triggered_at is None
    add(store, "02")
    (other,) = take(store, NOW + 2)
    assert store.write(lambda tx: tx.commands.claim_effect(other, EFFECT, NOW + 2)) is None


def test_a_doubt_is_taken_over_once(store: SqlStore) -> None:
    """The next press gets the effect and the time of the first trigger; nobody else does after it."""
    first = ended_in_doubt(store)
    add(store, "02", "U2")
    add(store, "03", "U3")
    second, third = take(store, NOW + 60)
    other = store.write(lambda tx: tx.commands.claim_effect(second, EFFECT, NOW + 60))
    assert other is not None
    assert (other.command.id, other.is_open, other.command.state) == (first.command.id, False, IN_DOUBT)
    assert store.write(lambda tx: tx.commands.take_over(second, other, {"first": ["U1", "slack:U1"]}))
    assert not store.write(lambda tx: tx.commands.take_over(third, other, {}))
    now_held = store.write(lambda tx: tx.commands.claim_effect(third, EFFECT, NOW + 60))
    assert now_held is not None
    assert (now_held.command.id, now_held.triggered_at, now_held.is_open) == ("02", NOW, True)
    assert now_held.result == {"first": ["U1", "slack:U1"]}


def test_an_open_doubt_is_not_taken_over(store: SqlStore) -> None:
    """Who still looks is not disturbed."""
    add(store, "01")
    (record,) = take(store)
    store.write(lambda tx: tx.commands.claim_effect(record, EFFECT, NOW))
    store.write(lambda tx: tx.commands.settle(record, IN_DOUBT, {}, is_open=True, due_at=NOW + 500))
    add(store, "02")
    (second,) = take(store, NOW + 60)
    other = store.write(lambda tx: tx.commands.claim_effect(second, EFFECT, NOW + 60))
    assert other is not None
    assert other.is_open
    assert not store.write(lambda tx: tx.commands.take_over(second, other, {}))


def test_a_late_holder_does_not_end_the_job_that_came_after_its_own(store: SqlStore) -> None:
    """A build that goes on is asked about anew under the same key, which whose job had ended has nothing to do with."""
    store.write(lambda tx: tx.jobs.add("a", "poll", "build:ci/a#1", {}, due_at=NOW, at=NOW))
    (late,) = store.write(lambda tx: tx.jobs.lease(NOW, NOW + 30, 1))
    (holder,) = store.write(lambda tx: tx.jobs.lease(NOW + 30, NOW + 60, 1))
    assert store.write(lambda tx: tx.jobs.settle(holder, due_at=None))
    store.write(lambda tx: tx.jobs.add("a", "poll", "build:ci/a#1", {}, due_at=NOW + 31, at=NOW + 31))
    (newer,) = store.write(lambda tx: tx.jobs.lease(NOW + 31, NOW + 61, 1))
    assert not store.write(lambda tx: tx.jobs.settle(late, due_at=None))
    assert store.write(lambda tx: tx.jobs.settle(newer, due_at=NOW + 40))


def test_a_job_can_keep_where_it_stands(store: SqlStore) -> None:
    """What a job is put off with comes back with its next lease."""
    store.write(lambda tx: tx.jobs.add("a", "reconcile", "ci", {}, due_at=NOW, at=NOW))
    (job,) = store.write(lambda tx: tx.jobs.lease(NOW, NOW + 30, 5))
    assert store.write(lambda tx: tx.jobs.settle(job, due_at=NOW + 1, arguments={"mark": "7"}))
    (again,) = store.write(lambda tx: tx.jobs.lease(NOW + 1, NOW + 30, 5))
    assert again.arguments == {"mark": "7"}
    assert store.write(lambda tx: tx.jobs.settle(again, due_at=NOW + 2, tries=1))
    assert store.write(lambda tx: tx.jobs.lease(NOW + 2, NOW + 30, 5))[0].arguments == {"mark": "7"}


def _rows(database: Engine, query: Any) -> list[tuple[Any, ...]]:
    with database.connect() as connection:
        return [tuple(row) for row in connection.execute(query)]


def test_a_job_that_cannot_be_decoded_is_dropped_alone(store: SqlStore, database: Engine) -> None:
    """The jobs beside it are taken."""
    for name in "abc":
        store.write(lambda tx, n=name: tx.jobs.add(n, "poll", "s", {}, due_at=NOW, at=NOW))
    with database.begin() as connection:
        connection.exec_driver_sql(f"UPDATE jobs SET arguments = '{UNREADABLE}' WHERE key = 'b'")
    taken = store.write(lambda tx: tx.jobs.lease(NOW, NOW + 30, 5))
    assert [job.key for job in taken] == ["a", "c"]
    assert _rows(database, select(jobs.c.key)) == [("a",), ("c",)]


@pytest.mark.parametrize("subject", ["build:x", "build:x/p#1", "x"])
def test_jobs_of_a_full_kin_are_passed_over_however_they_name_it(store: SqlStore, subject: str) -> None:
    """Three wait for one source, which may have one; who asks another source is not behind them."""
    for name in "abc":
        store.write(lambda tx, n=name: tx.jobs.add(n, "poll", subject, {}, due_at=NOW - 1, at=NOW))
    store.write(lambda tx: tx.jobs.add("d", "poll", "build:y/p#1", {}, due_at=NOW, at=NOW))
    taken = store.write(lambda tx: tx.jobs.lease(NOW, NOW + 30, 2, Shares(2, 1).taker()))
    assert [job.source for job in taken] == ["x", "y"]


@pytest.mark.parametrize(("triggered_at", "state"), [(None, "failed"), (NOW, "in_doubt")])
def test_a_command_that_cannot_be_decoded_is_closed_alone(
    store: SqlStore, database: Engine, triggered_at: float | None, state: str
) -> None:
    """The commands beside it are taken; it is closed as what it is."""
    for name in ("01", "02", "03"):
        add(store, name)
    with database.begin() as connection:
        connection.exec_driver_sql(f"UPDATE commands SET result = '{UNREADABLE}' WHERE id = '02'")
        connection.execute(update(commands).where(commands.c.id == "02").values(triggered_at=triggered_at))
    assert [record.command.id for record in take(store)] == ["01", "03"]
    found = _rows(database, select(commands.c.id, commands.c.state).where(~commands.c.is_open))
    assert found == [("02", state)]
