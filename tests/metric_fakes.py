"""Fakes of the systems that measure: what they answer is set by the test, what they were asked is kept."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from bot.domain.judging import MonitorStatus
from bot.domain.templates import fill
from bot.errors import DestinationGone, IntegrationError
from bot.ports.metrics import MonitorState, Point, Query, Reading, Reply, Series


@dataclass
class FakeMetricSource:
    """Answers each query with `answers[text of the query]`, an answer or an error, or with `otherwise`.

    `partly` are texts whose answers are partial. `asked` are (text, start, end).
    """

    answers: dict[str, Mapping[str, float] | Exception] = field(default_factory=dict)
    otherwise: Mapping[str, float] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    is_partial: bool = False
    partly: set[str] = field(default_factory=set)
    down: IntegrationError | None = None
    asked: list[tuple[str, float, float]] = field(default_factory=list)
    probes: int = 0

    def probe(self) -> str:
        """See `MetricSource`."""
        self.probes += 1
        if self.down:
            raise self.down
        return "a fake"

    def check_query(self, query: Query) -> None:
        """Parentheses must be closed."""
        if query.template.count("(") != query.template.count(")"):
            raise ValueError("unclosed left parenthesis")

    def value(self, query: Query, *, start: float, end: float) -> Reading:
        """See `MetricSource`."""
        text = fill(query.template, query.values)
        self.asked.append((text, start, end))
        answer = self.down or self.answers.get(text, self.otherwise)
        if isinstance(answer, Exception):
            raise answer
        return Reading(answer, self.warnings, self.is_partial or text in self.partly)

    def series(self, query: Query, *, start: float, end: float, step_s: float) -> Series:
        """Each value, unchanged over the whole time."""
        reading = self.value(query, start=start, end=end)
        times = [start + step_s * step for step in range(int((end - start) // step_s) + 1)]
        return Series({labels: [Point(at, value) for at in times] for labels, value in reading.values.items()})

    def link(self, query: Query, *, start: float, end: float) -> str | None:
        """See `MetricSource`."""
        return f"https://metrics.example.com/?q={fill(query.template, query.values)}&from={start:g}&to={end:g}"


@dataclass
class FakeMonitorSource:
    """Monitors by id; each is told after `before_telling`."""

    states: dict[str, MonitorStatus] = field(default_factory=dict)
    before_telling: Callable[[], object] = lambda: None

    def check_monitor(self, monitor: str) -> None:
        """Ids are numbers."""
        if not monitor.isdigit():
            raise ValueError(f"{monitor!r} is no monitor's id")

    def state(self, monitor: str) -> MonitorState:
        """See `MonitorSource`."""
        self.before_telling()
        if monitor not in self.states:
            raise DestinationGone("fake", "no_such_monitor")
        return MonitorState(self.states[monitor], f"monitor {monitor}")


@dataclass
class FakeProber:
    """Answers with `replies` in turn, the last one again and again; `gate` holds every try back until it is set."""

    replies: Sequence[Reply] = (Reply(200, "ok"),)
    asked: list[str] = field(default_factory=list)
    gate: threading.Event | None = None

    def http(self, url: str, *, timeout_s: float) -> Reply:
        """See `Prober`."""
        return self._reply(f"{url} within {timeout_s:g}")

    def tcp(self, host: str, port: int, *, timeout_s: float) -> Reply:
        """See `Prober`."""
        return self._reply(f"{host}:{port} within {timeout_s:g}")

    def _reply(self, what: str) -> Reply:
        self.asked.append(what)
        if self.gate is not None:
            assert self.gate.wait(30), "held back for 30 s"
        return self.replies[min(len(self.asked), len(self.replies)) - 1]
