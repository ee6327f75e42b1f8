"""Work with trackers, polls and rotating tokens in the database."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import pytest
from sqlalchemy import Engine, select

from bot.ports import Transaction
from bot.ports.retention import START
from bot.ports.tracking import ORIGIN, TrackerTask
from bot.storage.tables import tokens, tracker_tasks
from tests.stores import NOW, SqlStore, make_store

T = TypeVar("T")


def add(store: SqlStore, key: str = "changelog:1", kind: str = "status_reached", due_at: float | None = NOW) -> bool:
    """Store a piece of work for the tracker jira."""
    return store.write(lambda tx: tx.tracker_tasks.add("jira", key, kind, {"key": key}, due_at=due_at, at=NOW))


def lease(store: SqlStore, at: float = NOW) -> list[TrackerTask]:
    """Take what is due, for 30 s."""
    return list(store.write(lambda tx: tx.tracker_tasks.lease(at, at + 30, 10)))


def test_a_key_is_stored_once(store: SqlStore) -> None:
    """The second time it is known, also when it is done; another tracker's is another one."""
    assert (add(store), add(store)) == (True, False)
    [task] = lease(store)
    assert store.write(lambda tx: tx.tracker_tasks.settle(task, "done"))
    assert add(store) is False
    assert store.write(lambda tx: tx.tracker_tasks.add("other", "changelog:1", "k", {}, due_at=None, at=NOW))
    assert store.read(lambda tx: tx.tracker_tasks.get("jira", "changelog:1")) == {"key": "changelog:1"}
    assert store.read(lambda tx: tx.tracker_tasks.get("jira", "changelog:2")) is None


def test_known_keys_are_told_of_at_once(store: SqlStore) -> None:
    """However many are asked about, done or not, and one tracker's only."""
    add(store)
    add(store, "k" * 400, due_at=None)
    store.write(lambda tx: tx.tracker_tasks.add("other", "changelog:7", "k", {}, due_at=None, at=NOW))
    asked = [f"changelog:{number}" for number in range(1200)] + ["k" * 400]
    assert store.read(lambda tx: tx.tracker_tasks.known("jira", asked)) == {"changelog:1", "k" * 400}
    assert store.read(lambda tx: tx.tracker_tasks.known("jira", [])) == frozenset()


def test_what_a_piece_of_work_says_is_amended_under_its_lease(store: SqlStore) -> None:
    """Whoever takes it up later finds what was done; one that lost the lease changes nothing."""
    add(store)
    [slow] = lease(store)
    [task] = lease(store, NOW + 31)
    assert not store.write(lambda tx: tx.tracker_tasks.amend(slow, {"did": ["late"]}))
    assert store.write(lambda tx: tx.tracker_tasks.amend(task, {"did": ["moved"]}))
    [again] = lease(store, NOW + 62)
    assert again.body == {"did": ["moved"]}


def test_a_key_that_is_too_long_is_still_one_key(store: SqlStore) -> None:
    """Bounded by its digest: two long keys that begin alike are two."""
    assert [add(store, "k" * 400), add(store, "k" * 400), add(store, "k" * 399 + "x")] == [True, False, True]
    assert store.read(lambda tx: tx.tracker_tasks.get("jira", "k" * 400)) == {"key": "k" * 400}


def test_work_is_leased_put_off_and_ended(store: SqlStore) -> None:
    """One worker has it at a time; a lost lease settles nothing; what is ended is not taken again."""
    add(store)
    add(store, "remembered", due_at=None)
    assert store.read(lambda tx: tx.tracker_tasks.next_due_at()) == NOW
    [task] = lease(store)
    assert (task.tracker, task.key, task.kind, task.tries, task.created_at) == (
        "jira",
        "changelog:1",
        "status_reached",
        0,
        NOW,
    )
    assert lease(store, NOW + 1) == []
    [again] = lease(store, NOW + 31)
    assert not store.write(lambda tx: tx.tracker_tasks.settle(task, "done"))
    assert store.write(lambda tx: tx.tracker_tasks.settle(again, "retry:x", due_at=NOW + 60, tries=1))
    assert store.read(lambda tx: tx.tracker_tasks.next_due_at()) == NOW + 60
    [third] = lease(store, NOW + 60)
    assert third.tries == 1
    assert store.write(lambda tx: tx.tracker_tasks.settle(third, "x" * 300))
    assert store.read(lambda tx: tx.tracker_tasks.next_due_at()) is None


def test_old_work_is_dropped_but_for_what_is_needed_later(store: SqlStore, database: Engine) -> None:
    """A version that was released is told by every poll: forgotten, it would be deployed anew.

    A deployment may be held, or rolled back, long after: its issue is told all the same.
    """
    add(store, "open")
    add(store, "ended", due_at=None)
    add(store, "release", kind="version_released", due_at=None)
    add(store, "deployment:1", kind=ORIGIN, due_at=None)
    swept = store.write(lambda tx: tx.retention.tracker_tasks(NOW + 1, START, 10))
    assert (swept.dropped, swept.after) == (1, None)
    assert store.write(lambda tx: tx.retention.tracker_tasks(NOW, START, 10)).dropped == 0
    with database.connect() as connection:
        assert set(connection.scalars(select(tracker_tasks.c.key))) == {"open", "release", "deployment:1"}


def test_polls_are_remembered(store: SqlStore) -> None:
    """Nothing at first, then the last word."""
    assert store.read(lambda tx: tx.polls.get("jira")) is None
    for polled_at in (NOW, NOW + 60):
        store.write(lambda tx, polled_at=polled_at: tx.polls.put("jira", NOW, polled_at))  # type: ignore[misc]  # bound now
    assert store.read(lambda tx: tx.polls.get("jira")) == (NOW, NOW + 60)


def test_a_token_is_renewed_by_one_at_a_time(store: SqlStore) -> None:
    """Who holds it replaces it; others wait, and a holder who took too long replaces nothing."""

    def write(work: Callable[[Transaction], T]) -> T:
        return store.write(work)

    assert store.read(lambda tx: tx.tokens.read("jira")) is None
    first = write(lambda tx: tx.tokens.hold("jira", NOW, NOW + 20))
    assert first is not None
    assert first.value == ""
    assert write(lambda tx: tx.tokens.hold("jira", NOW + 1, NOW + 21)) is None
    second = write(lambda tx: tx.tokens.hold("jira", NOW + 20, NOW + 40))
    assert second is not None
    assert not write(lambda tx: tx.tokens.replace("jira", first, "stale", NOW))
    assert write(lambda tx: tx.tokens.replace("jira", second, "fresh", NOW + 3600))
    read = store.read(lambda tx: tx.tokens.read("jira"))
    assert read is not None
    assert (read.value, read.expires_at) == ("fresh", NOW + 3600)
    third = write(lambda tx: tx.tokens.hold("jira", NOW + 21, NOW + 41))
    assert third is not None
    assert third.value == "fresh"


def test_tokens_are_stored_encrypted(store: SqlStore, database: Engine) -> None:
    """No column holds what was stored, and with another key it is as if there were none."""
    held = store.write(lambda tx: tx.tokens.hold("jira", NOW, NOW + 20))
    assert held is not None
    store.write(lambda tx: tx.tokens.replace("jira", held, "top-secret", NOW))
    with database.connect() as connection:
        [row] = connection.execute(select(tokens)).all()
    assert b"top-secret" not in row.value
    other = make_store(database)
    assert other.read(lambda tx: tx.tokens.read("jira")) is None
    other.close()


@pytest.mark.parametrize("limit", [1, 5])
def test_sweeping_goes_on_where_there_is_more(store: SqlStore, limit: int) -> None:
    """A full step says that another one is needed."""
    for number in range(3):
        add(store, f"ended-{number}", due_at=None)
    swept = store.write(lambda tx: tx.retention.tracker_tasks(NOW + 1, START, limit))
    assert (swept.dropped, swept.after is None) == (min(limit, 3), limit > 3)
