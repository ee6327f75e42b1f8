"""Lets go of what is old, a few rows a transaction.

What to look at is found along an index on time; what must stay is left out by the statement that deletes, so that it
is judged by the newest state.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import (
    Column,
    ColumnElement,
    Select,
    Table,
    and_,
    bindparam,
    delete,
    exists,
    not_,
    or_,
    select,
    text,
)

from bot.domain.issues import ChangeKind
from bot.domain.places import ADMIN_SLOT
from bot.ports.retention import Cursor, SubjectAge, Swept
from bot.ports.tracking import ORIGIN
from bot.storage.tables import attempts, budget_waits, budgets, cards, commands, events, jobs, subjects, tracker_tasks
from bot.storage.unit import Unit

_TRY_LINE = text("SELECT pg_try_advisory_xact_lock(hashtextextended(:line, 0))")  # see SqlEventLog.add


def _page(table: Table, at: Column[Any], key: Column[Any], *more: ColumnElement[Any]) -> Select[Any]:
    """The oldest rows from a cursor on, as (time, key, …)."""
    come_after = and_(at >= bindparam("since"), or_(at > bindparam("since"), key > bindparam("last")))
    rows = select(at, key, *more).select_from(table).where(at < bindparam("before"), come_after)
    return rows.order_by(at, key).limit(bindparam("most"))


_OLD_EVENTS = (
    select(events.c.id)
    .where(events.c.received_at < bindparam("before"))
    .order_by(events.c.received_at)
    .limit(bindparam("most"))
)
_DROP_EVENTS = delete(events).where(events.c.id.in_(_OLD_EVENTS))

_OLD_ATTEMPTS = _page(attempts, attempts.c.started_at, attempts.c.id)
_IS_NEEDED_ATTEMPT = exists(
    select(cards.c.id).where(
        cards.c.id == attempts.c.card_id, or_(cards.c.is_dead, cards.c.attempt_id == attempts.c.id)
    )
)
_DROP_ATTEMPTS = delete(attempts).where(attempts.c.id.in_(bindparam("keys", expanding=True)), not_(_IS_NEEDED_ATTEMPT))

_OLD_COMMANDS = _page(commands, commands.c.accepted_at, commands.c.id, commands.c.effect_key).where(
    not_(commands.c.is_open)
)
_DROP_COMMANDS = delete(commands).where(commands.c.id.in_(bindparam("keys", expanding=True)), not_(commands.c.is_open))
_KNOWN = select(subjects.c.key).where(subjects.c.key.in_(bindparam("keys", expanding=True)))

_KEPT = (ChangeKind.VERSION_RELEASED.value, ORIGIN)
# As the partial index says it, or SQLite does not use it, and looks at all that is kept each time.
_MAY_GO = text(f"NOT tracker_tasks.is_open AND tracker_tasks.kind NOT IN {_KEPT}")
_OLD_TASKS = (
    select(tracker_tasks.c.id)
    .where(tracker_tasks.c.created_at < bindparam("before"), _MAY_GO)
    .order_by(tracker_tasks.c.created_at)
    .limit(bindparam("most"))
)
_DROP_TASKS = delete(tracker_tasks).where(tracker_tasks.c.id.in_(_OLD_TASKS))

_OLD_SUBJECTS = _page(subjects, subjects.c.ordered_at, subjects.c.key, subjects.c.source, subjects.c.project).where(
    subjects.c.is_finished, subjects.c.updated_at < bindparam("before")
)


def _may_be_dropped() -> ColumnElement[bool]:
    """Whether nothing waits for a subject, and no other one is judged by it, or shown with it."""
    later, between, digest = subjects.alias("later"), subjects.alias("between_them"), subjects.alias("digest")
    dead, member = cards.alias("dead"), cards.alias("member")

    def follows(other: Any) -> ColumnElement[bool]:  # noqa: ANN401 - an alias of the table
        line = and_(*(other.c[name] == subjects.c[name] for name in ("source", "project", "branch")))
        return and_(line, other.c.ordered_at > subjects.c.ordered_at)

    next_run = select(later).where(follows(later), later.c.is_finished).order_by(later.c.ordered_at).limit(1)
    next_at = next_run.with_only_columns(later.c.ordered_at).correlate(subjects).scalar_subquery()
    next_updated_at = next_run.with_only_columns(later.c.updated_at).correlate(subjects).scalar_subquery()
    will_be_judged = exists(
        select(between.c.key).where(follows(between), not_(between.c.is_finished), between.c.ordered_at < next_at)
    )
    is_last = not_(and_(next_updated_at.is_not(None), next_updated_at < bindparam("before"), not_(will_be_judged)))
    its_card = cards.c.subject_key == subjects.c.key
    is_wanted = exists(
        select(cards.c.id).where(its_card, cards.c.wanted_revision > cards.c.shown_revision, not_(cards.c.is_dead))
    )
    was_tried = exists(
        select(attempts.c.id).where(attempts.c.card_id == dead.c.id, attempts.c.started_at >= bindparam("dead_before"))
    )
    died_lately = exists(
        select(dead.c.id).where(
            dead.c.subject_key == subjects.c.key,
            dead.c.is_dead,
            or_(dead.c.opened_at >= bindparam("dead_before"), was_tried),
        )
    )
    stands_in_digest = exists(
        select(member.c.id).where(
            member.c.subject_key == subjects.c.key,
            digest.c.key == member.c.folded_into,
            or_(not_(digest.c.is_finished), digest.c.updated_at >= bindparam("before")),
        )
    )
    has_members = exists(select(cards.c.id).where(cards.c.folded_into == subjects.c.key))
    has_job = exists(select(jobs.c.key).where(jobs.c.subject_key == subjects.c.key))
    return and_(
        or_(subjects.c.updated_at < bindparam("last_before"), not_(is_last)),
        *(not_(reason) for reason in (is_wanted, died_lately, stands_in_digest, has_members, has_job)),
    )


_DROP_SUBJECTS = (
    delete(subjects)
    .where(
        subjects.c.key.in_(bindparam("keys", expanding=True)),
        subjects.c.is_finished,
        subjects.c.updated_at < bindparam("before"),
        _may_be_dropped(),
    )
    .returning(subjects.c.key)
)
_DROP_CARDS = delete(cards).where(cards.c.subject_key.in_(bindparam("keys", expanding=True)))


def _is_old_notice() -> ColumnElement[bool]:
    """Whether a notice to the admin was wanted long ago, does not wait, and was not tried since."""
    was_tried = exists(
        select(attempts.c.id).where(attempts.c.card_id == cards.c.id, attempts.c.started_at >= bindparam("before"))
    )
    rests = or_(cards.c.is_dead, cards.c.wanted_revision <= cards.c.shown_revision)
    # As the partial index says it, or SQLite does not use it.
    is_notice = text(f"cards.slot = '{ADMIN_SLOT}'")
    return and_(is_notice, cards.c.opened_at < bindparam("before"), rests, not_(was_tried))


_OLD_NOTICES = select(cards.c.id).where(_is_old_notice()).order_by(cards.c.opened_at).limit(bindparam("most"))
_DROP_NOTICES = delete(cards).where(cards.c.id.in_(_OLD_NOTICES), _is_old_notice())

_OLD_BUDGETS = (
    select(budgets.c.scope)
    .where(budgets.c.arrival < bindparam("before"), budgets.c.paused_until < bindparam("before"))
    .limit(bindparam("most"))
)
_DROP_BUDGETS = delete(budgets).where(
    budgets.c.scope.in_(_OLD_BUDGETS),
    budgets.c.arrival < bindparam("before"),
    budgets.c.paused_until < bindparam("before"),
)
_DROP_WAITS = delete(budget_waits).where(budget_waits.c.until < bindparam("before"))


class SqlRetention:
    """Deletes; see `bot.ports.retention.Retention`."""

    def __init__(self, connection: Unit) -> None:
        self._connection = connection

    def events(self, before: float, after: Cursor, limit: int) -> Swept:
        """Events that came before `before`, with what is known of their delivery."""
        dropped = self._connection.execute(_DROP_EVENTS, {"before": before, "most": limit}).rowcount
        return Swept(dropped, after if dropped == limit else None)

    def attempts(self, before: float, after: Cursor, limit: int) -> Swept:
        """Attempts begun before `before`, but for those in doubt and those of cards that were given up."""
        rows = self._old(_OLD_ATTEMPTS, before, after, limit)
        dropped = self._drop(_DROP_ATTEMPTS, [row.id for row in rows])
        return Swept(dropped, _cursor(rows, limit))

    def commands(self, before: float, after: Cursor, limit: int) -> Swept:
        """Ended commands accepted before `before`, but for those whose subject is there: they keep it from a second."""
        rows = self._old(_OLD_COMMANDS, before, after, limit)
        aims = {row.id: _subject_of(row.effect_key) for row in rows}
        asked = [aim for aim in aims.values() if aim]
        known = set(self._connection.scalars(_KNOWN, {"keys": asked})) if asked else set()
        dropped = self._drop(_DROP_COMMANDS, [key for key, aim in aims.items() if aim not in known])
        return Swept(dropped, _cursor(rows, limit))

    def subjects(self, age: SubjectAge, after: Cursor, limit: int) -> Swept:
        """Finished subjects with their cards, but for those that something still waits for, or is judged by."""
        rows = self._old(_OLD_SUBJECTS, age.before, after, limit)
        lines = self._lines({f"{row.source}/{row.project}" for row in rows})
        keys = [row.key for row in rows if f"{row.source}/{row.project}" in lines]
        ages = {"before": age.before, "last_before": age.last_before, "dead_before": age.dead_before}
        dropped = list(self._connection.scalars(_DROP_SUBJECTS, {"keys": keys, **ages})) if keys else []
        if dropped:
            self._connection.execute(_DROP_CARDS, {"keys": dropped})
        return Swept(len(dropped), _cursor(rows, limit))

    def tracker_tasks(self, before: float, after: Cursor, limit: int) -> Swept:
        """Ended work with trackers from before `before`, but for versions that were released: they come again.

        So does what a deployment was started by, for it may be held, or rolled back, long after.
        """
        dropped = self._connection.execute(_DROP_TASKS, {"before": before, "most": limit}).rowcount
        return Swept(dropped, after if dropped == limit else None)

    def notices(self, before: float, after: Cursor, limit: int) -> Swept:
        """Notices to the admin from before `before`, sent or given up; their cause is told of anew when it comes."""
        dropped = self._connection.execute(_DROP_NOTICES, {"before": before, "most": limit}).rowcount
        return Swept(dropped, after if dropped == limit else None)

    def budgets(self, before: float, after: Cursor, limit: int) -> Swept:
        """What was counted, paused or waited for before `before`: the line of a branch that flapped, an account."""
        self._connection.execute(_DROP_WAITS, {"before": before})
        dropped = self._connection.execute(_DROP_BUDGETS, {"before": before, "most": limit}).rowcount
        return Swept(dropped, after if dropped == limit else None)

    def _old(self, page: Select[Any], before: float, after: Cursor, limit: int) -> Sequence[Any]:
        at, last = after
        return self._connection.execute(page, {"before": before, "since": at, "last": last, "most": limit}).all()

    def _drop(self, statement: Any, keys: Sequence[str]) -> int:  # noqa: ANN401 - one of the statements above
        return self._connection.execute(statement, {"keys": list(keys)}).rowcount if keys else 0

    def _lines(self, lines: set[str]) -> set[str]:
        """Those projects whose events wait for us now; one that is being told of comes next time (PostgreSQL)."""
        if self._connection.dialect.name != "postgresql":
            return lines
        return {line for line in sorted(lines) if self._connection.scalar(_TRY_LINE, {"line": line})}


def _cursor(rows: Sequence[Any], limit: int) -> Cursor | None:
    """Where the next step goes on; None when this one was the last."""
    return (rows[-1][0], rows[-1][1]) if len(rows) == limit else None


def _subject_of(effect_key: str | None) -> str:
    """The subject that an effect (`retry:build:ci/shop#12@0.1`) is an attempt of; empty for a run of its own."""
    if effect_key is None or "@" not in effect_key:
        return ""
    return effect_key.partition(":")[2].rpartition("@")[0]
