"""Jobs and commands: leased work."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import cache
from typing import Any

from cryptography.fernet import InvalidToken, MultiFernet
from sqlalchemy import Select, and_, func, select, text, update
from sqlalchemy.exc import IntegrityError

from bot.domain.commands import Actor, Command, CommandState, ReplyTo
from bot.errors import LeaseLost
from bot.ports import CommandRecord, JobRecord
from bot.storage.dialects import Insert, greatest, insert_new
from bot.storage.tables import commands, jobs
from bot.storage.unit import Unit
from bot.telemetry import logger

log = logger(__name__)
_IS_OPEN = text("commands.is_open")  # as the partial index says it, or SQLite does not use it


@cache
def _add_job(dialect: str) -> Insert:
    return insert_new(dialect, jobs, "key")


@cache
def _add_command(dialect: str) -> Insert:
    return insert_new(dialect, commands, "dedup_key").execution_options(preserve_rowcount=True)


@cache
def _next_job_at(dialect: str) -> Select[float | None]:
    return select(func.min(greatest(dialect, jobs.c.due_at, jobs.c.lease_until)))


@cache
def _next_command_at(dialect: str) -> Select[float | None]:
    return select(func.min(greatest(dialect, commands.c.due_at, commands.c.lease_until))).where(_IS_OPEN)


class SqlJobs:
    """The jobs table."""

    def __init__(self, connection: Unit) -> None:
        self._connection = connection

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
        self._connection.execute(_add_job(self._connection.dialect.name), row)

    def lease(self, now: float, until: float, limit: int) -> Sequence[JobRecord]:
        """Take due jobs."""
        due = (
            select(jobs)
            .where(jobs.c.due_at <= now, jobs.c.lease_until <= now)
            .order_by(jobs.c.due_at)
            .limit(limit)
            .with_for_update(skip_locked=True)
        )
        taken = [
            JobRecord(row.key, row.kind, row.subject_key, row.arguments, row.tries, row.fence + 1, row.created_at)
            for row in self._connection.execute(due)
        ]
        if taken:
            self._connection.execute(
                update(jobs)
                .where(jobs.c.key.in_([job.key for job in taken]))
                .values(lease_until=until, fence=jobs.c.fence + 1)
            )
        return taken

    def settle(self, job: JobRecord, *, due_at: float | None, tries: int = 0) -> bool:
        """End a job (None) or put it off; False when the lease was lost."""
        held = and_(jobs.c.key == job.key, jobs.c.fence == job.fence)
        if due_at is None:
            return self._connection.execute(jobs.delete().where(held)).rowcount == 1
        put_off = update(jobs).where(held).values(due_at=due_at, lease_until=0.0, tries=tries)
        return self._connection.execute(put_off).rowcount == 1

    def next_due_at(self) -> float | None:
        """When the next job is due."""
        found: float | None = self._connection.scalar(_next_job_at(self._connection.dialect.name))
        return found


class SqlCommands:
    """The commands table; bearer URLs in it are encrypted with `cipher`."""

    def __init__(self, connection: Unit, cipher: MultiFernet) -> None:
        self._connection = connection
        self._cipher = cipher

    def add(self, command: Command) -> bool:
        """Store a request; False when the same press or line is known already."""
        reply_to = asdict(command.reply_to)
        url = reply_to.pop("url")
        row = {
            "id": command.id,
            "dedup_key": command.dedup_key,
            "account": command.actor.account,
            "actor": asdict(command.actor),
            "typed": command.typed,
            "via": command.via,
            "reply_to": reply_to,
            "reply_url": self._cipher.encrypt(url.encode()) if url else None,
            "state": command.state.value,
            "is_open": True,
            "result": {},
            "accepted_at": command.accepted_at,
        }
        return self._connection.execute(_add_command(self._connection.dialect.name), row).rowcount == 1

    def lease(self, now: float, until: float, limit: int) -> Sequence[CommandRecord]:
        """Take open commands, oldest first."""
        due = (
            select(commands)
            .where(_IS_OPEN, commands.c.due_at <= now, commands.c.lease_until <= now)
            .order_by(commands.c.accepted_at, commands.c.id)
            .limit(limit)
            .with_for_update(skip_locked=True)
        )
        taken = []
        for row in self._connection.execute(due).all():
            try:
                taken.append(self._record(row, fence=row.fence + 1, tries=row.tries + 1))
            except (TypeError, ValueError) as problem:  # written by another version: the others do not wait for it
                log.error("command cannot be read, closed", id=row.id, error=problem)
                self._connection.execute(
                    update(commands)
                    .where(commands.c.id == row.id)
                    .values(is_open=False, state=CommandState.FAILED.value, reply_url=None)
                )
        if taken:
            self._connection.execute(
                update(commands)
                .where(commands.c.id.in_([record.command.id for record in taken]))
                .values(lease_until=until, fence=commands.c.fence + 1, tries=commands.c.tries + 1)
            )
        return taken

    def claim_effect(self, record: CommandRecord, effect_key: str, now: float) -> CommandRecord | None:
        """Make this command the one that causes `effect_key`; the other one when there is one already."""
        held = and_(commands.c.id == record.command.id, commands.c.fence == record.fence)
        if self._connection.execute(select(commands.c.id).where(held).with_for_update()).first() is None:
            raise LeaseLost(record.command.id)
        holder = self._connection.execute(select(commands).where(commands.c.effect_key == effect_key)).first()
        if holder is not None:
            if holder.id == record.command.id:
                return None
            return self._record(holder, fence=holder.fence, tries=holder.tries)
        try:
            with self._connection.begin_nested():
                self._connection.execute(
                    update(commands)
                    .where(held)
                    .values(effect_key=effect_key, triggered_at=now, state=CommandState.RUNNING.value)
                )
        except IntegrityError:  # another worker was faster
            return self.claim_effect(record, effect_key, now)
        return None

    def settle(
        self,
        record: CommandRecord,
        state: CommandState,
        result: Mapping[str, Any],
        *,
        is_open: bool,
        due_at: float = 0.0,
        frees_effect: bool = False,
        tries: int | None = None,
    ) -> bool:
        """Store how far the command has come, with `tries` counted anew; False when the lease was lost."""
        changed: dict[str, Any] = {
            "state": state.value,
            "result": dict(result),
            "is_open": is_open,
            "due_at": due_at,
            "lease_until": 0.0,
        }
        if frees_effect:
            changed["effect_key"] = None
        if tries is not None:
            changed["tries"] = tries
        if not is_open:
            changed["reply_url"] = None
        held = and_(commands.c.id == record.command.id, commands.c.fence == record.fence)
        return self._connection.execute(update(commands).where(held).values(changed)).rowcount == 1

    def put_off(self, record: CommandRecord, due_at: float) -> bool:
        """Take a command up again at `due_at`, as far as it had come; False when the lease was lost."""
        held = and_(commands.c.id == record.command.id, commands.c.fence == record.fence)
        statement = update(commands).where(held).values(due_at=due_at, lease_until=0.0)
        return self._connection.execute(statement).rowcount == 1

    def next_due_at(self) -> float | None:
        """When the next open command can be taken."""
        found: float | None = self._connection.scalar(_next_command_at(self._connection.dialect.name))
        return found

    def _record(self, row: Any, *, fence: int, tries: int) -> CommandRecord:  # noqa: ANN401 - a row of the table
        reply_to = ReplyTo(**row.reply_to, url=self._decrypted(row.reply_url))
        command = Command(
            id=row.id,
            dedup_key=row.dedup_key,
            actor=Actor(**row.actor),
            typed=row.typed,
            reply_to=reply_to,
            via=row.via,
            state=CommandState(row.state),
            tries=tries,
            accepted_at=row.accepted_at,
        )
        return CommandRecord(command, fence, row.triggered_at, row.result)

    def _decrypted(self, url: bytes | None) -> str | None:
        if url is None:
            return None
        try:
            return self._cipher.decrypt(url).decode()
        except InvalidToken:  # the key was replaced: the answer goes the slower way
            return None
