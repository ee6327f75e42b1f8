"""What people may ask about deployments without changing anything."""

from __future__ import annotations

from bot.domain.cards import Card
from bot.domain.commands import CommandLine, Verb
from bot.domain.deployment_lines import LATEST, parse_place
from bot.domain.deployments import ACTIVE, WAITING, DeploymentState
from bot.domain.services import Target
from bot.errors import CommandInvalid
from bot.ports import Store, Transaction
from bot.services.deployments.requests import Requests
from bot.services.deployments.versions import Versions
from bot.services.presenters.deployment_answers import Standing, deployments_card, whats_in_card

LIST_LENGTH = 8
MOST_STANDINGS = 20
_UNDER_WAY = frozenset(WAITING | ACTIVE)


class DeploymentAnswers:
    """Answers from what is stored, and from the builds of a service."""

    def __init__(self, store: Store, requests: Requests, versions: Versions) -> None:
        self._store = store
        self._requests = requests
        self._versions = versions

    def answer(self, line: CommandLine, locale: str, timezone: str) -> Card:
        """The answer; CommandInvalid for what does not exist, IntegrationError."""
        if line.verb is Verb.WHATS_IN:
            return self._whats_in(line, locale)
        return self._deployments(line.arguments[0] if line.arguments else None, locale, timezone)

    def _deployments(self, service: str | None, locale: str, timezone: str) -> Card:
        services = [self._requests.service(service)] if service else self._requests.all()
        targets = [target for one in services for target in one.targets.values()][:MOST_STANDINGS]

        def work(tx: Transaction) -> Card:
            standings = [_standing(tx, target) for target in targets]
            newest = tx.deployments.newest(service, None, None, LIST_LENGTH)
            return deployments_card(standings, newest, locale, timezone)

        return self._store.read(work)

    def _whats_in(self, line: CommandLine, locale: str) -> Card:
        asked = parse_place(line.arguments, "whats-in <service> <environment>")
        service = self._requests.service(asked.service)
        target = self._requests.target(service, asked.environment)
        standing = self._store.read(lambda tx: _standing(tx, target))
        try:
            newest = self._versions.resolve(service, LATEST)
        except CommandInvalid:  # it has no builds, or no good one
            newest = None
        changes = self._versions.between(service, standing.version, newest) if newest else ()
        return whats_in_card(service.name, target.environment, standing.version, newest, changes, locale)


def _standing(tx: Transaction, target: Target) -> Standing:
    line = (target.service, target.environment)
    good = tx.deployments.newest(*line, frozenset({DeploymentState.SUCCEEDED}), 1)
    under_way = tx.deployments.newest(*line, _UNDER_WAY, 1)
    return Standing(
        *line,
        version=good[0].version if good else None,
        since=good[0].ended_at if good else 0.0,
        under_way=under_way[0] if under_way else None,
        lock=tx.locks.over(*line),
    )
