"""What services ask of systems that measure, and of the addresses that a deployed service answers at."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

from bot.domain.deployments import Deployment
from bot.domain.judging import MonitorStatus


@dataclass(frozen=True, slots=True)
class Query:
    """A query of the configuration, with the values of its `{{names}}`; the source escapes them for its language."""

    template: str
    values: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Reading:
    """One value a series, by the text of its labels; `warnings` are what the system said beside them.

    With `is_partial` some of what it would have reckoned with could not be read.
    """

    values: Mapping[str, float]
    warnings: tuple[str, ...] = ()
    is_partial: bool = False


@dataclass(frozen=True, slots=True)
class Point:
    """A value at an instant (seconds since 1970); NaN where there was none."""

    at: float
    value: float


@dataclass(frozen=True, slots=True)
class Series:
    """How values went on over time, by the text of their labels."""

    points: Mapping[str, Sequence[Point]]
    warnings: tuple[str, ...] = ()


class MetricSource(Protocol):
    """Answers queries. Calls try once, within 8 s, and raise IntegrationError; times are seconds since 1970."""

    def probe(self) -> str:
        """A line about what was found."""
        ...

    def check_query(self, query: Query) -> None:
        """Without a network: ValueError with the words of the language's parser for what cannot be a query."""
        ...

    def value(self, query: Query, *, start: float, end: float) -> Reading:
        """What the query gives for the time from `start` to `end`."""
        ...

    def series(self, query: Query, *, start: float, end: float, step_s: float) -> Series:
        """The same over time, a point each `step_s` or, where the system allows no more points, more rarely."""
        ...

    def link(self, query: Query, *, start: float, end: float) -> str | None:
        """A page for people that shows it."""
        ...


class Figure(StrEnum):
    """What is told of every deployment, whatever its checks are."""

    AVAILABILITY = "availability"  # percent
    LATENCY = "latency"  # seconds, the 95th percentile
    ERROR_RATE = "error_rate"  # a share of 1


@dataclass(frozen=True, slots=True)
class DeploymentMetrics:
    """Each figure over the time asked for; one that is not known, or not asked for, is missing."""

    values: Mapping[Figure, float]
    points: Mapping[Figure, Sequence[Point]]
    warnings: tuple[str, ...] = ()


class DeploymentMetricSource(Protocol):
    """Knows how a service did while it was deployed."""

    def get_deployment_metrics(self, values: Mapping[str, str], *, start: float, end: float) -> DeploymentMetrics:
        """The figures of a service, `values` being what its deployment is called; within 8 s in all."""
        ...


class DeploymentReports(Protocol):
    """Keeps records of deployments elsewhere. Telling twice changes nothing; calls raise IntegrationError."""

    def takes(self, environment: str) -> bool:
        """Whether deployments to an environment are wanted."""
        ...

    def report_deployment(self, deployment: Deployment) -> None:
        """One that has ended."""
        ...

    def report_failure(self, deployment: Deployment, failed_at: float, restored_at: float | None) -> None:
        """One that failed, or was rolled back by hand; told again when the environment is well again."""
        ...


@dataclass(frozen=True, slots=True)
class MonitorState:
    """How a monitor stands; `words` are the system's own, `url` its page."""

    status: MonitorStatus
    words: str
    url: str | None = None


class MonitorSource(Protocol):
    """Knows monitors. Calls try once, within 8 s, and raise IntegrationError."""

    def check_monitor(self, monitor: str) -> None:
        """Without a network: ValueError for what cannot be a monitor's id."""
        ...

    def state(self, monitor: str) -> MonitorState:
        """How it stands; DestinationGone when there is no such monitor."""
        ...


@dataclass(frozen=True, slots=True)
class Reply:
    """What an address answered: an HTTP status and the beginning of the text, or why it did not, as `problem`."""

    status: int | None = None
    text: str = ""
    problem: str = ""


class Prober(Protocol):
    """Tries addresses, once and within `timeout_s` in all. Raises IntegrationError when there was nothing to try."""

    def http(self, url: str, *, timeout_s: float) -> Reply:
        """Ask for a page; redirects are not followed."""
        ...

    def tcp(self, host: str, port: int, *, timeout_s: float) -> Reply:
        """Make a connection and close it; without `problem` when it was made."""
        ...
