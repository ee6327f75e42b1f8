"""What a channel wants, said in chat: a project's cards, or none of them."""

from __future__ import annotations

from bot.domain.commands import CommandLine, CommandState, Verb
from bot.domain.places import Place
from bot.domain.routing import Milestone
from bot.errors import CommandInvalid, DestinationGone
from bot.ports import CommandRecord, Store, Subscription, Transaction
from bot.services.presenters import replies
from bot.services.sources import Sources
from bot.services.steps import Step, StepLog, must_hold


class Wishes:
    """Carries out `subscribe` and `mute`."""

    def __init__(self, store: Store, log: StepLog, sources: Sources) -> None:
        self._store = store
        self._log = log
        self._sources = sources

    def step(self, record: CommandRecord, line: CommandLine, locale: str) -> Step:
        """Store the wish of a person who may; CommandInvalid for unknown milestones and projects.

        Raises IntegrationError when only a source can tell whether there is the project, and it does not. One that was
        stored and not said is only said: meanwhile somebody may have wished otherwise.
        """
        project, *words = line.arguments
        place = record.command.reply_to.place
        try:
            milestones = tuple(Milestone(word.lower()).value for word in words) or ("started", "finished")
        except ValueError:
            raise CommandInvalid("unknown_milestone", " ".join(words)) from None
        is_stored = record.command.state is CommandState.DONE
        if not is_stored and project != "*" and not self._is_known(project):
            raise CommandInvalid("unknown_project", self._sources.nearest(project))
        is_mute = line.verb is Verb.MUTE
        wish = Subscription(place, project, is_mute, milestones, locale, record.command.actor.account)
        told_by = self._log.step_ends_at()

        def work(tx: Transaction) -> None:
            tx.places.ensure([Place(place, place)])
            tx.subscriptions.put(wish, record.command.accepted_at)
            tx.audit.append(self._log.entry(record, line, f"{place} {project}", "done"))
            must_hold(tx.commands.settle(record, CommandState.DONE, {}, is_open=True, due_at=told_by))

        if not is_stored:
            self._store.write(work)
        sentence = "No more cards of {project} here." if is_mute else "Cards of {project} come here from now on."
        return Step(
            CommandState.DONE, {}, reply=replies.remark(locale, "🔕" if is_mute else "🔔", sentence, project=project)
        )

    def _is_known(self, project: str) -> bool:
        """Whether there is such a project; raises IntegrationError when only a source can tell that, and does not."""
        if self._store.read(lambda tx: tx.subjects.newest(project, 1)):
            return True
        try:
            source, name = self._sources.source_of(project)
        except CommandInvalid:
            return False
        reader = self._sources.reader(source)
        if reader is None or self._sources.is_certain(source, name):
            return True
        try:
            reader.list_builds(name, 1)
        except DestinationGone:
            return False
        return True
