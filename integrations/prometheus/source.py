"""One configured Prometheus: values, series, links, and how a service did while it was deployed."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode

import requests

from bot.errors import Rejected, Unavailable
from bot.ports import Clock
from bot.ports.metrics import DeploymentMetrics, Figure, Point, Query, Reading, Series
from integrations.http import CALL_DEADLINE_S
from integrations.prometheus.api import PrometheusApi
from integrations.prometheus.config import SYSTEM, Config
from integrations.prometheus.promql import check, render
from integrations.readings import distinct
from integrations.spec import Metrics, MetricSpec
from integrations.texts import clean_line
from integrations.transport import together

MOST_POINTS = 11_000  # the server refuses more a series
FIGURE_POINTS = 60
LEAST_STEP_S = 1.0
LONGEST_FIGURE_WINDOW_S = 300.0
MAX_LABELS = 200
MAX_LINK = 1900
ABOUT_THE_QUERY = "PromQL "  # begins remarks on how a query is written; any other is about data that was not read


class Prometheus:
    """Implements `MetricSource` and `DeploymentMetricSource`."""

    def __init__(self, config: Config, session: requests.Session) -> None:
        self._config = config
        self._api = PrometheusApi(session, config)

    def probe(self) -> str:
        """Whether queries are answered, and by which version."""
        with together(CALL_DEADLINE_S):
            self._api.ask("query", query="vector(1)")
            return f"Prometheus {self._api.version()}, answers queries"

    def check_query(self, query: Query) -> None:
        """See `MetricSource`."""
        if self._config.parse_queries:
            check(query)
        else:
            render(query)

    def value(self, query: Query, *, start: float, end: float) -> Reading:
        """The query at `end`; what it looks back on is for its own ranges to say."""
        data, warnings = self._api.ask("query", query=_rendered(query), time=f"{end:.3f}")
        match data.get("resultType"):
            case "vector":
                pairs = [(_labels(row), _number(row, "value")) for row in _rows(data)]
            case "scalar":
                pairs = [("", _pair(data.get("result"))[1])]
            case other:
                raise Rejected(SYSTEM, "no_value", clean_line(f"the query gives a {other}", 100))
        is_partial = any(not words.startswith(ABOUT_THE_QUERY) for words in warnings)
        return Reading(distinct(pairs), warnings, is_partial)

    def series(self, query: Query, *, start: float, end: float, step_s: float) -> Series:
        """See `MetricSource`."""
        step_s = max(LEAST_STEP_S, step_s, (end - start) / (MOST_POINTS - 1))
        times = {"start": f"{start:.3f}", "end": f"{end:.3f}", "step": f"{math.ceil(step_s * 1000) / 1000:.3f}"}
        data, warnings = self._api.ask("query_range", query=_rendered(query), **times)
        if data.get("resultType") != "matrix":
            raise Unavailable(SYSTEM, "bad_answer", "no matrix for a range")
        pairs = [(_labels(row), _points(row)) for row in _rows(data)]
        return Series(distinct(pairs), warnings)

    def link(self, query: Query, *, start: float, end: float) -> str | None:
        """The server's own graph; None where it would be too long for a card."""
        panel = {
            "g0.expr": _rendered(query),
            "g0.tab": "0",
            "g0.range_input": f"{max(60, math.ceil(end - start))}s",
            "g0.end_input": f"{datetime.fromtimestamp(end, UTC):%Y-%m-%d %H:%M:%S}",
        }
        url = f"{self._config.public_url or self._config.url}/graph?{urlencode(panel)}"
        return url if len(url) <= MAX_LINK else None

    def get_deployment_metrics(self, values: Mapping[str, str], *, start: float, end: float) -> DeploymentMetrics:
        """See `DeploymentMetricSource`; a query that the server refuses is a warning, and its figure is missing."""
        found: dict[Figure, float] = {}
        points: dict[Figure, Sequence[Point]] = {}
        warnings: list[str] = []
        with together(CALL_DEADLINE_S):
            for name, template in self._config.queries:
                if not template:
                    continue
                figure = Figure(name)
                try:
                    found[figure], points[figure], said = self._figure(template, values, start, end)
                    warnings += said
                except Rejected as problem:
                    warnings.append(f"{name}: {problem.detail or problem.reason}")
        known = {figure: value for figure, value in found.items() if math.isfinite(value)}
        return DeploymentMetrics(known, {figure: points[figure] for figure in known}, tuple(dict.fromkeys(warnings)))

    def _figure(
        self, template: str, values: Mapping[str, str], start: float, end: float
    ) -> tuple[float, Sequence[Point], tuple[str, ...]]:
        """Its value over the whole time, NaN without one; and how it went on, over a window that slides."""
        length_s = max(1.0, end - start)
        sliding_s = min(length_s, LONGEST_FIGURE_WINDOW_S)
        reading = self.value(_windowed(template, values, length_s), start=start, end=end)
        series = self.series(
            _windowed(template, values, sliding_s), start=start, end=end, step_s=length_s / FIGURE_POINTS
        )
        if len(reading.values) > 1:
            raise Rejected(SYSTEM, "several_series", ", ".join(sorted(reading.values)[:3]))
        value = next(iter(reading.values.values()), math.nan)
        return value, next(iter(series.points.values()), ()), (*reading.warnings, *series.warnings)


def _windowed(template: str, values: Mapping[str, str], window_s: float) -> Query:
    return Query(template, {**values, "window": f"{math.ceil(window_s)}s"})


def _rendered(query: Query) -> str:
    try:
        return render(query)
    except ValueError as problem:
        raise Rejected(SYSTEM, "bad_query", str(problem)) from None


def _rows(data: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    rows = data.get("result")
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise Unavailable(SYSTEM, "bad_answer", "no list of results")
    return rows


def _labels(row: Mapping[str, Any]) -> str:
    """`up{instance="10.0.0.1:9100", job="node"}`, as PromQL writes it."""
    metric = row.get("metric")
    labels = dict(metric) if isinstance(metric, dict) else {}
    name = str(labels.pop("__name__", ""))
    inner = ", ".join(f'{label}="{value}"' for label, value in sorted(labels.items()))
    return clean_line(f"{name}{{{inner}}}", MAX_LABELS)


def _number(row: Mapping[str, Any], name: str) -> float:
    if name not in row and "histogram" in row:
        raise Rejected(SYSTEM, "no_value", "the query gives a histogram")
    return _pair(row.get(name))[1]


def _points(row: Mapping[str, Any]) -> list[Point]:
    values = row.get("values")
    if not isinstance(values, list):
        raise Rejected(SYSTEM, "no_value", "the query gives histograms")
    return [Point(*_pair(pair)) for pair in values]


def _pair(given: object) -> tuple[float, float]:
    """`[1795255560.3, "NaN"]`: values are texts, so that they can be what JSON has no number for."""
    match given:
        case [int() | float() as at, str() as value]:
            try:
                return float(at), float(value)
            except ValueError:
                pass
    raise Unavailable(SYSTEM, "bad_answer", "no number where one belongs")


def build_metrics(_name: str, config: Config, session: requests.Session, _clock: Clock) -> Metrics:
    """The source; no call is made before it is used."""
    source = Prometheus(config, session)
    return Metrics(source, figures=source)


SPEC = MetricSpec(SYSTEM, Config, build_metrics)
