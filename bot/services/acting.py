"""Commands that change something outside: permission, one effect, trigger, reconcile, follow, audit.

Each step ends in one transaction that holds the command's state, its audit entry and what the cards show. A process
that dies between triggering and recording leaves `triggered_at` behind: the next one asks the source for our run
before it triggers anything.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from bot.domain.audit import AuditEntry
from bot.domain.builds import BuildFacts
from bot.domain.cards import Content, Strong, text
from bot.domain.cards import Notice as Remark
from bot.domain.commands import SPECS, CommandLine, CommandState, Verb, parse_reference
from bot.domain.events import Event, EventKind
from bot.domain.places import Place
from bot.domain.routing import Milestone
from bot.domain.subjects import SubjectKey
from bot.errors import CommandInvalid, Conflict, IntegrationError, LeaseLost, NotPermitted, OutcomeUnknown
from bot.i18n import translate
from bot.ports import BuildControl, Clock, CommandRecord, Store, Subscription, Transaction, Triggered
from bot.services.ingest import Ingest
from bot.services.people import People
from bot.services.presenters import replies
from bot.services.signal import Signal
from bot.services.sources import Sources

FOLLOW_PAUSE_S = 0.3
FOLLOW_SLOWLY_S = 5.0
STEP_S = 60.0  # as long as a command's lease: what is said may take four calls of 8 s
PATIENCE_S = 4.0
GIVE_UP_FOLLOWING_S = 3600.0


@dataclass(frozen=True, slots=True)
class Step:
    """How far a command has come: open ones are taken up again; `reply` is said now."""

    state: CommandState
    result: Mapping[str, object]
    is_open: bool = False
    reply: Content | None = None


@dataclass(frozen=True, slots=True)
class Aim:
    """What a command acts on: a project, and a build of it where the verb names one.

    `generation` is the one that the build's card tells of; None when nothing was heard of it.
    """

    source: str
    project: str
    key: SubjectKey | None
    effect: str
    generation: int | None = None

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
    ) -> None:
        self._store = store
        self._clock = clock
        self._sources = sources
        self._people = people
        self._ingest = ingest
        self._signal = signal

    def step(self, record: CommandRecord, line: CommandLine, locale: str) -> Step:
        """The next step; raises NotPermitted, CommandInvalid, Conflict or IntegrationError, each audited."""
        if line.verb in (Verb.SUBSCRIBE, Verb.MUTE):
            return self._subscribe(record, line, locale)
        if "request" in record.result:
            return self._follow(record, line, locale)
        aim = self._aim(record, line)
        self._permit(record, line, aim.project, aim.target)
        now = self._now()

        def begin(tx: Transaction) -> CommandRecord | None:
            other = tx.commands.claim_effect(record, aim.effect, now)
            outcome = "started" if other is None else f"duplicate:{other.command.id}"
            tx.audit.append(self._entry(record, line, aim.target, outcome))
            return other

        other = self._store.write(begin)
        if other is not None:
            return self._already(record, other, locale)
        return self._trigger(record, line, aim, locale)

    def give_up(self, record: CommandRecord, state: CommandState, reason: str, line: CommandLine | None = None) -> None:
        """End a command that comes to no end by itself, on the record; without a line, in the words typed."""
        command = record.command
        verb, _, target = (str(line) if line else command.typed.strip()).partition(" ")
        outcome = f"{state}:{reason}"[:80]
        entry = AuditEntry(
            self._now(), command.actor.account, verb[:40], target[:400], outcome, command.via, command.id
        )

        def work(tx: Transaction) -> None:
            tx.audit.append(entry)
            _must_hold(tx.commands.settle(record, state, record.result, is_open=False, frees_effect=True))

        self._store.write(work)

    # --- permission and aim

    def _permit(self, record: CommandRecord, line: CommandLine, project: str, target: str) -> None:
        decision = self._people.decide(record.command.actor, SPECS[line.verb].permission, project)
        if not decision.is_allowed:
            entry = self._entry(record, line, target, f"refused:{decision.reason}")
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
            generation, attempt = (known.folded.generation, known.folded.attempt) if known else (0, 1)
            epoch = f"{generation}.{reference.attempt or attempt}"
            effect = f"{line.verb}:{key}@{epoch}"
            return Aim(key.source, key.project, key, effect, known.folded.generation if known else None)

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
            self._check_generation(aim)
            if line.verb is Verb.CANCEL and aim.key is not None:
                return self._cancel(record, line, control, aim.key, locale)
            triggered = self._trigger_once(record, line, control, aim)
        except Conflict as problem:
            self._audit_end(record, line, aim.target, f"conflict:{problem}", frees_effect=True)
            raise
        except IntegrationError as problem:
            if not problem.recoverable:
                self._audit_end(record, line, aim.target, f"failed:{problem.reason}", frees_effect=True)
            raise
        result = {"request": triggered.request, "source": aim.source, "project": aim.project, "asked_at": self._now()}
        result["by"] = record.command.actor.name
        if aim.key is not None:
            result["of"] = str(aim.key)
        if triggered.build is not None:
            result["build"] = str(triggered.build)
        self._settle_open(record, result, due_at=self._now() + STEP_S)  # nobody else follows it meanwhile
        return self._follow(replace(record, result=result), line, locale, known=triggered.build)

    def _control_or_free(self, record: CommandRecord, line: CommandLine, aim: Aim) -> BuildControl:
        try:
            return self._control(aim.source)
        except Conflict:
            self._audit_end(record, line, aim.target, "conflict:read_only", frees_effect=True)
            raise

    def _check_generation(self, aim: Aim) -> None:
        """Refuse to act on another build that has the number since the CI's database was reset."""
        reader = self._sources.reader(aim.source)
        if aim.key is None or aim.generation is None or reader is None:
            return
        if reader.fetch(aim.key, with_log=False).generation != aim.generation:
            raise Conflict(
                "This build no longer exists: the CI's database was reset, its number is another build's now."
            )

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
        self._audit_end(record, line, str(key), "done" if was_running else "already_ended")
        sentence = "{build} is being cancelled." if was_running else "{build} had ended already."
        return Step(CommandState.DONE, {}, reply=replies.remark(locale, "🚫", sentence, build=key.short))

    # --- following a triggered run until it has a number

    def _follow(
        self, record: CommandRecord, line: CommandLine, locale: str, *, known: SubjectKey | None = None
    ) -> Step:
        result = dict(record.result)
        source, project, waited = str(result["source"]), str(result["project"]), self._now() - _seconds(result)
        build = known or (SubjectKey.parse(str(result["build"])) if "build" in result else None)
        if build is None:
            build = self._ask_for_run(record, line, source, project)
        if build is not None:
            return self._started(record, line, build, locale)
        if waited > GIVE_UP_FOLLOWING_S:
            self._audit_end(record, line, f"{source}/{project}", "never_started", frees_effect=True)
            sentence = "The build of {project} was never started: no worker took it. Ask again if it is still wanted."
            return Step(CommandState.FAILED, result, reply=replies.remark(locale, "⌛", sentence, project=project))
        is_late = waited > PATIENCE_S and "is_told" not in result
        if is_late:
            result["is_told"] = True
        pause = FOLLOW_SLOWLY_S if "is_told" in result else FOLLOW_PAUSE_S
        self._settle_open(record, result, due_at=self._now() + pause)
        reply = self._waiting(project, locale) if is_late else None
        return Step(CommandState.RUNNING, result, is_open=True, reply=reply)

    def _ask_for_run(self, record: CommandRecord, line: CommandLine, source: str, project: str) -> SubjectKey | None:
        """The run a request became; a source that cannot answer now is asked again, for the run is on its way."""
        try:
            return self._control(source).follow(project, str(record.result["request"]))
        except IntegrationError as problem:
            if problem.recoverable:
                return None
            self._audit_end(record, line, f"{source}/{project}", f"failed:{problem.reason}", frees_effect=True)
            raise

    def _started(self, record: CommandRecord, line: CommandLine, build: SubjectKey, locale: str) -> Step:
        result = {**record.result, "build": str(build)}
        of = SubjectKey.parse(str(result["of"])) if "of" in result else None
        now = self._now()

        def work(tx: Transaction) -> None:
            if record.command.state is not CommandState.DONE:  # else this was recorded and only not said
                tx.audit.append(self._entry(record, line, str(of or build), f"done:{build}"))
            if of is not None and (event := self._retried(tx, record, of, build)) is not None:
                self._ingest.accept_in(tx, event, now)
            _must_hold(tx.commands.settle(record, CommandState.DONE, result, is_open=True, due_at=now + STEP_S))

        self._store.write(work)
        self._signal.ring()
        parts = (translate(locale, "Started build"), " ", Strong(build.short))
        return Step(CommandState.DONE, result, reply=Remark("🔁", text(*parts), locale=locale))

    def _retried(self, tx: Transaction, record: CommandRecord, of: SubjectKey, build: SubjectKey) -> Event | None:
        old = tx.subjects.get(of)
        if old is None:
            return None
        return Event(
            source=of.source,
            delivery_key=f"retried:{record.command.id}",
            kind=EventKind.BUILD_RETRIED,
            subject=of,
            occurred_at=datetime.fromtimestamp(record.command.accepted_at, UTC),
            phase=old.folded.phase,
            facts=BuildFacts(retried_as=build.short, retried_by=record.command.actor.name),
            generation=old.folded.generation,
            attempt=old.folded.attempt,
        )

    def _waiting(self, project: str, locale: str) -> Content:
        return replies.remark(
            locale, "⏳", "A build of {project} is queued and starts when a worker is free.", project=project
        )

    def _already(self, record: CommandRecord, other: CommandRecord, locale: str) -> Step:
        result: dict[str, object] = {"duplicate_of": other.command.id}
        run = other.result.get("build")
        short = SubjectKey.parse(str(run)).short if run else None
        actor = other.command.actor
        name = str(other.result.get("by") or actor.name)
        return Step(CommandState.DONE, result, reply=replies.already(locale, name, actor.account, short))

    # --- what a channel wants

    def _subscribe(self, record: CommandRecord, line: CommandLine, locale: str) -> Step:
        project, *words = line.arguments
        place = record.command.reply_to.place
        self._permit(record, line, project, f"{place} {project}")
        try:
            milestones = tuple(Milestone(word.lower()).value for word in words) or ("started", "finished")
        except ValueError:
            raise CommandInvalid("unknown_milestone", " ".join(words)) from None
        if project != "*" and not self._is_known(project):
            raise CommandInvalid("unknown_project", project)
        is_mute = line.verb is Verb.MUTE
        wish = Subscription(place, project, is_mute, milestones, locale, record.command.actor.account)

        def work(tx: Transaction) -> None:
            tx.places.ensure([Place(place, place)])
            tx.subscriptions.put(wish, self._now())
            tx.audit.append(self._entry(record, line, f"{place} {project}", "done"))

        self._store.write(work)
        sentence = "No more cards of {project} here." if is_mute else "Cards of {project} come here from now on."
        return Step(
            CommandState.DONE, {}, reply=replies.remark(locale, "🔕" if is_mute else "🔔", sentence, project=project)
        )

    def _is_known(self, project: str) -> bool:
        try:
            self._sources.source_of(project)
        except CommandInvalid:
            return bool(self._store.read(lambda tx: tx.subjects.newest(project, 1)))
        return True

    # --- records

    def _settle_open(self, record: CommandRecord, result: Mapping[str, object], *, due_at: float) -> None:
        def work(tx: Transaction) -> None:
            _must_hold(tx.commands.settle(record, CommandState.RUNNING, result, is_open=True, due_at=due_at, tries=0))

        self._store.write(work)

    def _audit_end(
        self, record: CommandRecord, line: CommandLine, target: str, outcome: str, *, frees_effect: bool = False
    ) -> None:
        state = CommandState.FAILED if frees_effect else CommandState.DONE
        entry = self._entry(record, line, target, outcome[:80])

        def work(tx: Transaction) -> None:
            tx.audit.append(entry)
            _must_hold(tx.commands.settle(record, state, record.result, is_open=False, frees_effect=frees_effect))

        self._store.write(work)

    def _entry(self, record: CommandRecord, line: CommandLine, target: str, outcome: str) -> AuditEntry:
        command = record.command
        return AuditEntry(self._now(), command.actor.account, line.verb.value, target, outcome, command.via, command.id)

    def _now(self) -> float:
        return self._clock.now().timestamp()


def _must_hold(is_held: bool) -> None:
    if not is_held:
        raise LeaseLost("another worker has the command")


def _parameters(words: tuple[str, ...]) -> dict[str, str]:
    parameters = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not equals or not name:
            raise CommandInvalid("bad_parameter", word)
        parameters[name] = value
    return parameters


def is_in_doubt(record: CommandRecord, problem: IntegrationError) -> bool:
    """Whether something may have been triggered: an answer was lost, or a worker died between triggering and noting."""
    if "request" in record.result:
        return False
    if isinstance(problem, OutcomeUnknown):
        return True
    if record.result.get("put_off_at") == record.command.tries - 1:  # the try before this one ended in good order
        return bool(record.result["is_in_doubt"])
    return record.triggered_at is not None


def _seconds(result: Mapping[str, object]) -> float:
    asked_at = result["asked_at"]
    assert isinstance(asked_at, float)
    return asked_at
