"""Lists builds in the order in which they began, for what its reporter told and nobody heard.

Builds of all builders count up in one row of numbers (`buildid`), so that two calls a round find what is new, however
many builders there are. A mark is two of these numbers: up to where builds were told, and up to where there were some
at the last call. What lies between is told by the next call; its push has had that long to come.
"""

from __future__ import annotations

from dataclasses import replace

from bot.domain.events import Event
from bot.errors import PayloadInvalid
from bot.ports import Begun
from bot.telemetry import logger
from integrations.buildbot.api import BuildbotApi, Deadline, Json, number_in
from integrations.buildbot.config import Config
from integrations.buildbot.parse import parse_build
from integrations.buildbot.reader import BuildbotReader

MOST_BEHIND = 2000  # builds; what lies further back is left alone

log = logger(__name__)


class BuildbotHistory:
    """Implements `BuildHistory` for one Buildbot."""

    def __init__(self, source: str, config: Config, api: BuildbotApi, reader: BuildbotReader) -> None:
        self._source = source
        self._config = config
        self._api = api
        self._reader = reader
        self._builders: dict[int, str] = {}

    def begun_since(self, mark: str, limit: int) -> Begun:
        """See `BuildHistory.begun_since`."""
        deadline = Deadline()
        newest = self._newest(deadline)
        if not mark:
            return Begun((), _mark(newest, newest))
        told, seen = (int(number) for number in mark.split("."))
        if newest < seen:
            log.warning("builds are counted anew: was the CI's database reset?", source=self._source, newest=newest)
            self._builders.clear()
            return Begun((), _mark(0, newest))
        if seen == told:
            return Begun((), _mark(told, newest))
        if seen - told > MOST_BEHIND:
            log.warning("builds are too many to be looked at", source=self._source, left_out=seen - told - MOST_BEHIND)
            told = seen - MOST_BEHIND
        rows = self._api.rows(
            "builds", "builds", deadline, buildid__gt=told, buildid__le=seen, order="buildid", limit=limit, property="*"
        )
        events = tuple(event for row in rows if (event := self._event(row, deadline)) is not None)
        if len(rows) < limit:
            return Begun(events, _mark(seen, newest))
        return Begun(events, _mark(number_in(rows[-1], "buildid"), seen), is_all=False)

    def _newest(self, deadline: Deadline) -> int:
        rows = self._api.rows("builds", "builds", deadline, order="-buildid", limit=1)
        return number_in(rows[0], "buildid") if rows else 0

    def _event(self, build: Json, deadline: Deadline) -> Event | None:
        """The build as an event; None for one of a builder that is nobody's here, or that cannot be read."""
        project = self._config.project_of(self._builder_of(number_in(build, "builderid"), deadline))
        if project is None:
            return None
        try:
            parsed = parse_build(build)
        except PayloadInvalid as problem:
            log.warning("build cannot be read", source=self._source, build=build.get("buildid"), error=problem)
            return None
        # A rebuild copies who triggered the first one: only its buildset tells.
        facts = replace(parsed.facts, triggered_by=None, url=self._reader.url_of(build, deadline))
        return parsed.event(self._source, project, "read", facts)

    def _builder_of(self, builder_id: int, deadline: Deadline) -> str:
        if builder_id not in self._builders:
            rows = self._api.rows("builders", "builders", deadline, field=["builderid", "name"])
            self._builders = {number_in(row, "builderid"): str(row.get("name")) for row in rows}
        return self._builders.get(builder_id, "")


def _mark(told: int, seen: int) -> str:
    return f"{told}.{seen}"
