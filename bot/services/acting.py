"""Commands that change something outside: permission, one effect, trigger, reconcile, audit.

Each step ends in one transaction that holds the command's state, its audit entry and what the cards show. A process
that dies between triggering and recording leaves `triggered_at` behind: the next one looks for our run (`checking`)
before anything is triggered.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from bot.domain.audit import AuditEntry
from bot.domain.commands import SPECS, CommandLine, CommandState, Verb, parse_reference, verb_of
from bot.domain.subjects import SubjectKey
from bot.errors import CommandInvalid, Conflict, IntegrationError, NotPermitted, Unavailable
from bot.ports import BuildControl, Clock, CommandRecord, Ids, Store, Transaction, Triggered
from bot.services.checking import Checking
from bot.services.deployments.desk import DEPLOYMENT_VERBS, DeploymentDesk
from bot.services.deployments.records import asked_about
from bot.services.following import Following
from bot.services.ingest import Ingest
from bot.services.linking import LinkDesk
from bot.services.owed import problem_owed
from bot.services.people import People
from bot.services.presenters import replies
from bot.services.signal import Signal
from bot.services.sources import Sources
from bot.services.steps import LATE_UNTIL, Step, StepLog, first_asker, is_in_doubt, is_pursued
from bot.services.why import with_why
from bot.services.wishes import Wishes

TRIGGER_WITHIN_S = 15.0  # a worker that takes longer from noting to asking asks no more: others may look for it soon


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

    def noted(self, record: CommandRecord) -> dict[str, Any]:
        """What a command keeps of it, so that nobody has to be asked again when its run is looked for."""
        noted = {"source": self.source, "project": self.project, "by": record.command.actor.name}
        if self.key is not None:
            noted["of"] = str(self.key)
        return {**record.result, **noted}


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
        ids: Ids,
    ) -> None:
        self._desk = desk
        self._store = store
        self._sources = sources
        self._people = people
        self._log = StepLog(store, clock)
        self._following = Following(self._log, sources, ingest, signal)
        self._checking = Checking(self._log, sources, self._following)
        self._wishes = Wishes(store, self._log, sources)
        self._links = LinkDesk(store, self._log, people, ids)

    def step(self, record: CommandRecord, line: CommandLine, locale: str) -> Step:
        """The next step; raises NotPermitted, CommandInvalid, Conflict or IntegrationError, each audited."""
        if line.verb in DEPLOYMENT_VERBS:
            return self._deployment(record, line, locale)
        if line.verb in (Verb.LINK, Verb.UNLINK):
            return self._links.step(record, line, locale)
        if line.verb in (Verb.SUBSCRIBE, Verb.MUTE):
            if record.command.state is not CommandState.DONE:  # else it was done, and only not said
                self._permit(record, line, line.arguments[0], f"{record.command.reply_to.place} {line.arguments[0]}")
            return self._wishes.step(record, line, locale)
        if is_pursued(record, line.verb):
            return self._pursue(record, line, locale)
        if "cancelled" in record.result:  # only not said
            return _cancelled(record.result, locale)
        aim = self._aim(record, line)
        self._permit(record, line, aim.project, aim.target)
        self._must_deploy_nothing(record, line, aim)
        now = self._log.now()
        other, taken = self._claim(record, line, aim, now)
        if taken is not None:
            return self._pursue(taken, line, locale)
        if other is not None:
            return _already(other, locale)
        return self._trigger(record, line, aim, locale, ask_before=now + TRIGGER_WITHIN_S)

    def _deployment(self, record: CommandRecord, line: CommandLine, locale: str) -> Step:
        """A step of what is asked of deployments; what comes too late, or cannot be as things stand, is audited too."""
        try:
            return self._desk.step(record, line, locale)
        except Conflict as problem:
            target = self._store.read(lambda tx: asked_about(tx, line))
            self._fail(with_why(record, problem), line, target, f"conflict:{problem}", problem)
            raise

    def give_up(
        self,
        record: CommandRecord,
        state: CommandState,
        reason: str,
        line: CommandLine | None = None,
        *,
        problem: IntegrationError | None = None,
    ) -> None:
        """End a command that comes to no end by itself, on the record; without a line, in the words typed.

        Of a `problem` its person is told even if the worker dies before. One that may have started a build keeps its
        effect: whoever presses next has it looked for first.
        """
        command = record.command
        verb, _, target = (str(line) if line else command.typed.strip()).partition(" ")
        if verb_of(command.typed) is Verb.LINK:  # a code is nothing for the trail
            target = ""
        outcome = f"{state}:{reason}"[:80]
        entry = AuditEntry(
            self._log.now(), command.actor.account, verb[:40], target[:400], outcome, command.via, command.id
        )
        owed = problem_owed(problem) if problem is not None else None
        self._log.end(record, entry, state, frees_effect=not is_pursued(record, verb_of(command.typed)), owed=owed)

    def _pursue(self, record: CommandRecord, line: CommandLine, locale: str) -> Step:
        """Look for the build that was, or may have been, asked for."""
        if "request" in record.result:
            return self._following.step(record, line, locale)
        if "source" not in record.result:  # begun by a version that did not note it
            record = replace(record, result=self._aim(record, line).noted(record))
        return self._checking.step(record, line, locale)

    def _claim(
        self, record: CommandRecord, line: CommandLine, aim: Aim, now: float
    ) -> tuple[CommandRecord | None, CommandRecord | None]:
        """Make the command the one that causes its effect; else who does, or the command as it goes on for one who did.

        Whose command ended in doubt is not asked any more: the next one goes on looking in its stead.
        """
        noted = aim.noted(record)

        def work(tx: Transaction) -> tuple[CommandRecord | None, CommandRecord | None]:
            other, outcome, taken = tx.commands.claim_effect(record, aim.effect, now, noted), "started", None
            if other is not None:
                outcome = f"duplicate:{other.command.id}"
                if other.command.state is CommandState.IN_DOUBT and not other.is_open:
                    going_on = _in_stead(other, noted, now)
                    if tx.commands.take_over(record, other, going_on):
                        outcome = f"looking_for:{other.command.id}"
                        taken = replace(record, triggered_at=other.triggered_at, result=going_on)
            tx.audit.append(self._log.entry(record, line, aim.target, outcome))
            return other, taken

        return self._store.write(work)

    # --- permission and aim

    def _permit(self, record: CommandRecord, line: CommandLine, project: str, target: str) -> None:
        decision = self._people.decide(record.command.actor, SPECS[line.verb].permission, project)
        if not decision.is_allowed:
            entry = self._log.entry(record, line, target, f"refused:{decision.reason}")
            self._store.write(lambda tx: tx.audit.append(entry))
            raise NotPermitted(decision.reason, decision.needed)

    def _must_deploy_nothing(self, record: CommandRecord, line: CommandLine, aim: Aim) -> None:
        """Refuse to start what carries deployments out: approvals, locks and checks would be passed by."""
        if line.verb is Verb.CANCEL or not self._sources.deploys(aim.source, aim.project):
            return
        sentence = "Runs of {project} deploy something: ask for a deployment, or a rollback."
        problem = Conflict(sentence, project=aim.project)
        self._fail(with_why(record, problem), line, aim.target, "conflict:deploys", problem)
        raise problem

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

    def _trigger(self, record: CommandRecord, line: CommandLine, aim: Aim, locale: str, *, ask_before: float) -> Step:
        control = self._control_or_free(record, line, aim)
        try:
            self._check_build(aim, is_first=record.triggered_at is None)
            if line.verb is Verb.CANCEL and aim.key is not None:
                return self._cancel(record, line, control, aim.key, locale)
            if self._log.now() > ask_before:
                raise Unavailable(aim.source, "deadline", "too late to ask for a build under this lease")
            triggered = _ask_for(record, line, control, aim)
        except Conflict as problem:
            self._fail(record, line, aim.target, f"conflict:{problem}", problem)
            raise
        except IntegrationError as problem:
            if not problem.recoverable:
                state = CommandState.IN_DOUBT if is_in_doubt(record, problem) else CommandState.FAILED
                self._fail(record, line, aim.target, f"{state}:{problem.reason}", problem, state)
            raise
        return self._following.begin(replace(record, result=aim.noted(record)), line, locale, triggered)

    def _control_or_free(self, record: CommandRecord, line: CommandLine, aim: Aim) -> BuildControl:
        try:
            return self._control(aim.source)
        except Conflict as problem:
            self._fail(record, line, aim.target, "conflict:read_only", problem)
            raise

    def _fail(
        self,
        record: CommandRecord,
        line: CommandLine,
        target: str,
        outcome: str,
        problem: Conflict | IntegrationError,
        state: CommandState = CommandState.FAILED,
    ) -> None:
        entry = self._log.entry(record, line, target, outcome)
        self._log.end(record, entry, state, frees_effect=True, owed=problem_owed(problem))

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


def _ask_for(record: CommandRecord, line: CommandLine, control: BuildControl, aim: Aim) -> Triggered:
    """The one call that starts a build."""
    correlation, asked_by = record.command.id, record.command.actor.name
    if aim.key is not None:
        return control.retry(aim.key, correlation=correlation, asked_by=asked_by)
    parameters = _parameters(line.arguments[1:])
    return control.run(aim.project, parameters, correlation=correlation, asked_by=asked_by)


def _in_stead(other: CommandRecord, noted: Mapping[str, Any], now: float) -> dict[str, Any]:
    """How far a command has come that goes on where another one ended in doubt, in the name of who asked first."""
    known = {name: other.result[name] for name in ("request", "build") if name in other.result}
    if known:
        known["asked_at"] = now
    correlation = other.result.get("correlation") or other.command.id
    late = {LATE_UNTIL: other.result[LATE_UNTIL]} if LATE_UNTIL in other.result else {}
    return {**noted, **known, **late, "told": [], "first": first_asker(other), "correlation": correlation}


def _already(other: CommandRecord, locale: str) -> Step:
    result: dict[str, object] = {"duplicate_of": other.command.id}
    name, account = first_asker(other)
    if other.command.state is CommandState.IN_DOUBT:
        system = str(other.result.get("source", ""))
        return Step(CommandState.DONE, result, reply=replies.in_doubt(locale, name, account, system))
    run = other.result.get("build")
    short = SubjectKey.parse(str(run)).short if run else None
    return Step(CommandState.DONE, result, reply=replies.already(locale, name, account, short))


def _parameters(words: tuple[str, ...]) -> dict[str, str]:
    parameters = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not equals or not name:
            raise CommandInvalid("bad_parameter", word)
        parameters[name] = value
    return parameters
