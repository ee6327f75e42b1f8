"""What people may ask about deployments without changing anything."""

from __future__ import annotations

from dataclasses import dataclass

from bot.domain.cards import Card
from bot.domain.commands import CommandLine, Verb
from bot.domain.deployment_lines import LATEST, parse_place
from bot.domain.deployments import ACTIVE, WAITING
from bot.domain.dora import DAY_S, Dora, dora_of
from bot.domain.services import Target
from bot.domain.subjects import SubjectKey
from bot.errors import CommandInvalid
from bot.ports import Clock, Store, Transaction
from bot.services.deployments.charting import Charting
from bot.services.deployments.pages import Pages
from bot.services.deployments.requests import Requests
from bot.services.deployments.standing import failed_there, good
from bot.services.deployments.versions import Versions
from bot.services.presenters.deployment_answers import Standing, deployments_card, dora_card, whats_in_card

LIST_LENGTH = 8
MOST_STANDINGS = 20
DORA_DAYS = 30
_UNDER_WAY = frozenset(WAITING | ACTIVE)


class DeploymentAnswers:
    """Answers from what is stored, and from the builds of a service."""

    def __init__(self, store: Store, clock: Clock, requests: Requests, versions: Versions, pages: Pages) -> None:
        self._store = store
        self._clock = clock
        self._requests = requests
        self._versions = versions
        self._pages = pages

    def answer(self, line: CommandLine, locale: str, timezone: str) -> Card:
        """The answer; CommandInvalid for what does not exist, IntegrationError."""
        if line.verb is Verb.WHATS_IN:
            return self._whats_in(line, locale)
        service = line.arguments[0] if line.arguments else None
        if line.verb is Verb.DORA:
            return dora_card(self.dora(service), DORA_DAYS, locale)
        return self._deployments(service, locale, timezone)

    def dora(self, service: str | None) -> list[Dora]:
        """The four figures of the last 30 days, of one service or of all."""
        if service is not None:
            self._requests.service(service)
        until = self._clock.now().timestamp()
        since = until - DORA_DAYS * DAY_S

        def work(tx: Transaction) -> list[Dora]:
            ended = tx.deployments.since(service, since)
            builds = {one.version.build for one in ended if one.version.build}
            known = {build: tx.subjects.get(SubjectKey.parse(build)) for build in builds}
            built_at = {build: record.folded.ordered_at for build, record in known.items() if record is not None}
            return dora_of(ended, built_at, since=since, until=until)

        return self._store.read(work)

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
        changes = self._versions.between(service, standing.version, newest).changes if newest else ()
        keys = tuple(dict.fromkeys(key for change in changes for key in change.issues))
        issues = self._pages.issues(keys)
        return whats_in_card(service.name, target.environment, standing.version, newest, changes, locale, issues=issues)


@dataclass(frozen=True, slots=True)
class DeploymentReading:
    """Every question about deployments."""

    answers: DeploymentAnswers
    charting: Charting
    pages: Pages

    def answer(self, line: CommandLine, place: str, locale: str, timezone: str) -> Card:
        """The answer to who asks at `place`; CommandInvalid for what does not exist, IntegrationError."""
        if line.verb is Verb.CHART:
            return self.charting.answer(line, place, locale, timezone)
        return self.answers.answer(line, locale, timezone)


def _standing(tx: Transaction, target: Target) -> Standing:
    line = (target.service, target.environment)
    last_good = next(iter(good(tx, *line)), None)
    under_way = tx.deployments.newest(*line, _UNDER_WAY, 1)
    return Standing(
        *line,
        version=last_good.version if last_good else None,
        since=last_good.ended_at if last_good else 0.0,
        failed=failed_there(tx, *line),
        under_way=under_way[0] if under_way else None,
        locks=tuple(tx.locks.over(*line)),
    )
