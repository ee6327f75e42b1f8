"""Measures what the checks of a deployment ask for, and asks beforehand whether it could be measured at all."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from time import monotonic
from urllib.parse import quote

from bot.complaints import instead
from bot.domain.checks import CheckKind, CheckSpec, Measurement, Reason, Verdict
from bot.domain.judging import Outcome, judge, judge_monitor, judge_reply
from bot.domain.templates import deployment_values, fill
from bot.errors import IntegrationError
from bot.ports.metrics import (
    DeploymentMetricSource,
    Figure,
    MetricSource,
    MonitorSource,
    Prober,
    Query,
    Reading,
    Reply,
    Series,
)
from bot.telemetry import logger

MOST_AT_ONCE = 24
PROBE_S = 20.0  # well below a lease, with what else a step asks
MAX_DETAIL = 300
MAX_WARNINGS = 3
CHART_POINTS = 240
LONGEST_PAUSE_S = 300.0

log = logger(__name__)


@dataclass(frozen=True, slots=True)
class CheckContext:
    """What is verified; times are seconds since 1970.

    Since `there_since`, when its run had gone well, the new version is there; until `well_until` nothing was wrong with
    the one before. Both are 0 before its deployment began, at `started_at`.
    """

    service: str
    environment: str
    version: str
    commit: str
    previous_version: str
    started_at: float
    there_since: float = 0.0
    well_until: float = 0.0

    @property
    def values(self) -> dict[str, str]:
        """The values of `{{names}}`."""
        return deployment_values(self.service, self.environment, self.version, self.commit, self.previous_version)


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a check can never be measured as it is configured: which of its settings, and what is wrong with it."""

    setting: str
    words: str


@dataclass
class Verification:
    """Looks at services through the configured systems."""

    sources: Mapping[str, MetricSource] = field(default_factory=dict)
    monitors: Mapping[str, MonitorSource] = field(default_factory=dict)
    prober: Prober | None = None
    figured: Mapping[str, DeploymentMetricSource] = field(default_factory=dict)

    def measure(self, spec: CheckSpec, context: CheckContext, now: float) -> Measurement:
        """One look at what a check is about, begun at `now`. Never raises: what cannot be asked is an error."""
        began = monotonic()
        warnings: tuple[str, ...] = ()
        pause_s = 0.0
        try:
            outcome, warnings = self._look(spec, context, now)
        except IntegrationError as problem:
            outcome = Outcome(Verdict.ERROR, Reason.UNASKED, detail=_words_of(problem))
            pause_s = min(problem.retry_after_s or 0.0, LONGEST_PAUSE_S)
        except Exception as problem:  # a deployment step: a fault of ours is no verdict on the service
            log.exception("check not measured", check=spec.name, service=context.service)
            outcome = Outcome(Verdict.ERROR, Reason.UNASKED, detail=type(problem).__name__)
        return Measurement(
            now,
            outcome.verdict,
            outcome.value,
            outcome.detail[:MAX_DETAIL],
            tuple(warning[:MAX_DETAIL] for warning in warnings[:MAX_WARNINGS]),
            outcome.reason,
            monotonic() - began,
            pause_s,
        )

    def measure_all(self, specs: Sequence[CheckSpec], context: CheckContext, now: float) -> Sequence[Measurement]:
        """A look for each check, side by side: one that waits for its time-out delays no other."""
        if len(specs) < 2:
            return [self.measure(spec, context, now) for spec in specs]
        with ThreadPoolExecutor(min(len(specs), MOST_AT_ONCE), thread_name_prefix="check") as pool:
            return list(pool.map(lambda spec: self.measure(spec, context, now), specs))

    def probe(self, specs: Sequence[CheckSpec], context: CheckContext) -> Sequence[str]:
        """What keeps these checks from being measured, a line each; systems are asked once, however many use them.

        They are asked side by side, and have `PROBE_S` for their answers: a step under a lease waits for them.
        """
        problems = [f"{spec.name}: {refused.words}" for spec in specs if (refused := self.refusal(spec, context))]
        if problems:
            return problems
        measured = {spec.source: self.sources[spec.source] for spec in specs if spec.kind in _METRICS}
        asks: list[tuple[str, Callable[[], object]]] = [(name, source.probe) for name, source in measured.items()]
        asks += [
            (spec.name, partial(self.monitors[spec.source].state, _filled(spec.query, context)))
            for spec in specs
            if spec.kind is CheckKind.MONITOR
        ]
        return _all_tried(asks, PROBE_S) if asks else []

    def refusal(self, spec: CheckSpec, context: CheckContext) -> Refusal | None:
        """Without a network: why a check can never be measured as it is configured, or None."""
        setting = "monitor" if spec.kind is CheckKind.MONITOR else "query"
        try:
            match spec.kind:
                case CheckKind.METRIC | CheckKind.COMPARE if spec.source not in self.sources:
                    return Refusal("source", f"{spec.source!r} is none of metrics{instead(spec.source, self.sources)}")
                case CheckKind.METRIC | CheckKind.COMPARE:
                    self.sources[spec.source].check_query(_query(spec, context, spec.window_s))
                case CheckKind.MONITOR if spec.source not in self.monitors:
                    return Refusal(
                        "source",
                        f"{spec.source!r} is none of metrics, or has no monitors{instead(spec.source, self.monitors)}",
                    )
                case CheckKind.MONITOR:
                    self.monitors[spec.source].check_monitor(_filled(spec.query, context))
                case CheckKind.HTTP | CheckKind.TCP:
                    pass
        except ValueError as problem:
            return Refusal(setting, str(problem))
        return None

    def history(self, spec: CheckSpec, context: CheckContext, *, start: float, end: float) -> Series:
        """How the value of a metric check went on, for a chart; raises IntegrationError."""
        step_s = max(1.0, (end - start) / CHART_POINTS)
        query = _query(spec, context, spec.window_s)
        return self.sources[spec.source].series(query, start=start, end=end, step_s=step_s)

    def figures(
        self, specs: Sequence[CheckSpec], context: CheckContext, *, start: float, end: float
    ) -> Mapping[Figure, float]:
        """How the service did, as far as the systems that these checks ask can tell; the first that knows counts."""
        found: dict[Figure, float] = {}
        for name in dict.fromkeys(spec.source for spec in specs if spec.source in self.figured):
            try:
                told = self.figured[name].get_deployment_metrics(context.values, start=start, end=end)
            except IntegrationError as problem:
                log.info("figures not told", service=context.service, source=name, error=problem)
                continue
            for figure in Figure:
                if figure in told.values:
                    found.setdefault(figure, told.values[figure])
        return found

    def link(self, spec: CheckSpec, context: CheckContext, *, start: float, end: float) -> str | None:
        """A page for people that shows what a check looks at, without asking anybody."""
        if spec.kind in _METRICS and spec.source in self.sources:
            query = _query(spec, context, spec.window_s)
            with suppress(IntegrationError):  # a value that its query cannot hold: the measurement says so
                return self.sources[spec.source].link(query, start=start, end=end)
            return None
        return _address(spec, context) if spec.kind is CheckKind.HTTP else None

    def _look(self, spec: CheckSpec, context: CheckContext, now: float) -> tuple[Outcome, tuple[str, ...]]:
        match spec.kind:
            case CheckKind.METRIC | CheckKind.COMPARE:
                return self._look_at_value(spec, context, now)
            case CheckKind.MONITOR:
                state = self.monitors[spec.source].state(_filled(spec.query, context))
                return judge_monitor(spec, state.status, state.words), ()
            case CheckKind.HTTP | CheckKind.TCP:
                return self._look_at_address(spec, context), ()

    def _look_at_value(self, spec: CheckSpec, context: CheckContext, now: float) -> tuple[Outcome, tuple[str, ...]]:
        """The value of the time since the new version is there: what ran before it, or beside it, is none of it."""
        source = self.sources[spec.source]
        window_s = min(spec.window_s, max(spec.settles_s, now - context.there_since))
        reading = source.value(_query(spec, context, window_s), start=now - window_s, end=now)
        if spec.kind is CheckKind.METRIC:
            return _whole(judge(spec, reading.values), reading, (Verdict.PASSED,)), reading.warnings
        before, earlier_s = context.well_until or context.started_at, spec.baseline_window_s
        before = min(before, context.there_since or before)  # it may count as begun later, after a clock was set back
        baseline = source.value(_query(spec, context, earlier_s), start=before - earlier_s, end=before)
        outcome = _whole(judge(spec, reading.values, baseline.values), reading, (Verdict.PASSED,))
        outcome = _whole(outcome, baseline, (Verdict.PASSED, Verdict.FAILED))
        return outcome, (*reading.warnings, *baseline.warnings)

    def _look_at_address(self, spec: CheckSpec, context: CheckContext) -> Outcome:
        """The first try that passes, else the last one."""
        outcome = self._try_address(spec, context)
        for _ in range(spec.retries):
            if outcome.verdict is Verdict.PASSED:
                break
            outcome = self._try_address(spec, context)
        return outcome

    def _try_address(self, spec: CheckSpec, context: CheckContext) -> Outcome:
        assert self.prober is not None
        if spec.kind is CheckKind.HTTP:
            reply = self.prober.http(_address(spec, context), timeout_s=spec.timeout_s)
        else:
            reply = self.prober.tcp(_filled(spec.host, context), spec.port, timeout_s=spec.timeout_s)
        return _judge_reply(spec, context, reply)


_METRICS = (CheckKind.METRIC, CheckKind.COMPARE)


def _whole(outcome: Outcome, reading: Reading, needing: Sequence[Verdict]) -> Outcome:
    """The outcome, or an error where it is one of those `needing` a whole answer: what was not read may decide it."""
    if outcome.verdict in needing and reading.is_partial:
        return replace(outcome, verdict=Verdict.ERROR, reason=Reason.PARTIAL)
    return outcome


def _judge_reply(spec: CheckSpec, context: CheckContext, reply: Reply) -> Outcome:
    if reply.problem:
        return Outcome(Verdict.FAILED, Reason.NO_ANSWER, detail=reply.problem)
    if spec.kind is CheckKind.TCP or reply.status is None:
        return Outcome(Verdict.PASSED, Reason.WITHIN)
    return judge_reply(spec, reply.status, reply.text, _filled(spec.contains, context))


def _query(spec: CheckSpec, context: CheckContext, window_s: float) -> Query:
    return Query(spec.query, {**context.values, "window": f"{max(1, round(window_s))}s"})


def _filled(template: str, context: CheckContext) -> str:
    return fill(template, context.values)


def _address(spec: CheckSpec, context: CheckContext) -> str:
    """A version such as `1.0/../admin` stays one part of the address."""
    return fill(spec.url, context.values, lambda value: quote(value, safe=""))


def _words_of(problem: IntegrationError) -> str:
    return f"{problem.system}: {problem.reason}" + (f" ({problem.detail})" if problem.detail else "")


def _all_tried(asks: Sequence[tuple[str, Callable[[], object]]], within_s: float) -> list[str]:
    """A line for each that refused or did not answer in time; who is late is not waited for."""
    pool = ThreadPoolExecutor(min(len(asks), MOST_AT_ONCE), thread_name_prefix="probe")
    tries = [(name, pool.submit(ask)) for name, ask in asks]
    wait([one for _, one in tries], within_s)
    pool.shutdown(wait=False, cancel_futures=True)
    problems = []
    for name, one in tries:
        if not one.done() or one.cancelled():
            problems.append(f"{name}: no answer within {within_s:g} s")
        elif isinstance(problem := one.exception(), IntegrationError):
            problems.append(f"{name}: {_words_of(problem)}")
        else:
            one.result()
    return problems
