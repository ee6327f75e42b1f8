"""Logs and metrics. Nothing secret passes: values of secret-looking names, and known secrets anywhere, are masked."""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Iterable, MutableMapping
from contextlib import suppress
from typing import Any, TextIO

import structlog
from prometheus_client import Counter, Gauge, Histogram

EVENTS = Counter("shipmate_events_total", "Events taken in", ["source", "outcome"])
WEBHOOKS = Counter("shipmate_webhooks_total", "Webhook requests answered", ["source", "status", "reason"])
ATTEMPTS = Counter("shipmate_attempts_total", "Attempts to show a card", ["platform", "outcome"])
DEAD_LETTERS = Counter("shipmate_dead_letters_total", "Deliveries given up", ["platform", "reason"])
COMMANDS = Counter("shipmate_commands_total", "Commands executed", ["verb", "outcome"])
ANSWERS = Counter("shipmate_answers_total", "Answers to people", ["platform", "outcome"])
UNRECORDED = Gauge("shipmate_unrecorded", "What was done and waits for the database to be recorded")
RECORDED_LATE = Counter("shipmate_recorded_late_total", "What was done and could not be recorded at once", ["outcome"])
UNREADABLE_ROWS = Counter("shipmate_unreadable_total", "Rows that made no sense and were passed over", ["table"])
JOBS = Counter("shipmate_jobs_total", "Jobs done", ["kind", "outcome"])
DEPLOYMENTS = Counter("shipmate_deployments_total", "States that deployments came to", ["state"])
TRACKER_TASKS = Counter("shipmate_tracker_tasks_total", "Work with trackers", ["tracker", "kind", "outcome"])
RECONCILED = Counter("shipmate_reconciled_total", "Builds found in a source's history", ["source"])
PRUNED = Counter("shipmate_pruned_total", "Rows dropped for their age", ["kind"])
BUDGET_WAITS = Histogram(
    "shipmate_budget_wait_seconds",
    "How long calls waited for their account's budget",
    ["scope"],
    buckets=(0.5, 1, 2, 5, 10, 30, 60, 120, 300, 600),
)
BUDGET_AVAILABLE = Gauge("shipmate_budget_available", "Calls that an account's budget has room for", ["scope"])
BUDGET_WAITING = Gauge("shipmate_budget_waiting", "Destinations that wait for an account's budget", ["scope"])
BUDGET_PAUSED = Gauge("shipmate_budget_paused_seconds", "For how long the platform asked for a pause", ["scope"])
CONNECTED = Gauge("shipmate_connected", "Whether a chat platform's stream is connected", ["platform"])

REFUSED, REFUSALS = "refused", ("400", "401", "413")
PUT_OFF, PUT_OFF_FOR = "503", ("rate_limited", "overloaded", "not_stored")

_SECRET_NAME = re.compile(
    r"secret|token|password|authorization|cookie|webhook_url|response_url|sign(ature)?$|api_?key", re.I
)
_MASK = "[redacted]"
_SHAPES = re.compile(
    r"xox[a-z]-[\w-]+|xapp-[\w-]+|gh[a-z]_[\w.-]+|glpat-[\w-]+|(?<=access_token=)[\w-]+|(?<=[?&]key=)[\w-]+"
    r"|(?<=://)[^/@\s:]+:[^/@\s]+(?=@)|(?<=hooks\.slack\.com/services/)[\w/]+|(?<=session=)[\w-]+"
)
_known: set[str] = set()


def expect_webhooks(sources: Iterable[str]) -> None:
    """Let what alarms look for begin at 0: for Prometheus a series that begins at 1 has not increased."""
    for source in sources:
        for status in REFUSALS:
            WEBHOOKS.labels(source, status, REFUSED)
        for reason in PUT_OFF_FOR:
            WEBHOOKS.labels(source, PUT_OFF, reason)


def remember_secrets(values: Iterable[str]) -> None:
    """Mask these values wherever they turn up; those shorter than six characters are left alone."""
    _known.update(value for value in values if len(value) >= 6)


def redact(words: str) -> str:
    """`words` without known secrets and without anything shaped like one."""
    for secret in _known:
        if secret in words:
            words = words.replace(secret, _MASK)
    return _SHAPES.sub(_MASK, words)


def _redact_entry(_logger: object, _method: str, entry: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    for name, value in entry.items():
        if name != "event" and _SECRET_NAME.search(name):
            entry[name] = _MASK
        elif isinstance(value, str):
            entry[name] = redact(value)
        elif isinstance(value, BaseException):
            entry[name] = redact(f"{type(value).__name__}: {value}")
    return entry


class _Lossy:
    """A stream for logs; what cannot be written (a full disk, a reader that has gone) is lost, and work goes on."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, words: str) -> int:
        """Write, or lose it."""
        with suppress(OSError):
            self._stream.write(words)
        return len(words)

    def flush(self) -> None:
        """Hand it to the system."""
        with suppress(OSError):
            self._stream.flush()


def set_up_logging(*, level: str = "INFO", as_json: bool = False) -> None:
    """Lines for people on a terminal, JSON for collectors; the standard library's loggers go the same way."""
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
        _redact_entry,
    ]
    stream: Any = _Lossy(sys.stderr)
    renderer: Any = (
        structlog.processors.JSONRenderer(ensure_ascii=False)
        if as_json
        else structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), pad_event_to=0)
    )
    structlog.configure(
        processors=[*shared, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelName(level)),
        logger_factory=structlog.PrintLoggerFactory(stream),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(stream)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(foreign_pre_chain=shared, processors=[_drop_internals, renderer])
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(max(logging.getLevelName(level), logging.WARNING))


def _drop_internals(_logger: object, _method: str, entry: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    return structlog.stdlib.ProcessorFormatter.remove_processors_meta(None, "", entry)


def logger(name: str) -> Any:  # noqa: ANN401 - structlog's bound logger has no useful static type
    """The logger of a module."""
    return structlog.get_logger(name)
