"""Starts, repeats and stops builds of a Buildbot, each at most once.

What is certain when an answer was lost, and what is not:

- A run that we start writes our id into its buildset's reason. A rebuild of it has the reason `rebuild`, so that the id
  is found exactly once, whatever the clocks say.
- A rebuild takes no words of ours. Its buildset names the build at the root of the chain of rebuilds. Ours is the first
  one that is newer than the buildset of the build to be repeated (by Buildbot's own numbers) and was not asked for
  before us (by Buildbot's clock, whose difference to ours is measured at that moment, with `CLOCK_SLACK_S` to spare).
  If somebody else rebuilt the same chain since then, theirs is taken for ours: a build too few, never one too many.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from urllib.parse import quote

from bot.domain.subjects import SubjectKey, SubjectKind
from bot.errors import Conflict, DestinationGone, OutcomeUnknown, Rejected
from bot.ports import Clock, Triggered
from integrations.buildbot.api import BuildbotApi, Deadline, Json, number_in
from integrations.buildbot.config import SYSTEM, Project
from integrations.buildbot.parse import is_reason_of, reason_for
from integrations.buildbot.reader import BuildbotReader
from integrations.texts import clean_line

CORRELATION_FIELD = "shipmate_command"
CLOCK_SLACK_S = 2.0  # both clocks are read in whole seconds
UNKNOWN_CLOCK_SLACK_S = 60.0
SECOND_LOOK_S = 1.0
RE_READ_S = 0.1
WAITS_UNTIL_LEFT_S = 4.0
RETRY, CANCELLED = 5, 6
_RESERVED = frozenset({"builderid", "builderNames", "owner", "username", "reason", "priority", CORRELATION_FIELD})


class BuildbotControl:
    """Implements `BuildControl` for the projects of one Buildbot."""

    def __init__(self, source: str, api: BuildbotApi, reader: BuildbotReader, clock: Clock) -> None:
        self._source = source
        self._api = api
        self._reader = reader
        self._clock = clock

    def retry(self, key: SubjectKey, *, correlation: str, asked_by: str) -> Triggered:
        """See `BuildControl.retry`: Buildbot's `rebuild`, which runs the same revision with the same properties."""
        deadline = Deadline()
        project = self._reader.project(key.project)
        build = self._reader.find_build(key, deadline)
        if not build["complete"]:
            raise Conflict("This build is still running; it can be retried when it has ended.")
        self._living_builder(project, deadline)
        result = self._api.control(f"builds/{build['buildid']}", "rebuild", {}, deadline)
        return Triggered(_request_in(result))

    def run(self, project: str, parameters: Mapping[str, str], *, correlation: str, asked_by: str) -> Triggered:
        """See `BuildControl.run`: the force scheduler, with parameters that it knows; Rejected names others."""
        deadline = Deadline()
        configured = self._reader.project(project)
        builder = self._living_builder(configured, deadline)
        fields = self._fields_of(configured, deadline)
        wanted = {**configured.parameters, **parameters}
        takes = sorted(fields - _RESERVED)
        if unknown := sorted(set(wanted) - set(takes)):  # Buildbot itself would drop them without a word
            known = ", ".join(takes) or "no parameters"
            raise Rejected(SYSTEM, "unknown_parameter", clean_line(f"{unknown[0]} is none of {known}", 300))
        if CORRELATION_FIELD in fields:
            wanted[CORRELATION_FIELD] = correlation
        wanted["builderid"] = str(number_in(builder, "builderid"))  # without it every builder of the scheduler starts
        wanted["reason"] = reason_for(asked_by, correlation)
        scheduler = f"forceschedulers/{quote(configured.force_scheduler, safe='')}"
        return Triggered(_request_in(self._api.control(scheduler, "force", wanted, deadline)))

    def cancel(self, key: SubjectKey, *, asked_by: str) -> bool:
        """See `BuildControl.cancel`; OutcomeUnknown when the build still runs seconds after it was told to stop."""
        deadline = Deadline()
        build = self._reader.find_build(key, deadline)
        reason = _reason(asked_by)
        if build["complete"]:
            return _was_stopped_for(reason, build)
        self._api.control(f"builds/{build['buildid']}", "stop", {"reason": reason}, deadline)
        while not deadline.is_past(WAITS_UNTIL_LEFT_S):  # the answer tells nothing: only the build itself does
            build = self._reader.find_build(key, deadline)
            if build["complete"]:
                return bool(build.get("results") == CANCELLED)
            time.sleep(RE_READ_S)
        raise OutcomeUnknown(SYSTEM, "still_running", key.short)

    def find_run(
        self, project: str, *, correlation: str, since: datetime, retried: SubjectKey | None
    ) -> Triggered | None:
        """See `BuildControl.find_run`, and the top of this module for how far it can be trusted."""
        deadline = Deadline()
        self._reader.project(project)
        found = self._look_for(correlation, since, retried, deadline)
        if found is None:  # a call whose answer was given up may still be in Buildbot's hands
            time.sleep(SECOND_LOOK_S)
            found = self._look_for(correlation, since, retried, deadline)
        if found is None:
            return None
        bsid = number_in(found, "bsid")
        request = self._api.row("buildrequests", "buildrequests", deadline, buildsetid=bsid)
        return Triggered(
            str(number_in(request, "buildrequestid")), self._key_of(project, self._newest_build(request, deadline))
        )

    def follow(self, project: str, request: str, *, correlation: str = "") -> SubjectKey | None:
        """See `BuildControl.follow`; a request whose worker was lost waits again, until it has its next build."""
        deadline = Deadline()
        row = self._request(project, request, deadline)
        if correlation:
            self._must_carry(row, correlation, deadline)
        build = self._newest_build(row, deadline)
        if row.get("complete"):
            if build is None:
                reason = "request_cancelled" if row.get("results") == CANCELLED else "request_superseded"
                raise DestinationGone(SYSTEM, reason, "the request ended without a build")
        elif build is not None and build.get("results") == RETRY:
            return None
        return self._key_of(project, build)

    def withdraw(self, project: str, request: str, *, asked_by: str) -> None:
        """See `BuildControl.withdraw`; of a request that was taken on in the same moment Buildbot stops the build."""
        deadline = Deadline()
        waiting = number_in(self._request(project, request, deadline), "buildrequestid")
        self._api.control(f"buildrequests/{waiting}", "cancel", {"reason": _reason(asked_by)}, deadline)

    def check_project(self, project: Project, deadline: Deadline) -> None:
        """Raise DestinationGone or Rejected, saying why, when a run of the project could not be started."""
        self._living_builder(project, deadline)
        self._fields_of(project, deadline)

    def _request(self, project: str, request: str, deadline: Deadline) -> Json:
        """A request of a project; DestinationGone where it is none of the builder that the project names now."""
        name = self._reader.project(project).builder
        try:
            row = self._api.row(f"buildrequests/{quote(request, safe='')}", "buildrequests", deadline)
        except DestinationGone:
            raise DestinationGone(SYSTEM, "request_gone", "Buildbot does not know the request any more") from None
        if number_in(row, "builderid") != number_in(self._reader.find_builder(name, deadline), "builderid"):
            raise DestinationGone(SYSTEM, "other_builder", f"the request is none of the builder {name}")
        return row

    def _must_carry(self, request: Json, correlation: str, deadline: Deadline) -> None:
        """DestinationGone where it is not the request that we made: another Buildbot counts from 1 as well."""
        buildset = self._api.row(f"buildsets/{number_in(request, 'buildsetid')}", "buildsets", deadline)
        if not is_reason_of(buildset.get("reason"), correlation):
            raise DestinationGone(SYSTEM, "other_request", "the request of that number is none of ours")

    def _living_builder(self, project: Project, deadline: Deadline) -> Json:
        """The builder, when a master still has it: one that was taken away can be read, and never builds again."""
        builder = self._reader.find_builder(project.builder, deadline)
        if not builder.get("masterids"):
            raise DestinationGone(SYSTEM, "builder_gone", f"the builder {project.builder} was taken away")
        return builder

    def _fields_of(self, project: Project, deadline: Deadline) -> frozenset[str]:
        try:
            name = quote(project.force_scheduler, safe="")
            scheduler = self._api.row(f"forceschedulers/{name}", "forceschedulers", deadline)
        except DestinationGone:
            detail = f"there is no force scheduler {project.force_scheduler}"
            raise DestinationGone(SYSTEM, "force_scheduler_gone", detail) from None
        if project.builder not in scheduler.get("builder_names", ()):
            detail = f"the force scheduler {project.force_scheduler} does not start {project.builder}"
            raise Rejected(SYSTEM, "not_forceable", detail)
        if scheduler.get("enabled") is False:
            raise Conflict("Starting builds of this project is switched off in Buildbot.")
        fields = _leaves(scheduler.get("all_fields"))
        if fields.get("reason") != "text":
            # A reason that cannot carry our id would let a lost answer start a second build.
            detail = f"the force scheduler {project.force_scheduler} takes no reason in words"
            raise Rejected(SYSTEM, "no_reason_field", detail)
        return frozenset(fields)

    def _look_for(
        self, correlation: str, since: datetime, retried: SubjectKey | None, deadline: Deadline
    ) -> Json | None:
        if retried is None:
            found = self._api.rows("buildsets", "buildsets", deadline, reason__contains=correlation, order="bsid")
            return next((row for row in found if is_reason_of(row.get("reason"), correlation)), None)
        return self._look_for_rebuild(retried, since, deadline)

    def _look_for_rebuild(self, key: SubjectKey, since: datetime, deadline: Deadline) -> Json | None:
        build = self._reader.find_build(key, deadline)
        request = f"buildrequests/{number_in(build, 'buildrequestid')}"
        asked = self._api.row(request, "buildrequests", deadline)
        buildset = self._api.row(f"buildsets/{number_in(asked, 'buildsetid')}", "buildsets", deadline)
        root = buildset.get("rebuilt_buildid")
        if root is None:  # the request's first build, which is not this one where a worker was lost
            roots = [number_in(row, "buildid") for row in self._api.rows(f"{request}/builds", "builds", deadline)]
        else:
            roots = [root]
        bsid = number_in(buildset, "bsid")
        later = self._api.rows("buildsets", "buildsets", deadline, rebuilt_buildid=roots, bsid__gt=bsid, order="bsid")
        earliest = since.timestamp() + self._clock_lead_s(deadline)
        return next((row for row in later if number_in(row, "submitted_at") >= earliest), None)

    def _clock_lead_s(self, deadline: Deadline) -> float:
        """What to add to an instant of our clock to get the earliest that Buildbot's may have shown then."""
        _, theirs = self._api.read("/config", deadline)
        if theirs is None:
            return -UNKNOWN_CLOCK_SLACK_S
        return (theirs - self._clock.now()).total_seconds() - CLOCK_SLACK_S

    def _newest_build(self, request: Json, deadline: Deadline) -> Json | None:
        """The build of a request; the newest one where a lost worker made Buildbot build it again."""
        path = f"buildrequests/{number_in(request, 'buildrequestid')}/builds"
        builds = self._api.rows(path, "builds", deadline, order="-buildid", limit=1)
        return builds[0] if builds else None

    def _key_of(self, project: str, build: Json | None) -> SubjectKey | None:
        if build is None:
            return None
        return SubjectKey(SubjectKind.BUILD, self._source, project, str(number_in(build, "number")))


def _reason(asked_by: str) -> str:
    return f"asked by {clean_line(asked_by, 60)}"


def _request_in(result: Any) -> str:  # noqa: ANN401 - any JSON value
    """The id of the one request in `[buildset, {builder: request}]`."""
    match result:
        case [int(), dict() as requests] if len(requests) == 1:
            return str(next(iter(requests.values())))
        case _:
            raise OutcomeUnknown(SYSTEM, "bad_answer", "no single build request in the answer")


def _leaves(fields: object) -> dict[str, str]:
    """Name and type of each field of a force scheduler's form that can be filled in, out of its nested groups."""
    leaves: dict[str, str] = {}
    waiting: list[Any] = list(fields) if isinstance(fields, Sequence) and not isinstance(fields, str) else []
    while waiting:
        field = waiting.pop()
        if not isinstance(field, dict):
            continue
        if isinstance(field.get("fields"), list):
            waiting += field["fields"]
        elif isinstance(field.get("fullName"), str) and field.get("type") != "fixed":
            leaves[field["fullName"]] = str(field.get("type"))
    return leaves


def _was_stopped_for(reason: str, build: Json) -> bool:
    """Whether a build that has ended was stopped by an earlier try of the same request."""
    return build.get("results") == CANCELLED and reason in str(build.get("state_string"))
