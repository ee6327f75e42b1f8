"""From the configuration to the integrations it names, each validated by its own model; no network is used."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import requests
from pydantic import BaseModel, ValidationError

from bot.check_settings import MetricsFrame
from bot.deployment_settings import pipelines_of
from bot.domain.places import DestinationSettings
from bot.durations import OFF
from bot.errors import ConfigError
from bot.limits import SourceFrame
from bot.ports import Clock, Messenger
from bot.ports.metrics import DeploymentReports
from bot.services.verification import CheckContext, Verification
from bot.settings import Settings, config_error
from bot.telemetry import remember_secrets
from bot.tracker_settings import TrackerFrame
from integrations.probes import Probes
from integrations.registry import METRICS, PLATFORMS, SOURCES, TRACKERS
from integrations.spec import IssueTracker, Metrics, Platform, Source
from integrations.tokens import TokenShelf
from integrations.transport import open_session


@dataclass
class Outside:
    """The configured integrations."""

    configs: dict[str, Any] = field(default_factory=dict)
    platforms: dict[str, Platform] = field(default_factory=dict)
    sources: dict[str, Source] = field(default_factory=dict)
    trackers: dict[str, IssueTracker] = field(default_factory=dict)
    metrics: dict[str, Metrics] = field(default_factory=dict)
    destinations: dict[str, DestinationSettings] = field(default_factory=dict)
    tokens: TokenShelf = field(default_factory=TokenShelf)
    session: requests.Session = field(default_factory=open_session)

    def messengers(self) -> dict[str, Messenger]:
        """Who shows cards, by platform."""
        return {kind: one.messenger for kind, one in self.platforms.items()}

    def reports(self) -> dict[str, DeploymentReports]:
        """Who wants to be told of deployments, by name."""
        return {name: one.reports for name, one in self.metrics.items() if one.reports is not None}

    def verification(self) -> Verification:
        """What measures the checks of deployments."""
        return Verification(
            {name: one.source for name, one in self.metrics.items()},
            {name: one.monitors for name, one in self.metrics.items() if one.monitors is not None},
            Probes(),
            {name: one.figures for name, one in self.metrics.items() if one.figures is not None},
        )


def connect_outside(settings: Settings, clock: Clock) -> Outside:
    """Validate each section with its integration and build it; no network. ConfigError names each wrong setting."""
    outside, wrong = _connect(settings, clock)
    wrong = wrong or [*_idle_pipelines(outside, settings), *_bad_checks(outside, settings)]
    if wrong:
        raise ConfigError.together(wrong)
    return outside


def wrong_sections(settings: Settings, clock: Clock) -> list[ConfigError]:
    """What integrations cannot read of their sections; of platforms without one it is said where they are named."""
    wrong = _connect(settings, clock)[1]
    unnamed = tuple(f"platforms.{kind}" for kind in PLATFORMS if kind not in settings.platforms)
    return [one for one in wrong if not one.path.startswith(unnamed)]


def _connect(settings: Settings, clock: Clock) -> tuple[Outside, list[ConfigError]]:
    """The integrations as far as their sections are in order, and what is wrong with the others."""
    outside, wrong = Outside(), list[ConfigError]()
    remember_secrets(settings.secrets)
    sections: dict[str, Mapping[str, Any]] = dict(settings.platforms)
    for frame in settings.destinations.values():
        sections.setdefault(frame.platform, {})
    works = [partial(_connect_platform, outside, settings, kind, section, clock) for kind, section in sections.items()]
    works += [partial(_connect_source, outside, name, source, clock) for name, source in settings.sources.items()]
    works += [partial(_connect_tracker, outside, name, one, clock) for name, one in settings.trackers.items()]
    works += [partial(_connect_metrics, outside, name, one, clock) for name, one in settings.metrics.items()]
    for work in works:
        try:
            work()
        except ConfigError as problem:
            wrong += [ConfigError(path, words) for path, words in problem.each()]
    return outside, wrong


def _connect_source(outside: Outside, name: str, source: SourceFrame, clock: Clock) -> None:
    kind = source.kind
    if kind not in SOURCES:
        raise ConfigError(f"sources.{name}.kind", f"must be one of {', '.join(SOURCES)}")
    spec = SOURCES[kind]
    config = _validated(spec.config, source.section, f"sources.{name}", SourceFrame)
    outside.sources[name] = spec.build(name, config, outside.session, clock)


def _connect_metrics(outside: Outside, name: str, frame: MetricsFrame, clock: Clock) -> None:
    if frame.kind not in METRICS:
        raise ConfigError(f"metrics.{name}.kind", f"must be one of {', '.join(METRICS)}")
    spec = METRICS[frame.kind]
    config = _validated(spec.config, frame.section, f"metrics.{name}")
    outside.metrics[name] = spec.build(name, config, outside.session, clock)


def _idle_pipelines(outside: Outside, settings: Settings) -> Iterator[ConfigError]:
    """Pipelines of a source at which no run can be started, or none can be followed."""
    for service, section in settings.services.items():
        for where, pipeline in pipelines_of(section):
            source = outside.sources[pipeline.source]
            if source.control is None or source.reader is None:
                words = f"{pipeline.source!r} cannot start runs: it only tells of builds"
                yield ConfigError(f"services.{service}.{where}.source", words)


def _bad_checks(outside: Outside, settings: Settings) -> Iterator[ConfigError]:
    """Queries that cannot be asked, and checks by systems that are not configured; a version of no meaning is tried."""
    verification = outside.verification()
    for service, section in settings.services.items():
        told = set[str]()  # the same check stands in several environments
        for environment in section.environments:
            context = CheckContext(service, environment, "1.2.3", "0" * 40, "1.2.2", 0.0)
            for name, check in section.checks.items():
                refusal = verification.refusal(check.spec(name), context)
                if refusal and name not in told:
                    told.add(name)
                    yield ConfigError(f"services.{service}.checks.{name}.{refusal.setting}", refusal.words)


def _connect_tracker(outside: Outside, name: str, frame: TrackerFrame, clock: Clock) -> None:
    path = f"trackers.{name}"
    if frame.kind not in TRACKERS:
        raise ConfigError(f"{path}.kind", f"must be one of {', '.join(TRACKERS)}")
    spec = TRACKERS[frame.kind]
    watches_releases = any(trigger.versions for trigger in frame.triggers)
    if watches_releases and not spec.has_releases:
        raise ConfigError(f"{path}.triggers", f"{frame.kind} has no versions that are released")
    config = _validated(spec.config, frame.section, path, TrackerFrame)
    tracker = spec.build(name, config, outside.session, clock, outside.tokens, watches_releases)
    if frame.triggers and frame.poll == OFF and not tracker.can_hear:
        raise ConfigError(f"{path}.triggers", "nothing would be heard: let its webhooks be taken, or set poll")
    if watches_releases and not tracker.rules.projects:
        raise ConfigError(f"{path}.projects", "is missing: versions are looked for in these projects")
    outside.trackers[name] = tracker


def _connect_platform(
    outside: Outside, settings: Settings, kind: str, section: Mapping[str, Any], clock: Clock
) -> None:
    if kind not in PLATFORMS:
        raise ConfigError(f"platforms.{kind}", f"is no known platform: {', '.join(PLATFORMS)}")
    spec = PLATFORMS[kind]
    config = _validated(spec.config, section, f"platforms.{kind}")
    places = {
        name: _validated(spec.destination, frame.section, f"destinations.{name}.{kind}")
        for name, frame in settings.destinations.items()
        if frame.platform == kind
    }
    platform = spec.build(config, places, outside.session, clock)
    outside.configs[kind], outside.platforms[kind] = config, platform
    for name, place in places.items():
        frame = settings.destinations[name]
        locale = frame.locale or platform.default_locale
        hours = frame.quiet_hours.hours if frame.quiet_hours else None
        outside.destinations[name] = DestinationSettings(
            name, spec.address(name, place), locale, frame.timezone, hours, frame.progress_interval_s
        )


def _validated(model: type[BaseModel], section: object, path: str, frame: type[BaseModel] | None = None) -> Any:  # noqa: ANN401 - each integration's own
    """The section as its integration reads it; settings of the `frame` around it were taken out before."""
    try:
        return model.model_validate(section)
    except ValidationError as problem:
        raise config_error(path, problem, model, frame.model_fields if frame else ()) from None
