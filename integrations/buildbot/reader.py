"""Reads builds, stages and logs from a Buildbot."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from urllib.parse import quote

from bot.domain.builds import Build, BuildFacts, Phase
from bot.domain.deployments import Version
from bot.domain.events import Event, EventKind
from bot.domain.subjects import SubjectKey, SubjectKind
from bot.errors import DestinationGone, PayloadInvalid, Unavailable
from bot.ports import Between
from integrations.buildbot.api import BuildbotApi, Deadline, Json, Parameter, number_in
from integrations.buildbot.changes import BuildbotChanges, title_of
from integrations.buildbot.config import SYSTEM, Config, Project
from integrations.buildbot.parse import FAILED_RESULTS, ParsedBuild, parse_build, person_in, with_buildset
from integrations.logs import excerpt, find_failed_tests, plain_lines, tail
from integrations.texts import clean_line, clean_url

MOST_BUILDS = 100
MOST_LOG_LINES = 1500  # Buildbot cuts lines at 4,096 characters, so that these fit the 8 MiB of an answer
HEADER_LINES = 150  # a log's own header lines, which list the worker's environment, are not shown
MAX_LOG = 20_000


class BuildbotReader:
    """Implements `BuildReader` for the projects of one Buildbot."""

    def __init__(self, source: str, config: Config, api: BuildbotApi) -> None:
        self._source = source
        self._config = config
        self._api = api
        self._changes = BuildbotChanges(api)
        self._public_url: str | None = None

    def fetch(self, key: SubjectKey, *, with_log: bool) -> Event:
        """See `BuildReader.fetch`. `with_log` also asks for the author, the commit's title and who asked."""
        deadline = Deadline()
        build = self.find_build(key, deadline, property="*")
        steps = self._api.rows(f"builds/{build['buildid']}/steps", "steps", deadline)
        parsed = self._parse(build, steps)
        facts = replace(parsed.facts, url=self.url_of(build, deadline))
        if with_log:
            facts = self._with_origin(facts, build, deadline)
            facts = self._with_log(facts, parsed, steps, deadline)
        else:
            facts = replace(facts, triggered_by=None)  # a rebuild copies it: only its buildset tells
        event = parsed.event(self._source, key.project, "read", facts)
        kind = EventKind.BUILD_ENRICHED if parsed.is_complete else EventKind.BUILD_PROGRESSED
        return replace(event, kind=kind)

    def list_builds(self, project: str, limit: int) -> Sequence[Build]:
        """See `BuildReader.list_builds`; at most 100."""
        deadline = Deadline()
        name = self.project(project).builder
        limit = max(1, min(limit, MOST_BUILDS))
        path = f"builders/{quote(name, safe='')}/builds"
        builds = self._api.rows(path, "builds", deadline, order="-number", limit=limit, property="*")
        if not builds:
            self.find_builder(name, deadline)  # an unknown builder is answered with an empty list too
        return [self._listed(project, build, deadline) for build in builds]

    def between(self, project: str, old: Version, new: Version, limit: int) -> Between:
        """See `BuildReader.between`."""
        return self._changes.between(self.project(project).builder, old, new, limit)

    def read_log(self, key: SubjectKey, *, max_lines: int) -> str:
        """See `BuildReader.read_log`; at most 1,500 lines and 20,000 characters, secrets masked."""
        deadline = Deadline()
        build = self.find_build(key, deadline)
        steps = self._api.rows(f"builds/{build['buildid']}/steps", "steps", deadline)
        most = max(1, min(max_lines, MOST_LOG_LINES))
        for step in _most_telling(steps):
            _, lines = self._log_lines(build, step, most + HEADER_LINES, deadline)
            if lines:
                return tail(lines, most=most, limit=MAX_LOG)
        return ""

    # --- shared with the control side

    def project(self, name: str) -> Project:
        """How a project is configured; DestinationGone when it is not (any more)."""
        project = self._config.project(name)
        if project is None:
            raise DestinationGone(SYSTEM, "unknown_project", f"no project {clean_line(name, 80)} is configured")
        return project

    def find_builder(self, name: str, deadline: Deadline) -> Json:
        """The builder of a name; DestinationGone when Buildbot never had one."""
        try:
            return self._api.row(f"builders/{quote(name, safe='')}", "builders", deadline)
        except DestinationGone:
            raise DestinationGone(SYSTEM, "builder_gone", f"there is no builder {name}") from None

    def find_build(self, key: SubjectKey, deadline: Deadline, **params: Parameter) -> Json:
        """The build of a key; DestinationGone says whether the build or its builder is missing."""
        name = self.project(key.project).builder
        if not (key.number.isascii() and key.number.isdigit() and len(key.number) <= 15):
            raise DestinationGone(SYSTEM, "no_such_build", f"{key.short}: builds have numbers")
        path = f"builders/{quote(name, safe='')}/builds/{key.number}"
        try:
            build = self._api.row(path, "builds", deadline, **params)
        except DestinationGone:
            self.find_builder(name, deadline)
            raise DestinationGone(SYSTEM, "no_such_build", key.short) from None
        self._parse(build)
        return build

    def url_of(self, build: Json, deadline: Deadline) -> str | None:
        """The page of a build, below the address that Buildbot itself writes into its pushes."""
        if self._public_url is None:
            try:
                found = self._api.read("/config", deadline)[0].get("buildbotURL")
            except DestinationGone:  # Buildbot before 4.0
                found = None
            self._public_url = found.rstrip("/") if isinstance(found, str) and clean_url(found) else self._config.url
        return clean_url(f"{self._public_url}/#/builders/{build.get('builderid')}/builds/{build['number']}")

    # --- one build

    def _parse(self, build: Json, steps: object = None) -> ParsedBuild:
        try:
            return parse_build(build, steps)
        except PayloadInvalid as problem:
            raise Unavailable(SYSTEM, "bad_answer", str(problem)) from None

    def _listed(self, project: str, build: Json, deadline: Deadline) -> Build:
        parsed = self._parse(build)
        facts = replace(parsed.facts, triggered_by=None, url=self.url_of(build, deadline))
        key = SubjectKey(SubjectKind.BUILD, self._source, project, str(parsed.number))
        return Build(key, 1, Phase.FINISHED if parsed.is_complete else Phase.RUNNING, facts)

    def _with_origin(self, facts: BuildFacts, build: Json, deadline: Deadline) -> BuildFacts:
        """Whose change it is and who asked for the build."""
        request = self._api.row(f"buildrequests/{number_in(build, 'buildrequestid')}", "buildrequests", deadline)
        buildset = self._api.row(f"buildsets/{number_in(request, 'buildsetid')}", "buildsets", deadline)
        try:
            facts = with_buildset(facts, buildset)
        except PayloadInvalid as problem:
            raise Unavailable(SYSTEM, "bad_answer", str(problem)) from None
        changes = self._api.rows(f"builds/{build['buildid']}/changes", "changes", deadline)
        if not changes:  # nobody's: a person asked for it
            return facts
        # All since the last build that passed, not only the one that is built.
        built = next((one for one in changes if one.get("revision") == facts.commit), changes[0])
        author = built.get("author")
        if isinstance(author, str):
            facts = replace(facts, author=person_in(author) or facts.author)
        return replace(facts, commit_title=title_of(built) or facts.commit_title)

    def _with_log(
        self, facts: BuildFacts, parsed: ParsedBuild, steps: Sequence[Json], deadline: Deadline
    ) -> BuildFacts:
        failed = next((step for step in steps if step.get("results") in FAILED_RESULTS), None)
        if failed is None:
            return facts
        streams, lines = self._log_lines({"buildid": parsed.build_id}, failed, MOST_LOG_LINES, deadline)
        failed_tests = find_failed_tests(_each_stream(streams, lines))
        return replace(facts, failed_tests=failed_tests or None, log_excerpt=excerpt(lines) or None)

    def _log_lines(self, build: Json, step: Json, most: int, deadline: Deadline) -> tuple[list[str], list[str]]:
        """The last lines that a step's programs wrote, and before them the stream of each: `o` or `e`.

        Buildbot's own remarks in the log are left out.
        """
        path = f"builds/{build['buildid']}/steps/{step.get('number')}/logs"
        log = _main_log(self._api.rows(path, "logs", deadline))
        if log is None:
            return [], []
        offset = max(0, number_in(log, "num_lines") - most)
        chunks = self._api.rows(
            f"logs/{number_in(log, 'logid')}/contents", "logchunks", deadline, offset=offset, limit=most
        )
        content = "".join(chunk["content"] for chunk in chunks if isinstance(chunk.get("content"), str))
        lines = content.split("\n")
        if log["type"] != "s":
            return ["o"] * len(lines), plain_lines(lines)
        # Each line starts with its stream: o and e are the programs', h is Buildbot's.
        lines = [line for line in lines if line[:1] in ("o", "e")]
        return [line[0] for line in lines], plain_lines(line[1:] for line in lines)


def _each_stream(streams: Sequence[str], lines: Sequence[str]) -> list[str]:
    """The lines of one stream after those of the other: which was read first says nothing of which was written first.

    A report comes over one of them, and what is printed to the other must not stand in its midst.
    """
    return [line for wanted in ("e", "o") for stream, line in zip(streams, lines, strict=True) if stream == wanted]


def _main_log(logs: Sequence[Json]) -> Json | None:
    readable = [
        log
        for log in logs
        if log.get("type") in ("s", "t") and type(log.get("num_lines")) is int and log["num_lines"] > 0
    ]
    return next((log for log in readable if log.get("name") == "stdio"), readable[0] if readable else None)


def _most_telling(steps: Sequence[Json]) -> list[Json]:
    """The first failed step, then the others from the last to the first, at most four in all."""
    failed = [step for step in steps if step.get("results") in FAILED_RESULTS][:1]
    others = [step for step in reversed(steps) if step not in failed and step.get("hidden") is not True]
    return [*failed, *others][:4]
