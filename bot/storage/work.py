"""Jobs and commands: leased work."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, fields
from functools import cache
from typing import Any

from cryptography.fernet import InvalidToken, MultiFernet
from sqlalchemy import (
    JSON,
    Column,
    ColumnElement,
    Row,
    Select,
    and_,
    case,
    delete,
    func,
    not_,
    or_,
    select,
    text,
    true,
    update,
)
from sqlalchemy.exc import IntegrityError

from bot.domain.commands import Actor, Command, CommandState, ReplyTo
from bot.errors import LeaseLost
from bot.ports import CommandRecord, JobRecord
from bot.storage.dialects import Insert, greatest, insert_new
from bot.storage.rows import NewRows, Write
from bot.storage.sharing import share_out
from bot.storage.tables import commands, jobs
from bot.storage.unit import Unit
from bot.telemetry import logger

log = logger(__name__)
CALM_TRIES = 3  # so many holders may die before a command is held longer than a lease
MOST_IN_HAND = 100
FURTHEST = 1000
_ACTOR = ("account", "name", "team", "email", "is_outsider")
_REPLY_TO = tuple(field.name for field in fields(ReplyTo) if field.name != "url")
_IS_OPEN = text("commands.is_open")  # as the partial index says it, or SQLite does not use it


@cache
def _add_job(dialect: str) -> Write:
    rows = NewRows(dialect, jobs, "key", "kind", "subject_key", "arguments", "due_at", "created_at")
    return Write(rows.insert().on_conflict_do_nothing(index_elements=["key"]), new=rows)


@cache
def _add_command(dialect: str) -> Insert:
    return insert_new(dialect, commands, "dedup_key").execution_options(preserve_rowcount=True)


@cache
def _next_job_at(dialect: str) -> Select[float | None]:
    # More than all workers together have in hand: of the first so many one is free, or its lease is what is waited for.
    first = select(jobs.c.due_at, jobs.c.lease_until).order_by(jobs.c.due_at).limit(MOST_IN_HAND).subquery()
    return select(func.min(greatest(dialect, first.c.due_at, first.c.lease_until)))


@cache
def _next_command_at(dialect: str) -> Select[float | None]:
    return select(func.min(greatest(dialect, commands.c.due_at, commands.c.lease_until))).where(_IS_OPEN)


def _asks(source: str) -> ColumnElement[bool]:
    """Whether a job asks that source, about a subject or as a whole."""
    subject = jobs.c.subject_key
    return or_(
        subject == source,
        subject.contains(f":{source}/", autoescape=True),
        subject.endswith(f":{source}", autoescape=True),
    )


class SqlJobs:
    """The jobs table."""

    def __init__(self, connection: Unit) -> None:
        self._unit = connection

    def add(self, key: str, kind: str, subject: str, arguments: Mapping[str, Any], *, due_at: float, at: float) -> None:
        """Add a job; nothing happens when one of that key exists."""
        row = {
            "key": key,
            "kind": kind,
            "subject_key": subject,
            "arguments": dict(arguments),
            "due_at": due_at,
            "created_at": at,
        }
        self._unit.later(key, _add_job(self._unit.dialect.name), row)

    def lease(
        self, now: float, until: float, limit: int, take: Callable[[str], bool] | None = None
    ) -> Sequence[JobRecord]:
        """Take due jobs; see the port for `take`."""
        due = (
            select(jobs)
            .where(jobs.c.due_at <= now, jobs.c.lease_until <= now)
            .order_by(jobs.c.due_at)
            .with_for_update(skip_locked=True)
        )
        taken: list[JobRecord] = []
        full: set[str] = set()
        while True:
            page = due.where(*(not_(_asks(source)) for source in sorted(full))).limit(limit - len(taken))
            found = [
                JobRecord(row.key, row.kind, row.subject_key, row.arguments, row.tries, row.fence + 1, row.created_at)
                for row in _readable(self._unit, page, jobs.c.key, self._drop_unreadable)
            ]
            free, refused = share_out(found, lambda job: job.source, take)
            if free:
                held = jobs.c.key.in_([job.key for job in free])
                self._unit.execute(update(jobs).where(held).values(lease_until=until, fence=jobs.c.fence + 1))
            taken += free
            if refused <= full or len(taken) >= limit:  # a page that brought nothing new would come again and again
                return taken
            full |= refused

    def _drop_unreadable(self, name: str, problem: Exception) -> None:
        log.error("job cannot be read, dropped", job=name, error=problem)
        self._unit.execute(delete(jobs).where(jobs.c.key == name))

    def settle(
        self, job: JobRecord, *, due_at: float | None, tries: int = 0, arguments: Mapping[str, Any] | None = None
    ) -> bool:
        """End a job (None) or put it off, with other `arguments`; False when the lease was lost."""
        # One that ended may have been added anew, later, with fences of its own; a set-back clock makes none later.
        is_same = and_(jobs.c.key == job.key, jobs.c.created_at <= job.created_at)
        held = and_(is_same, jobs.c.fence == job.fence)
        if due_at is None:
            return self._unit.execute(delete(jobs).where(held)).rowcount == 1
        changed: dict[str, Any] = {"due_at": due_at, "lease_until": 0.0, "tries": tries}
        if arguments is not None:
            changed["arguments"] = dict(arguments)
        return self._unit.execute(update(jobs).where(held).values(changed)).rowcount == 1

    def next_due_at(self) -> float | None:
        """When the next job is due."""
        found: float | None = self._unit.scalar(_next_job_at(self._unit.dialect.name))
        return found


def _comes_behind(row: Row[Any]) -> ColumnElement[bool]:
    """Whether a command is older than none up to this one, however many of those others let go of meanwhile."""
    at = commands.c.accepted_at
    return and_(at >= row.accepted_at, or_(at > row.accepted_at, commands.c.id > row.id))


def _platform(row: Row[Any]) -> str:
    """The platform that a command was given on; empty where its row makes no sense."""
    return str(row.reply_to.get("platform", "")) if isinstance(row.reply_to, dict) else ""


class SqlCommands:
    """The commands table; bearer URLs in it are encrypted with `cipher`."""

    def __init__(self, connection: Unit, cipher: MultiFernet) -> None:
        self._unit = connection
        self._cipher = cipher

    def add(self, command: Command, result: Mapping[str, object] | None = None) -> bool:
        """Store a request, with what is known of it; False when the same press or line is known already."""
        reply_to = asdict(command.reply_to)
        url = reply_to.pop("url")
        row = {
            "id": command.id,
            "dedup_key": command.dedup_key,
            "account": command.actor.account,
            "actor": {name: getattr(command.actor, name) for name in _ACTOR},
            "typed": command.typed,
            "via": command.via,
            "reply_to": reply_to,
            "reply_url": self._cipher.encrypt(url.encode()) if url else None,
            "state": command.state.value,
            "is_open": True,
            "result": dict(result or {}),
            "accepted_at": command.accepted_at,
        }
        return self._unit.execute(_add_command(self._unit.dialect.name), row).rowcount == 1

    def lease(
        self, now: float, until: float, limit: int, take: Callable[[str, str], bool] | None = None
    ) -> Sequence[CommandRecord]:
        """Take open commands, oldest first; see the port for `take`."""
        taken: dict[float, list[CommandRecord]] = {}
        for row in self._due(now, limit, take or (lambda _typed, _platform: True)):
            try:
                record = self._record(row, fence=row.fence + 1, tries=row.tries + 1)
            except (TypeError, ValueError) as problem:  # written by another version: the others do not wait for it
                self._close_unreadable(row.id, problem)
                continue
            longer = 2 ** max(0, row.tries - CALM_TRIES)
            taken.setdefault(now + longer * (until - now), []).append(record)
        for ends_at, records in taken.items():
            self._unit.execute(
                update(commands)
                .where(commands.c.id.in_([record.command.id for record in records]))
                .values(lease_until=ends_at, fence=commands.c.fence + 1, tries=commands.c.tries + 1)
            )
        return [record for records in taken.values() for record in records]

    def _due(self, now: float, limit: int, take: Callable[[str, str], bool]) -> Iterator[Row[Any]]:
        """The due commands that may be taken; behind those that may not it is looked further, but not without end."""
        due = (
            select(commands)
            .where(_IS_OPEN, commands.c.due_at <= now, commands.c.lease_until <= now)
            .order_by(commands.c.accepted_at, commands.c.id)
            .with_for_update(skip_locked=True)
        )
        seen, step = 0, limit
        behind: ColumnElement[bool] = true()
        while limit > 0 and seen < FURTHEST:
            page = due.where(behind).limit(step)
            rows = _readable(self._unit, page, commands.c.id, self._close_unreadable)
            for row in rows:
                if limit > 0 and take(row.typed, _platform(row)):
                    limit -= 1
                    yield row
            if len(rows) < step:
                return
            seen, step, behind = seen + step, MOST_IN_HAND, _comes_behind(rows[-1])

    def _close_unreadable(self, name: str, problem: Exception) -> None:
        log.error("command cannot be read, closed", id=name, error=problem)
        state = case((commands.c.triggered_at.is_(None), CommandState.FAILED.value), else_=CommandState.IN_DOUBT.value)
        closed = update(commands).where(commands.c.id == name).values(is_open=False, state=state, reply_url=None)
        self._unit.execute(closed)

    def known(self, dedup_key: str) -> CommandRecord | None:
        """The command that was stored under a transport's id, however far it has come."""
        row = self._unit.execute(select(commands).where(commands.c.dedup_key == dedup_key)).first()
        return None if row is None else self._record(row, fence=row.fence, tries=row.tries)

    def claim_effect(
        self, record: CommandRecord, effect_key: str, now: float, noted: Mapping[str, Any] | None = None
    ) -> CommandRecord | None:
        """Make this command the one that causes `effect_key`; the other one when there is one already."""
        held = and_(commands.c.id == record.command.id, commands.c.fence == record.fence)
        if self._unit.execute(select(commands.c.id).where(held).with_for_update()).first() is None:
            raise LeaseLost(record.command.id)
        holder = self._unit.execute(select(commands).where(commands.c.effect_key == effect_key)).first()
        if holder is not None:
            if holder.id == record.command.id:
                return None
            return self._record(holder, fence=holder.fence, tries=holder.tries)
        claimed: dict[str, Any] = {
            "effect_key": effect_key,
            "triggered_at": now,
            "state": CommandState.RUNNING.value,
        }
        if noted is not None:
            claimed["result"] = dict(noted)
        try:
            with self._unit.begin_nested():
                self._unit.execute(update(commands).where(held).values(claimed))
        except IntegrityError:  # another worker was faster
            return self.claim_effect(record, effect_key, now, noted)
        return None

    def take_over(self, record: CommandRecord, other: CommandRecord, noted: Mapping[str, Any]) -> bool:
        """Take the effect of an ended command, and when it was triggered, over; False when somebody else did."""
        is_ended = and_(commands.c.id == other.command.id, not_(commands.c.is_open))
        effect_key = self._unit.scalar(select(commands.c.effect_key).where(is_ended).with_for_update())
        if effect_key is None:
            return False
        self._unit.execute(update(commands).where(is_ended).values(effect_key=None))
        held = and_(commands.c.id == record.command.id, commands.c.fence == record.fence)
        taken = {
            "effect_key": effect_key,
            "triggered_at": other.triggered_at,
            "state": CommandState.IN_DOUBT.value,
            "result": dict(noted),
        }
        return self._unit.execute(update(commands).where(held).values(taken)).rowcount == 1

    def settle(
        self,
        record: CommandRecord,
        state: CommandState,
        result: Mapping[str, Any],
        *,
        is_open: bool,
        due_at: float = 0.0,
        frees_effect: bool = False,
        faults: int | None = None,
    ) -> bool:
        """Store how far the command has come, with `faults` counted anew; False when the lease was lost."""
        changed: dict[str, Any] = {
            "state": state.value,
            "result": dict(result),
            "is_open": is_open,
            "due_at": due_at,
            "lease_until": 0.0,
        }
        if frees_effect:
            changed |= {"effect_key": None, "triggered_at": None}
        if faults is not None:
            changed["faults"] = faults
        changed |= {"tries": 0} if is_open else {"reply_url": None}
        return self._change(record, changed)

    def put_off(
        self, record: CommandRecord, at: float, *, frees_effect: bool = False, noted: Mapping[str, object] | None = None
    ) -> bool:
        """Take a command up again `at` then, as far as it came and as `noted`, one fault more; False: lease lost."""
        changed: dict[str, Any] = {"due_at": at, "lease_until": 0.0, "tries": 0, "faults": record.faults + 1}
        if noted:
            known = self._unit.scalar(select(commands.c.result).where(commands.c.id == record.command.id))
            changed["result"] = {**(known or {}), **noted}
        if frees_effect:
            changed |= {"effect_key": None, "triggered_at": None}
        return self._change(record, changed)

    def _change(self, record: CommandRecord, changed: Mapping[str, Any]) -> bool:
        held = and_(commands.c.id == record.command.id, commands.c.fence == record.fence)
        return self._unit.execute(update(commands).where(held).values(changed)).rowcount == 1

    def next_due_at(self) -> float | None:
        """When the next open command can be taken."""
        found: float | None = self._unit.scalar(_next_command_at(self._unit.dialect.name))
        return found

    def _record(self, row: Any, *, fence: int, tries: int) -> CommandRecord:  # noqa: ANN401 - a row of the table
        reply_to = ReplyTo(**_known(row.reply_to, _REPLY_TO), url=self._decrypted(row.reply_url))
        command = Command(
            id=row.id,
            dedup_key=row.dedup_key,
            actor=Actor(**_known(row.actor, _ACTOR)),
            typed=row.typed,
            reply_to=reply_to,
            via=row.via,
            state=CommandState(row.state),
            tries=tries,
            accepted_at=row.accepted_at,
        )
        return CommandRecord(command, fence, row.triggered_at, row.result, row.faults, row.is_open)

    def _decrypted(self, url: bytes | None) -> str | None:
        if url is None:
            return None
        try:
            return self._cipher.decrypt(url).decode()
        except InvalidToken:  # the key was replaced: the answer goes the slower way
            return None


def _known(stored: Mapping[str, Any], names: Sequence[str]) -> dict[str, Any]:
    """What this version knows of what a newer one may have written."""
    return {name: value for name, value in stored.items() if name in names}


def _readable(
    unit: Unit, rows: Select[Any], key: Column[Any], set_aside: Callable[[str, Exception], None]
) -> Sequence[Row[Any]]:
    """The rows of a table that a query finds; those whose values cannot be decoded are set aside, each by itself."""
    found = []
    for row in unit.execute(rows).all():
        lost = [column.name for column in key.table.c if _is_lost(column, row)]
        if lost:
            set_aside(getattr(row, key.name), ValueError(f"no JSON in {', '.join(lost)}"))
        else:
            found.append(row)
    return found


def _is_lost(column: Column[Any], row: Row[Any]) -> bool:
    return isinstance(column.type, JSON) and not column.nullable and getattr(row, column.name) is None
