"""Buildbot's builds, as its status push and its API write them, to events. Pure.

Shape of a build: https://docs.buildbot.net/4.3.0/developer/rtype-build.html · steps: rtype-step.html beside it ·
results: https://docs.buildbot.net/4.3.0/developer/results.html. Times are whole seconds since 1970.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from bot.domain.builds import BuildFacts, BuildStatus, Phase, Stage, StageStatus
from bot.domain.events import Event, EventKind
from bot.domain.subjects import SubjectKey, SubjectKind
from bot.errors import PayloadInvalid
from integrations.texts import clean_line, clean_url

MAX_STAGES = 100
MAX_NAME = 100
MAX_BRANCH = 250
MAX_COMMIT = 64
MAX_PERSON = 100
MAX_SUMMARY = 300
LATEST = 4102444800  # the year 2100: anything later is no time but a mistake
LARGEST = 2**53

# 3: nothing was run. 5: the worker was lost and Buildbot runs the request again under a new number, so that nobody
# has to act on this one. 4 is an error of Buildbot or of a step's code: no verdict, yet a person must look.
_STATUS = {
    0: BuildStatus.SUCCESS,
    1: BuildStatus.SUCCESS,
    2: BuildStatus.FAILED,
    3: BuildStatus.CANCELLED,
    4: BuildStatus.FAILED,
    5: BuildStatus.CANCELLED,
    6: BuildStatus.CANCELLED,
}
_STAGE_STATUS = {
    0: StageStatus.SUCCESS,
    1: StageStatus.WARNING,
    2: StageStatus.FAILED,
    3: StageStatus.SKIPPED,
    4: StageStatus.FAILED,
    5: StageStatus.CANCELLED,
    6: StageStatus.CANCELLED,
}
FAILED_RESULTS = (2, 4)
_PREPARATION = "worker_preparation"
_VIA = re.compile(r"(?P<person>.+) via Shipmate \((?P<correlation>[\w.:-]+)\)", re.DOTALL)
_LAST_ID = re.compile(r".*via Shipmate \(([\w.:-]+)\)", re.DOTALL)


def reason_for(asked_by: str, correlation: str) -> str:
    """What a run that we start gives as its reason: who asked, and the id by which it is found again."""
    return f"{clean_line(asked_by, MAX_PERSON)} via Shipmate ({correlation})"


def is_reason_of(reason: object, correlation: str) -> bool:
    """Whether a run was started by us under that id: it comes last, for people's names may look like one."""
    found = _LAST_ID.match(reason) if isinstance(reason, str) else None
    return found is not None and found[1] == correlation


@dataclass(frozen=True, slots=True)
class ParsedBuild:
    """A build of any builder, before it is known whose project it is."""

    build_id: int
    number: int
    started_at: float
    ended_at: float | None
    is_complete: bool
    results: int | None
    newest_at: float
    facts: BuildFacts

    def event(self, source: str, project: str, origin: str, facts: BuildFacts | None = None) -> Event:
        """The build as an event of a project; `origin` says in the delivery key where it was read."""
        facts = facts or self.facts
        if self.is_complete:
            kind, phase = EventKind.BUILD_FINISHED, Phase.FINISHED
        else:
            kind, phase = EventKind.BUILD_PROGRESSED if facts.stages else EventKind.BUILD_STARTED, Phase.RUNNING
        occurred_at = self.ended_at if self.is_complete and self.ended_at is not None else self.newest_at
        generation = int(self.started_at)
        digest = digest_of(facts, occurred_at)
        return Event(
            source=source,
            delivery_key=f"{origin}.{self.build_id}.{generation}.{phase.name.lower()}.{digest}",
            kind=kind,
            subject=SubjectKey(SubjectKind.BUILD, source, project, str(self.number)),
            occurred_at=datetime.fromtimestamp(occurred_at, UTC),
            phase=phase,
            facts=facts,
            generation=generation,
        )


def digest_of(facts: BuildFacts, occurred_at: float) -> str:
    """16 hex digits that differ whenever the facts or their time do."""
    said = json.dumps([occurred_at, facts.to_json()], ensure_ascii=False)
    return hashlib.blake2b(said.encode(), digest_size=8).hexdigest()


def parse_build(build: Mapping[str, Any], steps: object = None) -> ParsedBuild:
    """The facts of a build; PayloadInvalid names the field that is not as documented."""
    started_at = _time(build, "started_at")
    if started_at is None:
        raise PayloadInvalid("started_at: missing")
    ended_at = _time(build, "complete_at")
    is_complete = build.get("complete")
    if not isinstance(is_complete, bool):
        raise PayloadInvalid(f"complete: must be true or false, not {_kind(is_complete)}")
    results = build.get("results")
    if results is not None:
        results = _integer(build, "results", least=-1)
    stages, newest_at = _parse_steps(steps, started_at)
    facts = BuildFacts(
        status=_STATUS.get(-1 if results is None else results, BuildStatus.UNKNOWN)
        if is_complete
        else BuildStatus.RUNNING,
        started_at=datetime.fromtimestamp(started_at, UTC),
        finished_at=datetime.fromtimestamp(ended_at, UTC) if is_complete and ended_at is not None else None,
        url=_url(build),
        summary=_line(build, "state_string", MAX_SUMMARY) if is_complete else None,
        stages=stages or None,
    )
    return ParsedBuild(
        build_id=_integer(build, "buildid"),
        number=_integer(build, "number"),
        started_at=started_at,
        ended_at=ended_at,
        is_complete=is_complete,
        results=results,
        newest_at=max(newest_at, ended_at or 0.0),
        facts=_with_properties(facts, build),
    )


def with_buildset(facts: BuildFacts, buildset: Mapping[str, Any]) -> BuildFacts:
    """The facts with what the build's request says: a branch, and that a rebuild's copied words name nobody."""
    reason = buildset.get("reason")
    if reason == "rebuild" or buildset.get("rebuilt_buildid") is not None:
        facts = replace(facts, triggered_by=None)
    stamps = buildset.get("sourcestamps")
    if facts.branch is None and isinstance(stamps, list) and stamps and isinstance(stamps[0], dict):
        facts = replace(facts, branch=_line(stamps[0], "branch", MAX_BRANCH, "buildset.sourcestamps[0]."))
    return facts


def person_in(text: str) -> str:
    """`Ada Nowak` of `Ada Nowak <ada@example.com>`; an address alone stays as it is."""
    name, _, rest = text[:1000].partition("<")
    return clean_line(name if rest and name.strip() else text, MAX_PERSON)


def _with_properties(facts: BuildFacts, build: Mapping[str, Any]) -> BuildFacts:
    properties = build.get("properties")
    if properties is None:
        return facts
    if not isinstance(properties, dict):
        raise PayloadInvalid(f"properties: must be an object, not {_kind(properties)}")
    revisions = _revisions(properties)  # of several codebases one has to stand for the build
    owner, owners = _property(properties, "owner"), _property(properties, "owners")
    author = owners[0] if isinstance(owners, list) and owners and owner is None else None
    return replace(
        facts,
        branch=_said(_property(properties, "branch"), MAX_BRANCH),
        commit=next((revisions[codebase] for codebase in sorted(revisions)), None),
        author=person_in(author) or None if isinstance(author, str) else None,
        triggered_by=_asked_by(owner, _property(properties, "reason")),
    )


def revisions_in(build: Mapping[str, Any]) -> Mapping[str, str]:
    """The revision of each codebase that a build was made of, as far as its properties tell; PayloadInvalid."""
    properties = build.get("properties")
    return _revisions(properties) if isinstance(properties, dict) else {}


def _revisions(properties: Mapping[str, Any]) -> Mapping[str, str]:
    got = _property(properties, "got_revision")
    if not isinstance(got, dict):
        got = {"": _said(got, MAX_COMMIT) or _property(properties, "revision")}
    told = {codebase: _said(revision, MAX_COMMIT) for codebase, revision in got.items()}
    return {codebase: revision for codebase, revision in told.items() if revision}


def _asked_by(owner: object, reason: object) -> str | None:
    """The person who forced a build: for ours that is the one who asked us, not the account that we log in with."""
    if isinstance(reason, str) and (found := _VIA.fullmatch(reason[:1000])):
        return clean_line(found["person"], MAX_PERSON)
    return person_in(owner) or None if isinstance(owner, str) else None


def _property(properties: Mapping[str, Any], name: str) -> Any:  # noqa: ANN401 - any JSON value
    if name not in properties:
        return None
    pair = properties[name]
    if not isinstance(pair, list) or len(pair) != 2:
        raise PayloadInvalid(f"properties.{name}: must be [value, source], not {_kind(pair)}")
    return pair[0]


def _parse_steps(steps: object, started_at: float) -> tuple[tuple[Stage, ...], float]:
    """The visible stages, and the newest instant that the steps tell of."""
    if steps is None:
        return (), started_at
    if not isinstance(steps, list):
        raise PayloadInvalid(f"steps: must be a list, not {_kind(steps)}")
    newest_at = started_at
    if len(steps) > MAX_STAGES:
        steps = [*steps[: MAX_STAGES // 2], *steps[-MAX_STAGES // 2 :]]
    stages = []
    for at, step in enumerate(steps):
        where = f"steps[{at}]."
        if not isinstance(step, dict):
            raise PayloadInvalid(f"steps[{at}]: must be an object, not {_kind(step)}")
        began, ended = _time(step, "started_at", where), _time(step, "complete_at", where)
        newest_at = max(newest_at, began or 0.0, ended or 0.0)
        stage = _stage(step, where, began, ended)
        if stage is not None:
            stages.append(stage)
    return tuple(stages), newest_at


def _stage(step: Mapping[str, Any], where: str, began: float | None, ended: float | None) -> Stage | None:
    results = step.get("results")
    if results is not None:
        results = _integer(step, "results", where, least=-1)
    name = _line(step, "name", MAX_NAME, where)
    if not name or step.get("hidden") is True or (name == _PREPARATION and results not in FAILED_RESULTS):
        return None
    if results is None:
        return Stage(name, StageStatus.PENDING if began is None else StageStatus.RUNNING)
    duration_s = None if began is None or ended is None else max(0.0, ended - began)
    return Stage(name, _STAGE_STATUS.get(results, StageStatus.UNKNOWN), duration_s)


def _url(build: Mapping[str, Any]) -> str | None:
    url = build.get("url")
    if url is None:
        return None
    if not isinstance(url, str):
        raise PayloadInvalid(f"url: must be text, not {_kind(url)}")
    return clean_url(url)


def _said(value: object, limit: int) -> str | None:
    """A text that says something; properties may hold any other value, which says nothing to us."""
    return clean_line(value, limit) or None if isinstance(value, str) else None


def _line(values: Mapping[str, Any], name: str, limit: int, where: str = "") -> str | None:
    value = values.get(name)
    if value is None:
        return None
    if not isinstance(value, str):
        raise PayloadInvalid(f"{where}{name}: must be text, not {_kind(value)}")
    return clean_line(value, limit) or None


def _time(values: Mapping[str, Any], name: str, where: str = "") -> float | None:
    value = values.get(name)
    if value is None:
        return None
    if type(value) not in (int, float) or not 0 <= value <= LATEST:
        raise PayloadInvalid(f"{where}{name}: must be seconds since 1970, not {_kind(value)}")
    return float(value)


def _integer(values: Mapping[str, Any], name: str, where: str = "", *, least: int = 0) -> int:
    value = values.get(name)
    if type(value) is not int or not least <= value < LARGEST:
        raise PayloadInvalid(f"{where}{name}: must be a whole number, not {_kind(value)}")
    return value


def _kind(value: object) -> str:
    """What a value is, in JSON's words; never the value itself, which may be secret."""
    if value is None:
        return "missing"
    names: Sequence[tuple[type, str]] = (
        (bool, "a truth value"),
        (str, "text"),
        (dict, "an object"),
        (list, "a list"),
    )
    return next((name for kind, name in names if isinstance(value, kind)), "this number")
