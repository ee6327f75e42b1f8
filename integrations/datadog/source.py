"""One configured organisation: values and series of metrics, and how monitors stand."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

import requests

from bot.domain.judging import MonitorStatus
from bot.errors import DestinationGone, Rejected, Unavailable
from bot.ports import Clock
from bot.ports.metrics import MonitorState, Point, Query, Reading, Series
from integrations.datadog.api import MAX_WORDS, DatadogApi, Json
from integrations.datadog.config import SYSTEM, Config
from integrations.datadog.dora import DoraReports
from integrations.datadog.query import Parsed, parse, tag_value
from integrations.http import CALL_DEADLINE_S
from integrations.readings import distinct
from integrations.spec import Metrics, MetricSpec
from integrations.texts import clean_line
from integrations.transport import together

MAX_LABELS = 200
MAX_LINK = 1900
_MONITOR = re.compile(r"(?P<id>[1-9][0-9]{0,18})(?:/(?P<group>\S.*))?")
_STATES = {
    "OK": MonitorStatus.OK,
    "Alert": MonitorStatus.ALERT,
    "Warn": MonitorStatus.WARN,
}
_WORST_FIRST = (MonitorStatus.ALERT, MonitorStatus.SILENT, MonitorStatus.WARN, MonitorStatus.OK)


class Datadog:
    """Implements `MetricSource` and `MonitorSource`."""

    def __init__(self, config: Config, session: requests.Session, clock: Clock) -> None:
        self._config = config
        self._clock = clock
        self._api = DatadogApi(config, session)

    def probe(self) -> str:
        """Whether both keys are good: one is asked about, the other needed for a query."""
        with together(CALL_DEADLINE_S):
            self._api.ask("GET", "/api/v1/validate")
            now = self._clock.now().timestamp()
            self.value(Query("avg:system.cpu.user{*}"), start=now - 300, end=now)
        return f"Datadog at {self._config.site}, both keys are good"

    def check_query(self, query: Query) -> None:
        """See `MetricSource`."""
        parse(query)

    def value(self, query: Query, *, start: float, end: float) -> Reading:
        """See `MetricSource`; the time asked for becomes one value by the configured aggregator."""
        parsed = _parsed(query)
        if self._config.api == "v1":
            found = self._points_v1(parsed, start, end)
            return Reading({labels: self._reduced(points) for labels, points in found.items()})
        attributes = self._attributes(parsed, start, end, aggregator=self._config.aggregator)
        columns = _listed(self._query_v2("scalar", attributes), "columns")
        return Reading(_scalars(columns))

    def series(self, query: Query, *, start: float, end: float, step_s: float) -> Series:
        """See `MetricSource`; API v1 chooses the step itself."""
        parsed = _parsed(query)
        if self._config.api == "v1":
            return Series(self._points_v1(parsed, start, end))
        attributes = {**self._attributes(parsed, start, end), "interval": max(1000, round(step_s * 1000))}
        found = self._query_v2("timeseries", attributes)
        times = [_number(at) / 1000 for at in _listed(found, "times")]
        values, rows = _listed(found, "values"), _listed(found, "series")
        if len(values) != len(rows):
            raise Unavailable(SYSTEM, "bad_answer", "as many series as values were expected")
        points = [
            (
                _labels(_texts(row, "group_tags")),
                [Point(at, _number(one)) for at, one in zip(times, given, strict=False)],
            )
            for row, given in zip(rows, values, strict=True)
        ]
        return Series(distinct(points))

    def link(self, query: Query, *, start: float, end: float) -> str | None:
        """The explorer with the first metric of the query."""
        parsed = _parsed(query)
        shown = {
            "live": "false",
            "from_ts": round(start * 1000),
            "to_ts": round(end * 1000),
            "exp_metric": parsed.metric,
            "exp_scope": "" if parsed.scope == "*" else parsed.scope,
            "exp_agg": parsed.aggregate,
        }
        url = f"{self._config.pages}/metric/explorer?{urlencode(shown)}"
        return url if len(url) <= MAX_LINK else None

    def check_monitor(self, monitor: str) -> None:
        """See `MonitorSource`: an id, or an id and the tags of a group, such as `123/service:web,env:prod`."""
        if not _MONITOR.fullmatch(monitor):
            raise ValueError(f"{monitor!r} is no monitor: write its number, and a group behind it, as 123/service:web")

    def state(self, monitor: str) -> MonitorState:
        """See `MonitorSource`; of several groups that have the tags, the worst one counts."""
        found = _MONITOR.fullmatch(monitor)
        if found is None:
            raise Rejected(SYSTEM, "no_monitor", clean_line(monitor, 100))
        try:
            body = self._api.ask("GET", f"/api/v1/monitor/{found['id']}", params={"group_states": "all"})
        except DestinationGone:
            raise DestinationGone(SYSTEM, "no_such_monitor", found["id"]) from None
        url = f"{self._config.pages}/monitors/{found['id']}"
        states = _states(body, found["group"])
        if not states:
            return MonitorState(MonitorStatus.SILENT, clean_line(f"no group {found['group']}", MAX_WORDS), url)
        status, words = min(states, key=lambda one: _WORST_FIRST.index(one[0]))
        name = clean_line(str(body.get("name") or found["id"]), 100)
        return MonitorState(status, clean_line(f"{name}: {words}", MAX_WORDS), url)

    def _attributes(self, parsed: Parsed, start: float, end: float, **each: str) -> Json:
        queries = [
            {"data_source": "metrics", "name": name, "query": text, **each}
            for name, text in zip("abcdefghijklmnopqrstuvwxyz", parsed.queries, strict=False)
        ]
        formulas = [{"formula": parsed.formula}]
        return {"from": round(start * 1000), "to": round(end * 1000), "queries": queries, "formulas": formulas}

    def _query_v2(self, kind: str, attributes: Json) -> Json:
        body = self._api.ask(
            "POST", f"/api/v2/query/{kind}", json={"data": {"type": f"{kind}_request", "attributes": attributes}}
        )
        if errors := body.get("errors"):
            raise Rejected(SYSTEM, "query_failed", clean_line(str(errors), MAX_WORDS))
        match body.get("data"):
            case {"attributes": dict() as found}:
                return found
        raise Unavailable(SYSTEM, "bad_answer", "no data in the answer")

    def _points_v1(self, parsed: Parsed, start: float, end: float) -> dict[str, list[Point]]:
        times = {"from": str(math.floor(start)), "to": str(math.ceil(end))}
        body = self._api.ask("GET", "/api/v1/query", params={**times, "query": parsed.text})
        if body.get("status") != "ok":
            raise Rejected(SYSTEM, "query_failed", clean_line(str(body.get("error") or ""), MAX_WORDS))
        found: list[tuple[str, list[Point]]] = []
        for row in _listed(body, "series"):
            labels = _labels(_texts(row, "tag_set") or [str(row.get("scope", ""))])
            points = [Point(_number(at) / 1000, _number(value)) for at, value in _pairs(row)]
            found.append((labels, points))
        return distinct(found)

    def _reduced(self, points: list[Point]) -> float:
        values = [point.value for point in points if not math.isnan(point.value)]
        if not values:
            return math.nan
        match self._config.aggregator:
            case "avg":
                return sum(values) / len(values)
            case "min":
                return min(values)
            case "max":
                return max(values)
            case "sum":
                return sum(values)
            case "last":
                return values[-1]


def _parsed(query: Query) -> Parsed:
    try:
        return parse(query)
    except ValueError as problem:
        raise Rejected(SYSTEM, "bad_query", str(problem)) from None


def _scalars(columns: list[Any]) -> dict[str, float]:
    """Rows of a table of columns: those of groups name a row, the first of numbers has its value."""
    groups = [column for column in columns if isinstance(column, dict) and column.get("type") == "group"]
    numbers = [column for column in columns if isinstance(column, dict) and column.get("type") == "number"]
    if not numbers:
        return {}
    found: list[tuple[str, float]] = []
    for index, value in enumerate(_listed(numbers[0], "values")):
        tags = [
            f"{group.get('name')}:{', '.join(map(str, _row(group, index)))}" for group in groups if _row(group, index)
        ]
        found.append((_labels(tags), _number(value)))
    return distinct(found)


def _row(group: Mapping[str, Any], index: int) -> list[Any]:
    values = _listed(group, "values")
    row = values[index] if index < len(values) else []
    return row if isinstance(row, list) else []


def _states(body: Json, group: str | None) -> list[tuple[MonitorStatus, str]]:
    """How a monitor stands as a whole, or each of its groups that has all of the tags."""
    if group is None:
        return [_status(body.get("overall_state"))]
    wanted = {tag_value(tag.strip()) for tag in group.split(",")}
    state = body.get("state")
    groups = state.get("groups") if isinstance(state, dict) else None
    return [
        _status(one.get("status"), name)
        for name, one in (groups if isinstance(groups, dict) else {}).items()
        if isinstance(one, dict) and wanted <= {tag.strip() for tag in str(name).split(",")}
    ]


def _status(state: object, group: str = "") -> tuple[MonitorStatus, str]:
    words = f"{state or 'Unknown'} ({group})" if group else str(state or "Unknown")
    return _STATES.get(str(state), MonitorStatus.SILENT), words


def _labels(tags: list[str]) -> str:
    return clean_line(", ".join(tags), MAX_LABELS)


def _texts(row: object, name: str) -> list[str]:
    given = row.get(name) if isinstance(row, dict) else None
    return [str(one) for one in given] if isinstance(given, list) else []


def _pairs(row: Any) -> list[tuple[object, object]]:  # noqa: ANN401 - whatever the system sent
    points = _listed(row, "pointlist")
    if not all(isinstance(point, list) and len(point) == 2 for point in points):
        raise Unavailable(SYSTEM, "bad_answer", "points of a time and a value were expected")
    return [(point[0], point[1]) for point in points]


def _listed(given: Any, name: str) -> list[Any]:  # noqa: ANN401 - whatever the system sent
    found = given.get(name) if isinstance(given, dict) else None
    if not isinstance(found, list):
        raise Unavailable(SYSTEM, "bad_answer", f"no list of {name}")
    return found


def _number(given: object) -> float:
    """A value; null, where nothing was measured, is not a number."""
    if given is None:
        return math.nan
    if isinstance(given, int | float):
        return float(given)
    raise Unavailable(SYSTEM, "bad_answer", "no number where one belongs")


def build_metrics(_name: str, config: Config, session: requests.Session, clock: Clock) -> Metrics:
    """The source; no call is made before it is used."""
    source = Datadog(config, session, clock)
    reports = DoraReports(config.dora, DatadogApi(config, session)) if config.dora is not None else None
    return Metrics(source, monitors=source, reports=reports)


SPEC = MetricSpec(SYSTEM, Config, build_metrics)
