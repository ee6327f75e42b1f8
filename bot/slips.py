"""Names in a configuration that lead nowhere, or that stand for two things: each section for itself is in order."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from bot.complaints import instead
from bot.deployment_settings import services_of, wrong_references
from bot.domain.deployments import ASKED
from bot.errors import ConfigError
from bot.tracker_settings import wrong_triggers

if TYPE_CHECKING:
    from bot.settings import Settings

_SOURCE = re.compile(r"[A-Za-z0-9_.-]{1,40}")


def slips(settings: Settings) -> Iterator[ConfigError]:
    """All of them."""
    yield from _wrong_names(settings)
    yield from _wrong_senders(settings)
    yield from _wrong_deployments(settings)


def _wrong_names(settings: Settings) -> Iterator[ConfigError]:
    known = settings.destinations
    for index, route in enumerate(settings.routes):
        for position, name in enumerate(route.to):
            if name not in known:
                words = f"{name!r} is no destination{instead(name, known)}"
                yield ConfigError(f"routes[{index}].to[{position}]", words)
    if settings.admin and settings.admin not in known:
        yield ConfigError("admin", f"{settings.admin!r} is no destination{instead(settings.admin, known)}")
    for name, destination in known.items():
        if destination.platform not in settings.platforms and destination.platform != "dingtalk":
            yield ConfigError(f"destinations.{name}", f"there is no platforms.{destination.platform}")


def _wrong_senders(settings: Settings) -> Iterator[ConfigError]:
    """Whoever posts to /webhooks/<name> has a name of its own."""
    for section, names in (("sources", settings.sources), ("trackers", settings.trackers)):
        for name in names:
            if not _SOURCE.fullmatch(name):  # it becomes a part of addresses and of every subject's key
                words = f"is no name for a {section[:-1]}: 1 to 40 of the letters a to z and A to Z, digits, _ . -"
                yield ConfigError(f"{section}.{name}", words)
    for name in settings.trackers:
        if name in settings.sources:
            yield ConfigError(f"trackers.{name}", "is the name of a source already: choose another one")
        if name == ASKED:
            yield ConfigError(f"trackers.{name}", "is a word of its own for deployments: choose another one")


def _wrong_deployments(settings: Settings) -> Iterator[ConfigError]:
    wrong = list(references(settings))
    yield from wrong or wrong_triggers(settings.trackers, services_of(settings.services, settings.environments))


def references(settings: Settings) -> Iterator[ConfigError]:
    """What services and environments name that is not there."""
    named = (settings.services, settings.environments, tuple(settings.sources), tuple(settings.roles))
    return wrong_references(*named)
