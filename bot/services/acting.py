"""Commands that change something outside: permission, one effect, trigger, reconcile, audit.

Each step ends in one transaction that holds the command's state, its audit entry and what the cards show. A process
that dies between triggering and recording leaves `triggered_at` behind: the next one asks the source for our run
before it triggers anything.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from bot.domain.audit import AuditEntry
from bot.domain.commands import SPECS, CommandLine, CommandState, Verb, parse_reference
from bot.domain.subjects import SubjectKey
from bot.errors import CommandInvalid, Conflict, IntegrationError, NotPermitted
from bot.ports import BuildControl, Clock, CommandRecord, Store, Transaction, Triggered
from bot.services.deployments.desk import DEPLOYMENT_VERBS, DeploymentDesk
from bot.services.following import Following
from bot.services.ingest import Ingest
from bot.services.people import People
from bot.services.presenters import replies
from bot.services.signal import Signal
from bot.services.sources import Sources
from bot.services.steps import Step, StepLog, is_in_doubt
from bot.services.wishes import Wishes


@dataclass(frozen=True, slots=True)
class Aim:
    """What a command acts on: a project, and a build of it where the verb names one.

    `generation` and `attempt` are those that the build's card tells of, None when nothing was heard of it; `asked` is
    the attempt that was named.
    """

    source: str
    project: str
    key: SubjectKey | None
    effect: str
    generation: int | None = None
    attempt: int | None = None
    asked: int | None = None

    @property
    def target(self) -> str:
        """The aim's text in the audit trail."""
        return str(self.key) if self.key else f"{self.source}/{self.project}"


class Acting:
    """Executes changing commands, a step at a time."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        sources: Sources,
        people: People,
        ingest: Ingest,
        signal: Signal,
        *,
        desk: DeploymentDesk,
    ) -> None:
        self._desk = desk
        self._store = store
        self._sources = sources
        self._people = people
        self._log = StepLog(store, clock)
        self._following = Following(store, self._log, sources, ingest, signal)
        self._wishes = Wishes(store, self._log, sources)

    def step(self, record: CommandRecord, line: CommandLine, locale: str) -> Step:
        """The next step; raises NotPermitted, CommandInvalid, Conflict or IntegrationError, each audited."""
        if line.verb in DEPLOYMENT_VERBS:
            return self._desk.step(record, line, locale)
        if line.verb in (Verb.SUBSCRIBE, Verb.MUTE):
            if record.command.state is not CommandState.DONE:  # else it was done, and only not said
                self._permit(record, line, line.arguments[0], f"{record.command.reply_to.place} {line.arguments[0]}")
            return self._wishes.step(record, line, locale)
        if "request" in record.result:
            return self._following.step(record, line, locale)
        if "cancelled" in record.result:  # only not said
            return _cancelled(record.result, locale)
        aim = self._aim(record, line)
        self._permit(record, line, aim.project, aim.target)
        now = self._log.now()

        def begin(tx: Transaction) -> CommandRecord | None:
            other = tx.commands.claim_effect(record, aim.effect, now)
            outcome = "started" if other is None else f"duplicate:{other.command.id}"
            tx.audit.append(self._log.entry(record, line, aim.target, outcome))
            return other

        other = self._store.write(begin)
        if other is not None:
            return _already(other, locale)
        return self._trigger(record, line, aim, locale)

    def give_up(self, record: CommandRecord, state: CommandState, reason: str, line: CommandLine | None = None) -> None:
        """End a command that comes to no end by itself, on the record; without a line, in the words typed."""
        command = record.command
        verb, _, target = (str(line) if line else command.typed.strip()).partition(" ")
        outcome = f"{state}:{reason}"[:80]
        entry = AuditEntry(
            self._log.now(), command.actor.account, verb[:40], target[:400], outcome, command.via, command.id
        )

        self._log.end(record, entry, state, frees_effect=True)

    # --- permission and aim

    def _permit(self, record: CommandRecord, line: CommandLine, project: str, target: str) -> None:
        decision = self._people.decide(record.command.actor, SPECS[line.verb].permission, project)
        if not decision.is_allowed:
            entry = self._log.entry(record, line, target, f"refused:{decision.reason}")
            self._store.write(lambda tx: tx.audit.append(entry))
            raise NotPermitted(decision.reason)

    def _aim(self, record: CommandRecord, line: CommandLine) -> Aim:
        if line.verb is Verb.RUN:
            source, project = self._sources.source_of(line.arguments[0])
            _parameters(line.arguments[1:])
            return Aim(source, project, None, f"run:{record.command.id}")
        reference = parse_reference(line.arguments[0])

        def work(tx: Transaction) -> Aim:
            key = self._sources.locate(tx, reference)
            known = tx.subjects.get(key)
            generation, attempt = (known.folded.generation, known.folded.attempt) if known else (None, None)
            effect = f"{line.verb}:{key}@{generation or 0}.{reference.attempt or attempt or 1}"
            return Aim(key.source, key.project, key, effect, generation, attempt, reference.attempt)

        return self._store.read(work)

    def _control(self, source: str) -> BuildControl:
        control = self._sources.control(source)
        if control is None:
            raise Conflict("This source only tells me things; I cannot act on it.")
        return control

    # --- triggering

    def _trigger(self, record: CommandRecord, line: CommandLine, aim: Aim, locale: str) -> Step:
        control = self._control_or_free(record, line, aim)
        try:
            self._check_build(aim, is_first=record.triggered_at is None)
            if line.verb is Verb.CANCEL and aim.key is not None:
                return self._cancel(record, line, control, aim.key, locale)
            triggered = self._trigger_once(record, line, control, aim)
        except Conflict as problem:
            self._fail(record, line, aim, f"conflict:{problem}")
            raise
        except IntegrationError as problem:
            if not problem.recoverable:
                state = CommandState.IN_DOUBT if is_in_doubt(record, problem) else CommandState.FAILED
                self._fail(record, line, aim, f"{state}:{problem.reason}", state)
            raise
        result = {
            "request": triggered.request,
            "source": aim.source,
            "project": aim.project,
            "asked_at": self._log.now(),
            "by": record.command.actor.name,
        }
        if aim.key is not None:
            result["of"] = str(aim.key)
        if triggered.build is not None:
            result["build"] = str(triggered.build)
        self._log.hold(record, result, due_at=self._log.step_ends_at())
        return self._following.step(replace(record, result=result), line, locale, triggered)

    def _control_or_free(self, record: CommandRecord, line: CommandLine, aim: Aim) -> BuildControl:
        try:
            return self._control(aim.source)
        except Conflict:
            self._fail(record, line, aim, "conflict:read_only")
            raise

    def _fail(
        self,
        record: CommandRecord,
        line: CommandLine,
        aim: Aim,
        outcome: str,
        state: CommandState = CommandState.FAILED,
    ) -> None:
        entry = self._log.entry(record, line, aim.target, outcome)
        self._log.end(record, entry, state, frees_effect=True)

    def _check_build(self, aim: Aim, *, is_first: bool) -> None:
        """Refuse to act on another build, that has the number since the CI's database was reset, or another attempt."""
        reader = self._sources.reader(aim.source)
        attempt = aim.attempt
        if aim.key is not None and reader is not None:
            build = reader.fetch(aim.key, with_log=False)
            attempt = attempt or build.attempt
            if aim.generation not in (None, build.generation):
                raise Conflict(
                    "This build no longer exists: the CI's database was reset, its number is another build's now."
                )
        if is_first and aim.asked not in (None, attempt or 1):
            raise Conflict("That is not the newest attempt of this build. Its card shows that one.")

    def _trigger_once(self, record: CommandRecord, line: CommandLine, control: BuildControl, aim: Aim) -> Triggered:
        correlation, asked_by = record.command.id, record.command.actor.name
        if record.triggered_at is not None:  # an earlier try may have done it
            since = datetime.fromtimestamp(record.triggered_at, UTC)
            found = control.find_run(aim.project, correlation=correlation, since=since, retried=aim.key)
            if found is not None:
                return found
        if aim.key is not None:
            return control.retry(aim.key, correlation=correlation, asked_by=asked_by)
        parameters = _parameters(line.arguments[1:])
        return control.run(aim.project, parameters, correlation=correlation, asked_by=asked_by)

    def _cancel(
        self, record: CommandRecord, line: CommandLine, control: BuildControl, key: SubjectKey, locale: str
    ) -> Step:
        was_running = control.cancel(key, asked_by=record.command.actor.name)
        result: dict[str, object] = {"cancelled": str(key), "was_running": was_running}
        entry = self._log.entry(record, line, str(key), "done" if was_running else "already_ended")
        self._log.done(record, entry, result)
        return _cancelled(result, locale)


def _cancelled(result: Mapping[str, object], locale: str) -> Step:
    sentence = "{build} is being cancelled." if result["was_running"] else "{build} had ended already."
    build = SubjectKey.parse(str(result["cancelled"])).short
    return Step(CommandState.DONE, result, reply=replies.remark(locale, "🚫", sentence, build=build))


def _already(other: CommandRecord, locale: str) -> Step:
    result: dict[str, object] = {"duplicate_of": other.command.id}
    run = other.result.get("build")
    short = SubjectKey.parse(str(run)).short if run else None
    actor = other.command.actor
    name = str(other.result.get("by") or actor.name)
    return Step(CommandState.DONE, result, reply=replies.already(locale, name, actor.account, short))


def _parameters(words: tuple[str, ...]) -> dict[str, str]:
    parameters = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not equals or not name:
            raise CommandInvalid("bad_parameter", word)
        parameters[name] = value
    return parameters
