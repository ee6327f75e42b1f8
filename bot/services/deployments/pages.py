"""Where the cards of deployments lead to: the issues that they name, and the page of the service."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from urllib.parse import quote

from bot.domain.cards import Code, Link
from bot.domain.deployments import Deployment
from bot.domain.services import Service
from bot.domain.templates import fill
from bot.services.deployments.judging import values_of
from bot.services.presenters.deployment import Leads, issues_undone
from bot.services.trackers import Trackers


class Pages:
    """Finds pages by what the configuration says of services and trackers."""

    def __init__(self, services: Mapping[str, Service], trackers: Trackers) -> None:
        self._services = services
        self._trackers = trackers

    def leads(self, deployment: Deployment) -> Leads:
        """What a card of it leads to."""
        come, go = self.issues(deployment.issues), self.issues(issues_undone(deployment))
        return Leads(come, self._service(deployment), go)

    def issues(self, keys: Sequence[str]) -> tuple[Link | Code, ...]:
        """Keys of issues, linked where their tracker is configured."""
        return self._trackers.links_of(keys)

    def _service(self, deployment: Deployment) -> str:
        """The service's own page; empty where none is configured. Values are escaped: they are parts of an address."""
        service = self._services.get(deployment.service)
        if service is None:
            return ""
        return fill(service.url, values_of(deployment), lambda value: quote(value, safe=""))
