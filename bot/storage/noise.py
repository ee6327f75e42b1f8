"""Storms, digests and the runs of a line: what keeps channels quiet."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

from sqlalchemy import Double, Update, and_, bindparam, case, false, func, not_, select, true, update

from bot.domain.builds import BuildStatus
from bot.domain.noise import Digest, Run, Storm
from bot.domain.subjects import SubjectKey
from bot.storage.cards import END_ONCE_MORE, IS_CARD_SLOT, lives_again
from bot.storage.dialects import Insert, insert_new, unseen
from bot.storage.subjects import MAX_LABEL, SUBJECT_COLUMNS, readable
from bot.storage.tables import cards, storms, subjects
from bot.storage.unit import Unit

MOST_RUNS = 200
_STORM = select(storms.c.recent, storms.c.digest, storms.c.size, storms.c.begun_at, storms.c.quiet_at).where(
    storms.c.destination == bindparam("place")
)
_STORM_FOR_CHANGE = _STORM.with_for_update()
_PUT_STORM = update(storms).where(storms.c.destination == bindparam("place"))


@cache
def _first_storm(dialect: str) -> Insert:
    return insert_new(dialect, storms, "destination")


_DIGEST = select(subjects.c.revision).where(subjects.c.key == bindparam("digest"))
_LOCK_DIGEST = _DIGEST.with_for_update()
_IS_MEMBER = and_(cards.c.folded_into == bindparam("digest"), subjects.c.key == cards.c.subject_key)
_UNFINISHED = select(subjects.c.key).where(_IS_MEMBER, not_(subjects.c.is_finished)).limit(1)
_RAISE = update(subjects).where(subjects.c.key == bindparam("digest"))
_IS_SLOT = and_(cards.c.subject_key == bindparam("digest"), IS_CARD_SLOT)
_SOON = case((and_(cards.c.tries == 0, cards.c.due_at > bindparam("by")), bindparam("by")), else_=cards.c.due_at)
_WANT_PROGRESS = update(cards).where(_IS_SLOT).values(is_final=False, final_since=0.0, shown_final=False, due_at=_SOON)
_IS_WAITING = and_(cards.c.final_since > 0, cards.c.wanted_revision > cards.c.shown_revision)


def _want_final(*, is_other_end: bool) -> Update:
    again = lives_again(true() if is_other_end else false())
    wanted = (
        update(cards)
        .where(_IS_SLOT)
        .values(
            is_final=True,
            is_dead=and_(cards.c.is_dead, not_(again)),
            reason=case((again, END_ONCE_MORE), else_=cards.c.reason),
            due_at=_SOON,
            final_since=case((_IS_WAITING, cards.c.final_since), else_=bindparam("at")),
        )
    )
    return wanted.values(shown_final=False) if is_other_end else wanted


_WANT_FINAL, _WANT_OTHER_FINAL = _want_final(is_other_end=False), _want_final(is_other_end=True)
_STATUS = case(
    (subjects.c.status != "", subjects.c.status),
    (subjects.c.is_finished, BuildStatus.UNKNOWN.value),
    else_=BuildStatus.RUNNING.value,
)
_COUNTS = (
    select(_STATUS, func.count(), func.count().filter(not_(subjects.c.is_finished))).where(_IS_MEMBER).group_by(_STATUS)
)
_TELLING = case(
    (subjects.c.status == BuildStatus.FAILED.value, 0),
    (not_(subjects.c.is_finished), 1),
    (subjects.c.status == BuildStatus.SUCCESS.value, 3),
    else_=2,
)
_MEMBERS = select(*SUBJECT_COLUMNS).where(_IS_MEMBER).order_by(_TELLING, cards.c.id).limit(bindparam("most"))
_RUNS = (
    select(subjects.c.key, subjects.c.ordered_at, subjects.c.status)
    .where(
        subjects.c.source == bindparam("source"),
        subjects.c.project == bindparam("project"),
        subjects.c.branch == bindparam("branch"),
        subjects.c.is_finished == true(),
        subjects.c.ordered_at > unseen("since", Double()),
    )
    .order_by(subjects.c.ordered_at.desc(), subjects.c.key.desc())
    .limit(MOST_RUNS)
)


class SqlNoise:
    """The storms table, and what is read of cards and subjects for digests."""

    def __init__(self, connection: Unit) -> None:
        self._connection = connection

    def storm(self, destination: str, *, for_change: bool = False) -> Storm:
        """What came to a destination; `for_change`, nobody else changes it until the transaction ends."""
        place = {"place": destination}
        row = self._connection.execute(_STORM_FOR_CHANGE if for_change else _STORM, place).first()
        if row is None and for_change:  # whoever comes at the same time waits at the row that is made here
            first = {"destination": destination, "recent": []}
            self._connection.execute(_first_storm(self._connection.dialect.name), first)
            row = self._connection.execute(_STORM_FOR_CHANGE, place).one()
        return (
            Storm() if row is None else Storm(tuple(row.recent or ()), row.digest, row.size, row.begun_at, row.quiet_at)
        )

    def put_storm(self, destination: str, storm: Storm) -> None:
        """Store what came to a destination."""
        changed = {
            "recent": list(storm.recent),
            "digest": storm.digest,
            "size": storm.size,
            "begun_at": storm.begun_at,
            "quiet_at": storm.quiet_at,
        }
        self._connection.execute(_PUT_STORM, {"place": destination, **changed})

    def touch(self, digest: str, at: float, *, by: float, is_other_end: bool = False) -> None:
        """Ask for the newest state of a digest, some build of which changed; it is final when all of them are.

        The digest is locked before its builds are looked at: of two that end at the same time the later one sees both.
        """
        key = {"digest": digest}
        revision = self._connection.scalar(_LOCK_DIGEST, key)
        if revision is None:
            return
        is_final = self._connection.execute(_UNFINISHED, key).first() is None
        raised = {"revision": revision + 1, "is_finished": is_final, "updated_at": at}
        self._connection.execute(_RAISE, {**key, **raised})
        wanted = {**key, "wanted_revision": revision + 1, "by": at if is_final else by}
        if is_final:
            self._connection.execute(_WANT_OTHER_FINAL if is_other_end else _WANT_FINAL, {**wanted, "at": at})
        else:
            self._connection.execute(_WANT_PROGRESS, wanted)

    def digest(self, key: SubjectKey, limit: int) -> Digest:
        """What a digest holds; up to `limit` builds of it, those that failed first, then those that run."""
        digest = {"digest": str(key)}
        rows = self._connection.execute(_COUNTS, digest).all()
        counts = {BuildStatus(status): count for status, count, _ in rows}
        members = self._connection.execute(_MEMBERS, {**digest, "most": limit})
        shown = tuple(record.build() for record in readable(members))
        return Digest(key, counts, shown, unfinished=sum(unfinished for _, _, unfinished in rows))

    def runs(self, key: SubjectKey, branch: str, since: float) -> Sequence[Run]:
        """The finished runs of a subject's source and project, on a branch, that began after `since`, in their order.

        At most the newest 200.
        """
        line = {"source": key.source, "project": key.project, "branch": branch[:MAX_LABEL], "since": since}
        rows = self._connection.execute(_RUNS, line)
        return [Run(SubjectKey.parse(row.key), row.ordered_at, row.status) for row in rows][::-1]
