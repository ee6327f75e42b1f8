"""Work with trackers, how far they were asked for changes, and tokens that rotate."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from hashlib import sha256
from typing import Any

from cryptography.fernet import InvalidToken, MultiFernet
from sqlalchemy import Select, and_, bindparam, func, select, text, update

from bot.ports.trackers import StoredToken
from bot.ports.tracking import TrackerTask
from bot.storage.dialects import Insert, greatest, insert_new, upsert
from bot.storage.sharing import share_out
from bot.storage.tables import polls, tokens, tracker_tasks
from bot.storage.unit import Unit

MAX_KEY = 250
_IS_OPEN = text("tracker_tasks.is_open")  # as the partial index says it, or SQLite does not use it
_AT_ONCE = 500
_KNOWN = select(tracker_tasks.c.key).where(
    tracker_tasks.c.tracker == bindparam("of"), tracker_tasks.c.key.in_(bindparam("named", expanding=True))
)
_OURS = and_(tracker_tasks.c.tracker == bindparam("of"), tracker_tasks.c.key == bindparam("named"))


@cache
def _add_task(dialect: str) -> Insert:
    return insert_new(dialect, tracker_tasks, "tracker", "key").execution_options(preserve_rowcount=True)


@cache
def _add_token(dialect: str) -> Insert:
    return insert_new(dialect, tokens, "name")


@cache
def _put_poll(dialect: str) -> Insert:
    return upsert(dialect, polls, ("tracker",), ("begun_at", "polled_at"))


@cache
def _next_at(dialect: str) -> Select[float | None]:
    return select(func.min(greatest(dialect, tracker_tasks.c.due_at, tracker_tasks.c.lease_until))).where(_IS_OPEN)


class SqlTrackerTasks:
    """The tracker_tasks table; see `bot.ports.tracking.TrackerTasks`."""

    def __init__(self, connection: Unit) -> None:
        self._connection = connection

    def add(
        self, tracker: str, key: str, kind: str, body: Mapping[str, Any], *, due_at: float | None, at: float
    ) -> bool:
        """Store a piece of work (None: only to be remembered); False when its key is known."""
        row = {
            "tracker": tracker,
            "key": _bounded(key),
            "kind": kind,
            "body": dict(body),
            "is_open": due_at is not None,
            "due_at": due_at or 0.0,
            "created_at": at,
        }
        return self._connection.execute(_add_task(self._connection.dialect.name), row).rowcount == 1

    def get(self, tracker: str, key: str) -> Mapping[str, Any] | None:
        """What is remembered under a key."""
        found: Mapping[str, Any] | None = self._connection.scalar(
            select(tracker_tasks.c.body).where(_OURS), {"of": tracker, "named": _bounded(key)}
        )
        return found

    def known(self, tracker: str, keys: Sequence[str]) -> frozenset[str]:
        """Those of the keys under which something is stored, done or not."""
        stored = {_bounded(key): key for key in keys}
        names, found = list(stored), set[str]()
        for start in range(0, len(names), _AT_ONCE):
            page = {"of": tracker, "named": names[start : start + _AT_ONCE]}
            found.update(stored[row] for row in self._connection.scalars(_KNOWN, page))
        return frozenset(found)

    def of_kind(self, tracker: str, kind: str, since: float) -> Sequence[Mapping[str, Any]]:
        """What was stored of one kind since then, done or not."""
        is_meant = and_(tracker_tasks.c.tracker == tracker, tracker_tasks.c.kind == kind)
        return list(
            self._connection.scalars(select(tracker_tasks.c.body).where(is_meant, tracker_tasks.c.created_at >= since))
        )

    def lease(
        self, now: float, until: float, limit: int, take: Callable[[str], bool] | None = None
    ) -> Sequence[TrackerTask]:
        """Take due work, the longest waiting first; see the port for `take`."""
        due = (
            select(tracker_tasks)
            .where(_IS_OPEN, tracker_tasks.c.due_at <= now, tracker_tasks.c.lease_until <= now)
            .order_by(tracker_tasks.c.due_at, tracker_tasks.c.id)
            .with_for_update(skip_locked=True)
        )
        taken: list[TrackerTask] = []
        full: set[str] = set()
        while True:
            page = due.where(tracker_tasks.c.tracker.not_in(sorted(full))).limit(limit - len(taken))
            found = [
                TrackerTask(row.id, row.tracker, row.key, row.kind, row.body, row.tries, row.fence + 1, row.created_at)
                for row in self._connection.execute(page)
            ]
            free, refused = share_out(found, lambda task: task.tracker, take)
            if free:
                held = tracker_tasks.c.id.in_([task.id for task in free])
                changed = {"lease_until": until, "fence": tracker_tasks.c.fence + 1}
                self._connection.execute(update(tracker_tasks).where(held).values(changed))
            taken += free
            full |= refused
            if not refused or len(taken) >= limit:
                return taken

    def settle(self, task: TrackerTask, outcome: str, *, due_at: float | None = None, tries: int = 0) -> bool:
        """End a piece of work, or put it off to `due_at`; False when the lease was lost."""
        held = and_(tracker_tasks.c.id == task.id, tracker_tasks.c.fence == task.fence, _IS_OPEN)
        changed: dict[str, Any] = {"outcome": outcome[:80], "lease_until": 0.0}
        changed |= {"is_open": False} if due_at is None else {"due_at": due_at, "tries": tries}
        return self._connection.execute(update(tracker_tasks).where(held).values(changed)).rowcount == 1

    def amend(self, task: TrackerTask, body: Mapping[str, Any]) -> bool:
        """Replace what a leased piece of work says; False when the lease was lost."""
        held = and_(tracker_tasks.c.id == task.id, tracker_tasks.c.fence == task.fence, _IS_OPEN)
        return self._connection.execute(update(tracker_tasks).where(held).values(body=dict(body))).rowcount == 1

    def next_due_at(self) -> float | None:
        """When the next piece of work can be taken."""
        found: float | None = self._connection.scalar(_next_at(self._connection.dialect.name))
        return found


class SqlPolls:
    """The polls table."""

    def __init__(self, connection: Unit) -> None:
        self._connection = connection

    def get(self, tracker: str) -> tuple[float, float] | None:
        """Since when it is asked without a gap, and when it was asked last."""
        row = self._connection.execute(
            select(polls.c.begun_at, polls.c.polled_at).where(polls.c.tracker == tracker)
        ).first()
        return (row.begun_at, row.polled_at) if row is not None else None

    def put(self, tracker: str, begun_at: float, polled_at: float) -> None:
        """Remember both."""
        row = {"tracker": tracker, "begun_at": begun_at, "polled_at": polled_at}
        self._connection.execute(_put_poll(self._connection.dialect.name), row)


class SqlTokens:
    """The tokens table; values are encrypted with `cipher`."""

    def __init__(self, connection: Unit, cipher: MultiFernet) -> None:
        self._connection = connection
        self._cipher = cipher

    def read(self, name: str) -> StoredToken | None:
        """The token of that name; None also where the key was replaced since it was stored."""
        row = self._connection.execute(select(tokens).where(tokens.c.name == name)).first()
        if row is None or row.value is None:
            return None
        try:
            return StoredToken(self._cipher.decrypt(row.value).decode(), row.expires_at, row.rank)
        except InvalidToken:
            return None

    def hold(self, name: str, now: float, until: float) -> StoredToken | None:
        """Take a token for renewal until then; None when somebody else has it."""
        self._connection.execute(_add_token(self._connection.dialect.name), {"name": name})
        taken = self._connection.execute(
            update(tokens)
            .where(tokens.c.name == name, tokens.c.lease_until <= now)
            .values(lease_until=until, rank=tokens.c.rank + 1)
        )
        if taken.rowcount == 0:
            return None
        rank: int = self._connection.scalar(select(tokens.c.rank).where(tokens.c.name == name)) or 0
        return self.read(name) or StoredToken("", 0.0, rank)

    def replace(self, name: str, held: StoredToken, value: str, expires_at: float) -> bool:
        """Store its successor and let go; False when somebody else took it meanwhile."""
        changed = {"value": self._cipher.encrypt(value.encode()), "expires_at": expires_at, "lease_until": 0.0}
        statement = update(tokens).where(tokens.c.name == name, tokens.c.rank == held.rank).values(changed)
        return self._connection.execute(statement).rowcount == 1


def _bounded(key: str) -> str:
    """A key that fits into its column; a long one ends in its digest."""
    return key if len(key) <= MAX_KEY else f"{key[: MAX_KEY - 33]}:{sha256(key.encode()).hexdigest()[:32]}"
