"""Reads what came between two builds out of the row of changes that a Buildbot has heard of.

Changes count up (`changeid`), and each branch of a repository is a line among them: what a build brought is what its
line has since the build before. So two calls find both ends by their revisions, and one more for every 200 changes
reads what lies between, however many builds there are; to ask each build would take a call each, which walks back to
the last build of its branch that passed. https://docs.buildbot.net/4.3.0/developer/rtype-change.html
"""

from __future__ import annotations

import threading
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import quote

from bot.domain.deployments import Version
from bot.domain.subjects import SubjectKey
from bot.errors import IntegrationError, PayloadInvalid, Unavailable
from bot.ports import Between, Commit
from bot.telemetry import logger
from integrations.buildbot.api import BuildbotApi, Deadline, Json, Parameter, number_in
from integrations.buildbot.config import SYSTEM
from integrations.buildbot.parse import person_in, revisions_in
from integrations.texts import clean_line

MAX_TITLE = 200
PAGE = 200  # changes of one call; Buildbot takes 3 to 15 ms for each
RESERVE_S = 3.0  # a page is not asked for with less time left
KEPT_SPANS = 16
_FIELDS = ["changeid", "revision", "branch", "repository", "project", "codebase", "author", "comments"]

log = logger(__name__)


@dataclass(frozen=True, slots=True)
class _End:
    """The revisions of one codebase before and after."""

    first: str
    last: str


@dataclass(frozen=True, slots=True)
class _Span:
    """The changes of a repository after `low` up to `high`, two changeids; `line` is the branch that leads there.

    Where no branch has both commits, `parted` are those that have the later one.
    """

    end: _End
    line: tuple[object, ...]
    low: int
    high: int
    parted: tuple[str, ...] = ()

    @property
    def is_backwards(self) -> bool:
        """Whether what was built later had been there before."""
        return self.high <= self.low


@dataclass(frozen=True, slots=True)
class _Read:
    """Changes, the newest first; all of a span only if `is_whole`."""

    rows: tuple[Json, ...] = ()
    is_whole: bool = False


class BuildbotChanges:
    """What came between two builds of one Buildbot; safe for several threads."""

    def __init__(self, api: BuildbotApi) -> None:
        self._api = api
        self._spans: dict[_Span, _Read] = {}  # changes never change: what was read in time is not read again
        self._lock = threading.Lock()

    def between(self, builder: str, old: Version, new: Version, limit: int) -> Between:
        """See `BuildReader.between`; what the time of one call does not suffice for is read on at the next one."""
        deadline = Deadline()
        before, after = (SubjectKey.parse(version.build).number for version in (old, new))
        if not (before.isdecimal() and after.isdecimal()):
            return Between(is_all=False)
        builds = self._builds(builder, [int(before), int(after)], deadline)
        if not {int(before), int(after)} <= builds.keys():
            return Between(is_all=False)
        branch = _branch_of(builds[int(after)])
        ends = _ends(builds[int(before)], builds[int(after)])
        if not ends:
            return Between(branch=branch)
        rows = self._named(ends, deadline)
        if not rows and not self._api.rows("changes", "changes", deadline, limit=1):
            return Between(tuple(Commit(end.last, "") for end in ends), branch=branch)  # it hears of no changes at all
        spans = [span for end in ends if (span := _span(rows, end, branch)) is not None]
        told = [(span, self._read(span, limit, deadline)) for span in spans]
        built = {end.last for end in ends} - {span.end.last for span in spans if span.is_backwards}
        is_found = len(spans) == len(ends) and not any(self._had_more(span, deadline) for span in spans)
        return _joined(built, told, branch, limit, is_found=is_found)

    def _builds(self, builder: str, numbers: list[int], deadline: Deadline) -> Mapping[int, Json]:
        rows = self._api.rows(
            f"builders/{quote(builder, safe='')}/builds",
            "builds",
            deadline,
            number=numbers,
            property=["branch", "revision", "got_revision"],
        )
        return {number_in(row, "number"): row for row in rows}

    def _named(self, ends: Sequence[_End], deadline: Deadline) -> list[Json]:
        """The changes of both ends, on every branch that has them."""
        return self._changes(deadline, revision=sorted({one for end in ends for one in (end.first, end.last) if one}))

    def _had_more(self, span: _Span, deadline: Deadline) -> bool:
        """Whether the later commit may bring what its branches had before the span, and the earlier one lacks.

        So it is from a hotfix back to the main line: where the two parted nobody here can tell. A tag, or a branch that
        began after the earlier commit, had nothing of its own before.
        """
        if not span.parted:
            return False
        if "" in span.parted:  # a change that names no branch: those cannot be asked for
            return True
        asked: dict[str, Parameter] = {"branch": list(span.parted), "changeid__le": span.low}
        return bool(self._changes(deadline, limit=1, repository=str(span.line[0]), **asked))

    def _changes(self, deadline: Deadline, **params: Parameter) -> list[Json]:
        """Changes, the newest first: Buildbot turns the order round that it was asked for."""
        rows = self._api.rows("changes", "changes", deadline, order="-changeid", field=_FIELDS, **params)
        return sorted(rows, key=lambda row: number_in(row, "changeid"), reverse=True)

    def _read(self, span: _Span, limit: int, deadline: Deadline) -> _Read:
        """What lies in a span, on from what an earlier call has read of it, as far as the time suffices."""
        with self._lock:
            read = self._spans.get(span, _Read(is_whole=span.is_backwards))
        while not read.is_whole and len(read.rows) <= limit and not deadline.is_past(RESERVE_S):
            high = number_in(read.rows[-1], "changeid") - 1 if read.rows else span.high
            ids: dict[str, Parameter] = {"changeid__gt": span.low, "changeid__le": high}
            try:
                rows = self._changes(deadline, limit=PAGE, repository=str(span.line[0]), **ids)
            except IntegrationError as problem:
                if not read.rows:
                    raise
                log.warning("changes not read to the end", error=problem)
                break
            read = _Read((*read.rows, *rows), len(rows) < PAGE)
            self._keep(span, read)
        return read

    def _keep(self, span: _Span, read: _Read) -> None:
        with self._lock:
            self._spans.pop(span, None)
            self._spans[span] = read
            if len(self._spans) > KEPT_SPANS:
                del self._spans[next(iter(self._spans))]


def commit_of(change: Json) -> Commit | None:
    """The commit that a change tells of; None where it names none."""
    revision, author = change.get("revision"), change.get("author")
    if not isinstance(revision, str) or not revision:
        return None
    return Commit(revision, title_of(change), person_in(author) if isinstance(author, str) else "")


def title_of(change: Json) -> str:
    """The first line of what its author wrote."""
    comments = change.get("comments")
    lines = comments.strip().splitlines() if isinstance(comments, str) else []
    return clean_line(lines[0], MAX_TITLE) if lines else ""


def _ends(before: Json, after: Json) -> list[_End]:
    """What is another revision now, of each codebase that the later build was made of."""
    try:
        first, last = revisions_in(before), revisions_in(after)
    except PayloadInvalid as problem:
        raise Unavailable(SYSTEM, "bad_answer", str(problem)) from None
    ends = [_End(first.get(codebase, ""), revision) for codebase, revision in sorted(last.items())]
    return [end for end in ends if end.first != end.last]


def _branch_of(build: Json) -> str:
    found = build.get("properties", {}).get("branch")
    return found[0] if isinstance(found, list) and found and isinstance(found[0], str) else ""


def _line_of(change: Json) -> tuple[object, ...]:
    return tuple(change.get(name) for name in ("repository", "branch", "project", "codebase"))


def _span(rows: Sequence[Json], end: _End, branch: str) -> _Span | None:
    """Where to read: on a line that has both ends if there is one, the new build's own branch before others.

    None where either end is no change that Buildbot has heard of.
    """
    starts, goals = ([row for row in rows if row.get("revision") == revision] for revision in (end.first, end.last))
    if not (end.first and starts and goals):
        return None
    lines = {_line_of(row) for row in starts}
    goal = max(goals, key=lambda row: (_line_of(row) in lines, row.get("branch") == branch, number_in(row, "changeid")))
    line = _line_of(goal)
    on_line = [number_in(row, "changeid") for row in starts if _line_of(row) == line]
    high = number_in(goal, "changeid")
    if on_line:
        return _Span(end, line, max(on_line), high)
    low = min(high - 1, *(number_in(row, "changeid") for row in starts))  # it may have been heard of before the old one
    return _Span(end, line, low, high, tuple(sorted({str(row.get("branch") or "") for row in goals})))


def _joined(
    built: Collection[str], told: Sequence[tuple[_Span, _Read]], branch: str, limit: int, *, is_found: bool
) -> Between:
    """What was read of all codebases; what was built is told in any case."""
    own: dict[str, Commit] = {}
    aside: dict[str, Commit] = {}
    for span, read in told:
        for row in read.rows:
            commit = commit_of(row)
            if commit is not None and commit.revision != span.end.first:
                (own if _line_of(row) == span.line else aside).setdefault(commit.revision, commit)
    own = {revision: own.get(revision) or aside.get(revision) or Commit(revision, "") for revision in built} | own
    others = tuple(commit for revision, commit in aside.items() if revision not in own)
    is_short = [not read.is_whole and len(read.rows) <= limit for _, read in told]  # the time did not suffice
    is_within = max(len(own), len(others)) <= limit
    return Between(
        tuple(own.values())[:limit],
        others[:limit],
        branch,
        is_all=is_found and is_within and all(read.is_whole for _, read in told),
        may_tell_more=is_found and is_within and any(is_short),
        is_back=is_found and all(span.is_backwards for span, _ in told),
    )
