"""What the tables promise: one event a delivery, one holder a lease, one cause an effect, one place a key."""

from __future__ import annotations

from dataclasses import replace

import pytest
from sqlalchemy import Engine, select, text, update

from bot.domain.audit import AuditEntry, seal
from bot.domain.builds import BuildStatus
from bot.domain.commands import Actor, Command, CommandState, ReplyTo
from bot.domain.folding import fold
from bot.domain.places import Place
from bot.errors import LeaseLost
from bot.ports import CardRecord, CommandRecord, Settlement, Slot, SubjectRecord, Subscription
from bot.storage.tables import attempts, audit, commands
from tests.stores import NOW, SqlStore, event_of, key_of, make_store

SUBJECT = str(key_of())
PLACE = "slack:T/ci"
SECRET_URL = "https://hooks.slack.com/commands/T1/2/verysecret"


def _open(store: SqlStore, *places: str, revision: int = 1, is_final: bool = False) -> None:
    slots = [Slot(place, "card", {"locale": "en"}) for place in places]
    store.write(lambda tx: tx.places.ensure([Place(place, place) for place in places]))
    store.write(lambda tx: tx.cards.open(SUBJECT, revision, slots, is_final=is_final, at=NOW))


def _card(store: SqlStore, place: str = PLACE) -> CardRecord:
    return next(c for c in store.read(lambda tx: tx.cards.of_subject(SUBJECT)) if c.destination == place)


def _add(store: SqlStore, name: str, *, person: str = "U1", url: str | None = None) -> bool:
    reply_to = ReplyTo("slack", PLACE, url=url)
    command = Command(name, f"press:{name}", Actor(f"slack:{person}", person), "retry a#1", reply_to, accepted_at=NOW)
    return store.write(lambda tx: tx.commands.add(command))


def _take(store: SqlStore, now: float = NOW) -> list[CommandRecord]:
    return list(store.write(lambda tx: tx.commands.lease(now, now + 30, 10)))


def test_the_same_delivery_is_one_event(store: SqlStore) -> None:
    """A redelivery is told apart from a new event, per source."""
    event = event_of()
    known = [store.write(lambda tx, e=e: tx.events.add(e, NOW)) for e in (event, event, replace(event, source="other"))]
    assert known == [True, False, True]
    assert len(store.read(lambda tx: tx.events.of_subject(SUBJECT, 10))) == 2


def test_neighbours_are_of_the_same_line(store: SqlStore) -> None:
    """Before and after a run stand finished runs of its source, project and branch, never the run itself."""
    others = [
        event_of(1, BuildStatus.FAILED, at=10),
        event_of(2, BuildStatus.RUNNING, at=20),
        event_of(3, BuildStatus.SUCCESS, at=30, branch="dev"),
        event_of(4, BuildStatus.SUCCESS, at=40, source="other"),
        event_of(5, BuildStatus.FAILED, at=50),
        event_of(6, BuildStatus.FAILED, at=70),
    ]
    for event in others:
        record = SubjectRecord(event.subject, fold(None, event), 1)
        store.write(lambda tx, record=record: tx.subjects.put(record, NOW))
    again = SubjectRecord(key_of(5), fold(None, event_of(5, BuildStatus.SUCCESS, at=60, attempt=2)), 2)
    earlier, later = store.read(lambda tx: tx.subjects.neighbours(again))
    assert earlier is not None
    assert later is not None
    assert (earlier.key.number, later.key.number) == ("1", "6")


@pytest.mark.parametrize(
    ("number", "earlier", "later"), [(8, None, "9"), (9, "8", "10"), (10, "9", "11"), (11, "10", None)]
)
def test_runs_that_began_in_one_second_are_told_apart(
    store: SqlStore, number: int, earlier: str | None, later: str | None
) -> None:
    """CI systems count whole seconds: of those that began together the lower number comes first, 9 before 10."""
    for one in (10, 9, 11, 8):
        event = event_of(one, BuildStatus.FAILED, at=10)
        record = SubjectRecord(event.subject, fold(None, event), 1)
        store.write(lambda tx, record=record: tx.subjects.put(record, NOW))
    asked = SubjectRecord(key_of(number), fold(None, event_of(number, BuildStatus.FAILED, at=10)), 1)
    found = store.read(lambda tx: tx.subjects.neighbours(asked))
    assert [run.key.number if run else None for run in found] == [earlier, later]


def test_two_workers_never_hold_one_destination(store: SqlStore) -> None:
    """What one has taken the other does not get, until the lease ends; then with a higher fence."""
    _open(store, PLACE, "slack:T/dev")
    first = store.write(lambda tx: tx.deliveries.lease(NOW, NOW + 30, 1))
    second = store.write(lambda tx: tx.deliveries.lease(NOW, NOW + 30, 5))
    assert sorted(lease.key for lease in (*first, *second)) == [PLACE, "slack:T/dev"]
    assert store.write(lambda tx: tx.deliveries.lease(NOW + 29, NOW + 60, 5)) == []
    again = store.write(lambda tx: tx.deliveries.lease(NOW + 30, NOW + 60, 5))
    assert len(again) == 2
    assert {lease.fence for lease in again} == {2}


def test_settling_after_a_lost_lease_changes_nothing(store: SqlStore) -> None:
    """The late answer of a worker that was given up is not written over the new holder's."""
    _open(store, PLACE)
    late = store.write(lambda tx: tx.deliveries.lease(NOW, NOW + 30, 1))[0]
    holder = store.write(lambda tx: tx.deliveries.lease(NOW + 30, NOW + 60, 1))[0]
    card = _card(store)
    settlement = Settlement(card.id, "sent", shown_revision=1, message_ref="m1")
    assert store.write(lambda tx: tx.deliveries.settle(late, None, settlement, NOW)) is False
    assert store.write(lambda tx: tx.pacing.release(late, arrival=0.0, free_at=0.0, reason="")) is False
    assert _card(store) == card
    assert store.write(lambda tx: tx.deliveries.settle(holder, None, settlement, NOW)) is True
    assert (_card(store).message_ref, _card(store).shown_revision) == ("m1", 1)


def test_a_post_that_was_never_settled_stays_in_doubt(store: SqlStore, database: Engine) -> None:
    """After a crash the next holder sees which attempt may have posted, and when; settling ends the doubt."""
    _open(store, PLACE)
    card = _card(store)
    store.write(lambda tx: tx.deliveries.lease(NOW, NOW + 30, 1))
    store.write(lambda tx: tx.deliveries.begin(card, "attempt-1", "post", NOW))
    lease = store.write(lambda tx: tx.deliveries.lease(NOW + 31, NOW + 60, 1))[0]
    doubt = store.write(lambda tx: tx.deliveries.due_cards(PLACE, NOW + 31, 5))[0]
    assert (doubt.attempt_id, doubt.attempt_started_at, doubt.attempt_revision) == ("attempt-1", NOW, 1)
    store.write(
        lambda tx: tx.deliveries.settle(lease, "attempt-1", Settlement(card.id, "found", 1, "", "m1"), NOW + 32)
    )
    assert _card(store).attempt_id is None
    with database.connect() as connection:
        assert connection.execute(select(attempts.c.outcome, attempts.c.finished_at)).all() == [("found", NOW + 32)]


def test_a_failed_attempt_pauses_final_states_too(store: SqlStore) -> None:
    """The pace of progress does not hold a final state back, the pause of a rate limit does."""
    _open(store, PLACE, is_final=True)
    lease = store.write(lambda tx: tx.deliveries.lease(NOW, NOW + 30, 1))[0]
    limited = Settlement(_card(store).id, "paused:rate_limited", due_at=NOW + 40)
    store.write(lambda tx: tx.deliveries.settle(lease, None, limited, NOW))
    assert _card(store).due_at == NOW + 40
    paced = Settlement(_card(store).id, "sent", shown_revision=0, due_at=NOW + 2)
    store.write(lambda tx: tx.deliveries.settle(lease, None, paced, NOW))
    assert _card(store).due_at == 0.0


def test_cards_come_before_threads_and_progress_last(store: SqlStore) -> None:
    """A destination's turn goes to new cards, then final states, then threads, then progress."""
    _open(store, PLACE)
    for name, number, is_final, ref in (("progress", 1, False, "m"), ("final", 2, True, "m"), ("new", 3, False, None)):
        subject = f"{name}#{number}"
        store.write(
            lambda tx, s=subject, f=is_final: tx.cards.open(s, 2, [Slot(PLACE, "card", {})], is_final=f, at=NOW)
        )
        if ref is not None:
            lease = store.write(lambda tx: tx.deliveries.lease(NOW, NOW, 1))[0]
            card = store.read(lambda tx, s=subject: tx.cards.of_subject(s))[0]
            shown = Settlement(card.id, "sent", shown_revision=1, message_ref=ref)
            store.write(lambda tx, lease=lease, shown=shown: tx.deliveries.settle(lease, None, shown, NOW))
    store.write(lambda tx: tx.cards.open("thread#4", 1, [Slot(PLACE, "notice", {})], is_final=True, at=NOW))
    due = store.write(lambda tx: tx.deliveries.due_cards(PLACE, NOW, 10))
    assert [card.subject for card in due] == [SUBJECT, "new#3", "final#2", "thread#4", "progress#1"]


def test_a_forgotten_card_never_lends_its_id(store: SqlStore) -> None:
    """The number of a dropped card is not given to another: an attempt under way would settle the wrong one."""
    _open(store, PLACE)
    old = _card(store).id
    store.write(lambda tx: tx.cards.forget(SUBJECT))
    _open(store, PLACE)
    assert _card(store).id > old


def test_an_address_that_resolves_takes_its_cards_along(store: SqlStore) -> None:
    """What was wanted at the address is wanted at the place, once, whatever stood there already."""
    _open(store, "slack:#ci", "slack:#builds")
    store.write(lambda tx: tx.places.adopt("slack:#ci", Place(PLACE, "#ci")))
    store.write(lambda tx: tx.places.adopt("slack:#builds", Place(PLACE, "#ci")))
    assert [card.destination for card in store.read(lambda tx: tx.cards.of_subject(SUBJECT))] == [PLACE]
    assert store.read(lambda tx: tx.places.key_of("slack:#builds")) == PLACE
    leases = store.write(lambda tx: tx.deliveries.lease(NOW, NOW + 30, 5))
    assert [(lease.key, lease.label) for lease in leases] == [(PLACE, "#ci")]


def test_budgets_are_shared_through_the_database(store: SqlStore) -> None:
    """An account's arrival time and pause are kept apart and read back."""
    assert store.write(lambda tx: tx.pacing.arrival("slack:T/chat.update")) == (0.0, 0.0)
    store.write(lambda tx: tx.pacing.spend("slack:T/chat.update", NOW + 1))
    store.write(lambda tx: tx.pacing.pause("slack:T/chat.update", NOW + 30))
    store.write(lambda tx: tx.pacing.spend("slack:T/chat.update", NOW + 2))
    assert store.write(lambda tx: tx.pacing.arrival("slack:T/chat.update")) == (NOW + 2, NOW + 30)


def test_a_shorter_pause_ends_no_longer_one(store: SqlStore) -> None:
    """Two calls of one account were refused: for an hour, then for a minute. It rests an hour."""
    for until in (NOW + 3600, NOW + 60, NOW + 3700):
        before = store.write(lambda tx: tx.pacing.arrival("dingtalk:robot"))[1]
        store.write(lambda tx, until=until: tx.pacing.pause("dingtalk:robot", until))  # type: ignore[misc]  # bound now
        assert store.write(lambda tx: tx.pacing.arrival("dingtalk:robot"))[1] == max(before, until)


def test_pauses_are_told_as_long_as_they_matter(store: SqlStore) -> None:
    """Those of the scopes asked about that are not over for long; asking makes no scope known."""
    for scope, until in (("metrics:a", NOW + 30), ("metrics:b", NOW - 30), ("metrics:c", NOW - 900)):
        store.write(lambda tx, one=(scope, until): tx.pacing.pause(*one))  # type: ignore[misc]  # bound now
    asked = ("metrics:a", "metrics:b", "metrics:c", "metrics:unheard")
    assert store.read(lambda tx: tx.pacing.pauses(asked, NOW - 300)) == {"metrics:a": NOW + 30, "metrics:b": NOW - 30}
    assert store.read(lambda tx: tx.pacing.pauses((), NOW)) == {}


def test_two_commands_cause_one_effect(store: SqlStore) -> None:
    """The second to claim an effect gets the first one, and can claim it only after it was freed."""
    assert [_add(store, "01"), _add(store, "02", person="U2"), _add(store, "01")] == [True, True, False]
    first, second = _take(store)
    assert store.write(lambda tx: tx.commands.claim_effect(first, "retry:a#1", NOW)) is None
    other = store.write(lambda tx: tx.commands.claim_effect(second, "retry:a#1", NOW))
    assert other is not None
    assert (other.command.id, other.command.actor.account) == ("01", "slack:U1")
    store.write(lambda tx: tx.commands.settle(first, CommandState.FAILED, {}, is_open=False, frees_effect=True))
    assert store.write(lambda tx: tx.commands.claim_effect(second, "retry:a#1", NOW)) is None


def test_a_worker_that_lost_its_lease_claims_no_effect(store: SqlStore) -> None:
    """A worker that hung until another took over must not trigger what that one triggers."""
    _add(store, "01")
    late = _take(store)[0]
    holder = _take(store, NOW + 30)[0]
    with pytest.raises(LeaseLost):
        store.write(lambda tx: tx.commands.claim_effect(late, "retry:a#1", NOW))
    assert store.write(lambda tx: tx.commands.claim_effect(holder, "retry:a#1", NOW)) is None
    with pytest.raises(LeaseLost):
        store.write(lambda tx: tx.commands.claim_effect(late, "retry:a#1", NOW))
    assert store.write(lambda tx: tx.commands.settle(late, CommandState.DONE, {}, is_open=False)) is False


def test_a_crash_leaves_the_time_of_the_trigger(store: SqlStore) -> None:
    """The next holder knows when the last one was about to trigger, and how often the command was tried."""
    _add(store, "01")
    first = _take(store)[0]
    store.write(lambda tx: tx.commands.claim_effect(first, "retry:a#1", NOW + 5))
    again = _take(store, NOW + 31)[0]
    assert (first.triggered_at, again.triggered_at, again.command.tries) == (None, NOW + 5, 2)


def test_bearer_urls_are_encrypted_and_dropped(store: SqlStore, database: Engine) -> None:
    """No row of the database holds the address that anybody could answer with; it comes back to the worker."""
    _add(store, "01", url=SECRET_URL)
    with database.connect() as connection:
        row = connection.execute(select(commands)).one()
    assert b"verysecret" not in bytes(row.reply_url)
    assert "verysecret" not in repr(row)
    record = _take(store)[0]
    assert record.command.reply_to.url == SECRET_URL
    store.write(lambda tx: tx.commands.settle(record, CommandState.DONE, {}, is_open=False))
    with database.connect() as connection:
        assert connection.scalar(text("SELECT reply_url FROM commands")) is None


def test_an_answer_with_a_replaced_key_goes_the_slower_way(store: SqlStore, database: Engine) -> None:
    """A database opened with another key gives commands without their addresses instead of failing."""
    _add(store, "01", url=SECRET_URL)
    other = make_store(database)
    assert _take(other)[0].command.reply_to.url is None
    other.close()


def test_jobs_are_held_by_one_and_end_once(store: SqlStore) -> None:
    """A job of one key exists once, waits while leased, and is settled only by its holder."""
    for _ in range(2):
        store.write(lambda tx: tx.jobs.add("enrich:a", "enrich", SUBJECT, {}, due_at=NOW, at=NOW))
    late = store.write(lambda tx: tx.jobs.lease(NOW, NOW + 30, 5))
    assert len(late) == 1
    assert store.write(lambda tx: tx.jobs.lease(NOW, NOW + 30, 5)) == []
    assert store.read(lambda tx: tx.jobs.next_due_at()) == NOW + 30
    holder = store.write(lambda tx: tx.jobs.lease(NOW + 30, NOW + 60, 5))[0]
    assert store.write(lambda tx: tx.jobs.settle(late[0], due_at=None)) is False
    assert store.write(lambda tx: tx.jobs.settle(holder, due_at=NOW + 90, tries=1)) is True
    assert store.read(lambda tx: tx.jobs.next_due_at()) == NOW + 90


def test_a_channel_has_one_wish_a_project(store: SqlStore) -> None:
    """A later wish replaces the earlier one; wishes for every project count too."""
    for project, is_mute in (("*", False), ("user-service", False), ("user-service", True), ("billing", False)):
        wish = Subscription(PLACE, project, is_mute, ("failed",), "zh-CN", "slack:U1")
        store.write(lambda tx, wish=wish: tx.subscriptions.put(wish, NOW))
    found = store.read(lambda tx: tx.subscriptions.for_project("user-service"))
    assert sorted((wish.project, wish.is_mute) for wish in found) == [("*", False), ("user-service", True)]
    store.write(lambda tx: tx.subscriptions.put(Subscription(PLACE, "*", False, (), "en", "slack:U1"), NOW))
    found = store.read(lambda tx: tx.subscriptions.for_project("user-service"))
    assert [(wish.project, wish.is_mute) for wish in found] == [("*", False)]


@pytest.mark.parametrize("project", ["user-service", "*"])
def test_the_wish_that_was_said_last_stays(store: SqlStore, project: str) -> None:
    """One that is stored late, because its worker died, does not end what was said after it."""
    later = Subscription(PLACE, project, True, (), "en", "slack:U1")
    earlier = Subscription(PLACE, "user-service", False, ("failed",), "en", "slack:U2")
    store.write(lambda tx: tx.subscriptions.put(later, NOW + 1))
    store.write(lambda tx: tx.subscriptions.put(earlier, NOW))
    assert store.read(lambda tx: tx.subscriptions.for_project("user-service")) == [later]
    store.write(lambda tx: tx.subscriptions.put(earlier, NOW + 2))
    found = store.read(lambda tx: tx.subscriptions.for_project("user-service"))
    assert earlier in found


def test_the_audit_chain_verifies_until_a_row_is_changed(store: SqlStore, database: Engine) -> None:
    """Entries sealed in several batches form one chain; a changed row no longer fits its seal."""
    for number in range(5):
        entry = AuditEntry(NOW + number, "slack:U1", "retry", f"build:ci/a#{number}", "done", "press", f"{number:02}")
        store.write(lambda tx, entry=entry: tx.audit.append(entry))
    assert [store.write(lambda tx: tx.audit.seal(2)) for _ in range(4)] == [2, 2, 1, 0]
    assert _broken_links(database) == []
    with database.begin() as connection:
        connection.execute(update(audit).where(audit.c.seq == 3).values(actor="slack:U2"))
    assert _broken_links(database) == [3]


def _broken_links(database: Engine) -> list[int]:
    broken, previous = [], ""
    with database.connect() as connection:
        for row in connection.execute(select(audit).order_by(audit.c.seq)):
            entry = AuditEntry(row.at, row.actor, row.verb, row.target, row.outcome, row.detail, row.command_id)
            if row.previous_hash != previous or row.hash != seal(entry, row.seq, previous):
                broken.append(row.seq)
            previous = row.hash
    return broken
