"""What people may ask about deployments without changing anything."""

from __future__ import annotations

from dataclasses import dataclass, replace

from bot.domain.cards import Card
from bot.domain.commands import CommandLine, Verb
from bot.domain.deployment_effects import is_older
from bot.domain.deployment_lines import LATEST, parse_span
from bot.domain.deployments import ACTIVE, WAITING, Deployment, DeploymentState, Version
from bot.domain.dora import DAY_S, Dora, dora_of
from bot.domain.services import Service, Target
from bot.errors import CommandInvalid, Conflict
from bot.ports import Clock, Store, Transaction
from bot.services.deployments.charting import Charting
from bot.services.deployments.judging import turn_of
from bot.services.deployments.pages import Pages
from bot.services.deployments.requests import Requests
from bot.services.deployments.standing import good, good_version, wrong_there
from bot.services.deployments.versions import Versions
from bot.services.presenters.deployment_answers import (
    Compared,
    Standing,
    deployments_card,
    dora_card,
    whats_in_card,
)

LIST_LENGTH = 8
LOOKED_AT = 4  # times as many, of which some were never confirmed
MOST_STANDINGS = 20
DORA_DAYS = 30
MOST_WAITING = 100
_CONFIRMED = frozenset(DeploymentState) - {DeploymentState.REQUESTED}
_IN_LINE = WAITING & _CONFIRMED


class DeploymentAnswers:
    """Answers from what is stored, and from the builds of a service."""

    def __init__(self, store: Store, clock: Clock, requests: Requests, versions: Versions, pages: Pages) -> None:
        self._store = store
        self._clock = clock
        self._requests = requests
        self._versions = versions
        self._pages = pages

    def answer(self, line: CommandLine, locale: str, timezone: str) -> Card:
        """The answer; CommandInvalid for what does not exist, Conflict, IntegrationError."""
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
            ended = list(tx.deployments.since(service, since))
            numbers = {one.number for one in ended}
            undone = {one.rollback_of for one in ended if one.rollback_of} - numbers
            ended += tx.deployments.some(undone)
            builds = {one.version.build for one in ended if one.version.build}
            built_at = {str(record.key): record.folded.ordered_at for record in tx.subjects.some(builds)}
            return dora_of(ended, built_at, since=since, until=until)

        return self._store.read(work)

    def _deployments(self, service: str | None, locale: str, timezone: str) -> Card:
        services = [self._requests.service(service)] if service else self._requests.all()
        targets = [target for one in services for target in one.targets.values()][:MOST_STANDINGS]

        def work(tx: Transaction) -> Card:
            standings = [_standing(tx, target) for target in targets]
            newest = tx.deployments.newest(service, None, _CONFIRMED, LIST_LENGTH * LOOKED_AT)
            shown = [one for one in newest if not _is_preview(tx, one)][:LIST_LENGTH]
            return deployments_card(standings, shown, locale, timezone)

        return self._store.read(work)

    def _whats_in(self, typed: CommandLine, locale: str) -> Card:
        asked = parse_span(typed.arguments)
        service = self._requests.service(asked.service)
        if asked.new:
            compared = Compared(self._end(service, asked.old), self._end(service, asked.new))
        else:
            target = self._requests.target(service, asked.old)
            line = (service.name, target.environment)
            there, wrong = self._store.read(lambda tx: (good_version(tx, *line), tuple(wrong_there(tx, *line))))
            compared = Compared(there, self._newest(service), target.environment, wrong=wrong)
        old, new = compared.old, compared.new
        if new is not None:
            is_back = old is not None and is_older(new, old)
            first, last = (new, old) if old is not None and is_back else (old, new)
            brought = self._versions.between(service, first, last)
            if brought.is_back and not is_back and old is not None:  # an older commit that was built later
                is_back, brought = True, self._versions.between(service, new, old, by_builds=False)
            compared = replace(
                compared, changes=brought.changes, is_known=brought.is_known, aside=brought.aside, is_back=is_back
            )
        keys = tuple(dict.fromkeys(key for change in compared.changes for key in change.issues))
        return whats_in_card(service.name, compared, locale, issues=self._pages.issues(keys))

    def _end(self, service: Service, word: str) -> Version:
        """The version that a word names, or that is in the environment of that name; Conflict where there is none."""
        target = service.targets.get(word)
        if target is None:
            try:
                return self._versions.resolve(service, word, is_to_run=False)
            except CommandInvalid:  # of two words it has to be said which one
                raise Conflict(
                    "{service} has neither a version {word} that I know nor an environment of that name.",
                    service=service.name,
                    word=word,
                ) from None
        there = self._store.read(lambda tx: good_version(tx, service.name, target.environment))
        if there is None:
            raise Conflict("Nothing was deployed to {environment} yet.", environment=target.environment)
        return there

    def _newest(self, service: Service) -> Version | None:
        try:
            return self._versions.resolve(service, LATEST)
        except CommandInvalid:  # it has no builds, or no good one
            return None


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
    active = tx.deployments.newest(*line, ACTIVE, 1)
    waiting = tx.deployments.newest(*line, _IN_LINE, MOST_WAITING)
    under_way = next(iter([*active, *sorted(waiting, key=_turn)]), None)
    return Standing(
        *line,
        version=last_good.version if last_good else None,
        since=last_good.ended_at if last_good else 0.0,
        wrong=tuple(wrong_there(tx, *line)),
        under_way=under_way,
        waiting=len(waiting) if active else max(0, len(waiting) - 1),
        locks=tuple(tx.locks.over(*line)),
    )


def _turn(waiting: Deployment) -> tuple[bool, tuple[bool, bool, int]]:
    """Those that wait for their turn before those that wait for approval."""
    return waiting.state is not DeploymentState.QUEUED, turn_of(waiting)


def _is_preview(tx: Transaction, deployment: Deployment) -> bool:
    """Whether it ended without having been confirmed: no card was ever made of it."""
    return deployment.state.is_ended and not deployment.started_at and tx.subjects.get(deployment.key) is None
