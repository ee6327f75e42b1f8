"""What an integration offers to the composition root."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import requests
from pydantic import BaseModel

from bot.domain.cards import Content
from bot.domain.issues import KeyRules
from bot.ports import (
    BuildControl,
    BuildHistory,
    BuildReader,
    Clock,
    Directory,
    Messenger,
    Modals,
    Responder,
    WebhookSource,
)
from bot.ports.metrics import DeploymentMetricSource, DeploymentReports, MetricSource, MonitorSource
from bot.ports.trackers import ChangeSource, DeliveryRecords, Relations, Releases, TokenStore, Tracker


@dataclass(frozen=True, slots=True)
class Source:
    """One configured source. `probe` calls the system and says in a line what it found, or raises IntegrationError.

    `may_have` says whether a name can be one of the system's projects, where the configuration names none. A system
    that does not repeat what got lost has a `history`, out of which it is made good.
    """

    webhook: WebhookSource
    reader: BuildReader | None = None
    control: BuildControl | None = None
    projects: tuple[str, ...] = ()
    probe: Callable[[], str] | None = None
    may_have: Callable[[str], bool] | None = None
    history: BuildHistory | None = None


@dataclass(frozen=True, slots=True)
class SourceSpec:
    """How a kind of source is configured and built: `build(name, config, session, clock)`."""

    kind: str
    config: type[BaseModel]
    build: Callable[[str, Any, requests.Session, Clock], Source]


@dataclass(frozen=True, slots=True)
class Metrics:
    """One configured system that measures; `monitors`, `figures` and `reports` where it has or wants them."""

    source: MetricSource
    monitors: MonitorSource | None = None
    figures: DeploymentMetricSource | None = None
    reports: DeploymentReports | None = None


@dataclass(frozen=True, slots=True)
class MetricSpec:
    """How a kind of system that measures is configured and built: `build(name, config, session, clock)`."""

    kind: str
    config: type[BaseModel]
    build: Callable[[str, Any, requests.Session, Clock], Metrics]


@dataclass(frozen=True, slots=True)
class IssueTracker:
    """One configured tracker. `probe` as a source's; `rules` tell its keys from other words.

    `can_hear` says whether its webhooks are taken. `records` show deployments at issues, and builds if `shows_builds`.
    With `may_hide_people` it tells the address of who changed an issue only where that person lets it.
    """

    tracker: Tracker
    webhook: ChangeSource
    rules: KeyRules
    can_hear: bool
    probe: Callable[[], str]
    releases: Releases | None = None
    relations: Relations | None = None
    records: DeliveryRecords | None = None
    shows_builds: bool = False
    may_hide_people: bool = False


@dataclass(frozen=True, slots=True)
class TrackerSpec:
    """How a kind of tracker is configured and built: `build(name, config, session, clock, tokens, watches_releases)`.

    `watches_releases` asks for released versions in polls; `has_releases` says whether there is such a thing.
    """

    kind: str
    config: type[BaseModel]
    build: Callable[[str, Any, requests.Session, Clock, TokenStore, bool], IssueTracker]
    has_releases: bool


@dataclass(frozen=True, slots=True)
class Preview:
    """Content as one shape of place is sent it, and as text that can be read in a terminal."""

    shape: str
    payload: Mapping[str, Any]
    text: str


@dataclass(frozen=True, slots=True)
class Platform:
    """One configured chat platform. `default_locale` answers people in places the configuration does not name.

    `probe` calls the platform and says in a line what it found; `cautions` are settings that work but deserve a look,
    each as the setting's path and a sentence.
    """

    messenger: Messenger
    responder: Responder
    directory: Directory | None = None
    modals: Modals | None = None
    default_locale: str = "en"
    probe: Callable[[], str] | None = None
    cautions: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class PlatformSpec:
    """How a chat platform is configured and built.

    `destination` validates what stands under the platform's name in a destination (a text or a mapping);
    `address(name, destination)` gives the address (`slack:#ci`) that the messenger resolves;
    `build(config, destinations by name, session, clock)` makes the platform; `preview(content)` renders without one.
    """

    kind: str
    config: type[BaseModel]
    destination: type[BaseModel]
    address: Callable[[str, Any], str]
    build: Callable[[Any, Mapping[str, Any], requests.Session, Clock], Platform]
    preview: Callable[[Content], Sequence[Preview]]
