"""Commands that only look: each gives the card that answers it."""

from __future__ import annotations

from dataclasses import replace

from bot.domain.builds import Build
from bot.domain.cards import Card, Content, Paragraph, text
from bot.domain.commands import Command, CommandLine, Reference, Verb, parse_reference
from bot.domain.deployments import Deployment
from bot.domain.places import DestinationSettings, Place
from bot.domain.subjects import SubjectKey
from bot.errors import CommandInvalid, DestinationGone, IntegrationError, NotPermitted
from bot.i18n import translate
from bot.ports import Clock, Store, Transaction
from bot.services.deployments.answers import DeploymentReading
from bot.services.explaining import card_id_of, deployment_named, explain, explain_delivery, means_deployment
from bot.services.heard import readable_builds
from bot.services.ingest import Ingest
from bot.services.people import People
from bot.services.presenters import replies
from bot.services.presenters.build import build_card, details_card
from bot.services.presenters.deployment import deployment_card
from bot.services.presenters.deployment_words import twin_of
from bot.services.presenters.explain import Explanation, explain_card
from bot.services.presenters.help import help_card
from bot.services.presenters.issue import issue_card
from bot.services.router import Router
from bot.services.sources import Sources
from bot.services.trackers import Trackers

LIST_LENGTH = 8
LOG_LINES = 40
WELCOME = "welcome"


class Reading:
    """Answers without changing anything but what is known."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        router: Router,
        sources: Sources,
        people: People,
        ingest: Ingest,
        *,
        deployments: DeploymentReading,
        trackers: Trackers,
    ) -> None:
        self._trackers = trackers
        self._deployments = deployments
        self._store = store
        self._clock = clock
        self._router = router
        self._sources = sources
        self._people = people
        self._ingest = ingest

    def answer(self, command: Command, line: CommandLine, locale: str, prefix: str) -> Content:
        """The answer; NotPermitted for outsiders, CommandInvalid for what does not exist, IntegrationError."""
        decision = self._people.decide(command.actor, "")
        if not decision.is_allowed:
            raise NotPermitted(decision.reason)
        match line.verb:
            case Verb.STATUS | Verb.BUILDS:
                return self._builds(command, line, locale)
            case Verb.SHOW:
                return self.details(line, locale, self._timezone(command))
            case Verb.LOG:
                return self._log(line, locale)
            case Verb.EXPLAIN:
                return self._explain(line, locale, self._timezone(command))
            case Verb.WHOAMI:
                return self._whoami(command, locale)
            case Verb.DEPLOYMENTS | Verb.WHATS_IN | Verb.DORA | Verb.CHART:
                return self._deployments.answer(line, command.reply_to.place, locale, self._timezone(command))
            case Verb.ISSUE:
                return self._issue(line, locale, self._timezone(command))
            case Verb.HERE:
                return self._here(command, locale)
            case _:
                words = " ".join(line.arguments)
                return help_card(locale, prefix, about=words, is_welcome=words == WELCOME)

    def loading(self, line: CommandLine, locale: str) -> Card:
        """What is known of a build at once, for a window that is opened before its source is asked; no network."""
        reference = parse_reference(line.arguments[0])
        if means_deployment(reference):
            return self.details(line, locale, "UTC")
        key = self._store.read(lambda tx: self._sources.locate(tx, reference))
        record = self._store.read(lambda tx: tx.subjects.get(key))
        note = translate(locale, "Loading …")
        if record is None:
            return replies.builds_card(key.short, [], locale, "UTC", note)
        card = build_card(record.build(), locale, "UTC")
        return Card(card.tone, card.title, emoji=card.emoji, footer=text(note), locale=locale)

    def details(self, line: CommandLine, locale: str, timezone: str) -> Card:
        """Stages, failed tests and the log of a build, as fresh as its source can tell; the card of a deployment."""
        reference = parse_reference(line.arguments[0])
        named, twin = self._store.read(lambda tx: (self._named(tx, reference), _twin(tx, reference)))
        if isinstance(named, Deployment):
            return deployment_card(named, locale, timezone, self._deployments.pages.leads(named))
        return _beside(self._build_details(named, locale, timezone), twin, Verb.SHOW, locale)

    def _build_details(self, key: SubjectKey, locale: str, timezone: str) -> Card:
        reader = self._sources.reader(key.source)
        known = self._store.read(lambda tx: tx.subjects.get(key))
        if reader is None:
            if known is None:
                raise CommandInvalid("unknown_build", key.short)
            return self._details(known.build(), known.build().facts.log_excerpt or "", locale, timezone)
        try:
            event = reader.fetch(key, with_log=True)
            excerpt = event.facts.log_excerpt or reader.read_log(key, max_lines=LOG_LINES)
        except DestinationGone:
            if known is None:
                raise CommandInvalid("unknown_build", key.short) from None
            return self._details(known.build(), known.build().facts.log_excerpt or "", locale, timezone)
        if known is not None:
            self._ingest.accept([event])
            known = self._store.read(lambda tx: tx.subjects.get(key))
        build = known.build() if known else Build(key, event.attempt, event.phase, event.facts)
        return self._details(build, excerpt, locale, timezone)

    def _builds(self, command: Command, line: CommandLine, locale: str) -> Card:
        project = line.arguments[0] if line.arguments else None
        timezone = self._timezone(command)
        note = ""
        if line.verb is Verb.BUILDS and project is not None:
            source, name = self._source_of(project)
            reader = self._sources.reader(source) if source else None
            if reader is not None:
                try:
                    title = translate(locale, "Newest builds of {project}", project=name)
                    return replies.builds_card(title, reader.list_builds(name, LIST_LENGTH), locale, timezone)
                except IntegrationError as problem:
                    if not problem.recoverable:
                        raise
                    note = translate(locale, "{system} cannot be reached: this is what I heard last.", system=source)
            project = name
        elif project is not None:
            _, project = self._source_of(project)
        builds = readable_builds(self._store.read(lambda tx: tx.subjects.newest(project, LIST_LENGTH)))
        title = translate(locale, "How things stand") if project is None else f"{project}"
        return replies.builds_card(title, builds, locale, timezone, note)

    def _source_of(self, project: str) -> tuple[str, str]:
        """Source and project; a project known from events alone is that of its events."""
        known = self._store.read(lambda tx: tx.subjects.newest(project, 1))
        try:
            source, name = self._sources.source_of(project)
        except CommandInvalid:
            if known:
                return "", project
            raise
        if known and not self._sources.is_certain(source, name):
            return known[0].key.source, project
        return source, name

    def _log(self, line: CommandLine, locale: str) -> Card:
        reference = parse_reference(line.arguments[0])
        key = self._store.read(lambda tx: self._sources.locate(tx, reference))
        reader = self._sources.reader(key.source)
        if reader is None:
            record = self._store.read(lambda tx: tx.subjects.get(key))
            return replies.log_card(key.short, (record.build().facts.log_excerpt or "") if record else "", locale)
        return replies.log_card(key.short, reader.read_log(key, max_lines=LOG_LINES), locale)

    def _explain(self, line: CommandLine, locale: str, timezone: str) -> Card:
        card_id = card_id_of(line.arguments[0])

        def work(tx: Transaction) -> tuple[Explanation, Deployment | None]:
            if card_id is not None:
                return explain_delivery(tx, self._router, card_id), None
            reference = parse_reference(line.arguments[0])
            named = self._named(tx, reference, is_heard=True)
            if isinstance(named, Deployment):
                return explain(tx, self._router, named.key), None
            return explain(tx, self._router, named), _twin(tx, reference)

        story, twin = self._store.read(work)
        card = explain_card(story, self._clock.now().timestamp(), locale, timezone)
        return _beside(card, twin, Verb.EXPLAIN, locale)

    def _named(self, tx: Transaction, reference: Reference, *, is_heard: bool = False) -> SubjectKey | Deployment:
        """The build that a person means, or the deployment where it says so or there is no such build.

        `is_heard`: what only its source may know is no build.
        """
        deployment = deployment_named(tx, reference)
        if means_deployment(reference):
            if deployment is None:
                raise CommandInvalid("unknown_deployment", f"{reference.project}#{reference.number}")
            return deployment
        try:
            key = self._sources.locate(tx, reference)
        except CommandInvalid:
            if deployment is None:
                raise
            return deployment
        if deployment is not None and is_heard and tx.subjects.get(key) is None:
            return deployment
        return key

    def _details(self, build: Build, log: str, locale: str, timezone: str) -> Card:
        issues = self._trackers.links_in(build.facts.branch, build.facts.commit_title)
        return details_card(build, log, locale, timezone, issues)

    def _issue(self, line: CommandLine, locale: str, timezone: str) -> Card:
        name, key = self._trackers.locate(line.arguments[0])
        return issue_card(self._trackers.tracker(name).issue(key), locale, timezone)

    def _whoami(self, command: Command, locale: str) -> Card:
        actor = command.actor

        def others(tx: Transaction) -> dict[str, str]:
            accounts = sorted(tx.accounts.joined(actor.account) - {actor.account})
            names = tx.accounts.names(accounts)
            return {account: names.get(account, "") for account in accounts}

        return replies.whoami_card(actor, self._people.roles_of(actor), self._store.read(others), locale)

    def _here(self, command: Command, locale: str) -> Card:
        place = command.reply_to.place
        self._store.write(lambda tx: tx.places.ensure([Place(place, place)]))
        settings = self._store.read(lambda tx: self._router.settings_of(tx, place))
        return replies.here_card(place, settings.name if settings else None, locale)

    def settings_of(self, place: str) -> DestinationSettings | None:
        """The language and zone of a place that the configuration names."""
        return self._store.read(lambda tx: self._router.settings_of(tx, place))

    def _timezone(self, command: Command) -> str:
        settings = self.settings_of(command.reply_to.place)
        return settings.timezone if settings else "UTC"


def _twin(tx: Transaction, reference: Reference) -> Deployment | None:
    """The deployment of the number that a person gave who did not say whether a build or a deployment is meant."""
    is_open = reference.kind is None and reference.source is None
    return deployment_named(tx, reference) if is_open else None


def _beside(card: Card, twin: Deployment | None, verb: Verb, locale: str) -> Card:
    """The card of a build, and a word about the deployment of the same number."""
    if twin is None:
        return card
    return replace(card, sections=(Paragraph(twin_of(twin, verb, locale)), *card.sections))
