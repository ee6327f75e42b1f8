"""The commands about deployments: what is done, and what is answered; each in one transaction."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from bot.domain.cards import Card, Content
from bot.domain.commands import SPECS, CommandLine, CommandState, Verb
from bot.domain.deciding import approve, give_reason, keep, lacks_reason, reject, revoke, stop
from bot.domain.deployment_effects import has_changed
from bot.domain.deployment_lines import (
    LOCK_USAGE,
    parse_checks,
    parse_deploy,
    parse_number,
    parse_place,
    parse_promote,
    parse_rollback,
)
from bot.domain.deployments import (
    Approval,
    Deployment,
    DeploymentKind,
    DeploymentState,
    Requester,
    move,
    too_late,
)
from bot.domain.services import Service, Target
from bot.errors import CommandInvalid, Conflict
from bot.ports import CommandRecord, Transaction
from bot.ports.deploying import Lock
from bot.services.deployments.ending import Ending
from bot.services.deployments.gate import held_at
from bot.services.deployments.pages import Pages
from bot.services.deployments.permits import Permits, cause_of
from bot.services.deployments.records import Cause, Records, named
from bot.services.deployments.requests import Requests, Wish
from bot.services.deployments.standing import went_wrong, wrong_there
from bot.services.owed import owe_word, rejection_owed
from bot.services.people import PARTED_COUNTS_S, People
from bot.services.presenters import deployment_answers as cards
from bot.services.presenters import replies
from bot.services.presenters.deployment_words import sentence_of
from bot.services.steps import Step, settle_done

VIA_API = "api"
_S = DeploymentState
DEPLOYMENT_VERBS = frozenset(
    {
        Verb.DEPLOY,
        Verb.PROMOTE,
        Verb.ROLLBACK,
        Verb.CONFIRM,
        Verb.APPROVE,
        Verb.REVOKE,
        Verb.REJECT,
        Verb.KEEP,
        Verb.ABORT,
        Verb.LOCK,
        Verb.UNLOCK,
    }
)


class DeploymentDesk:
    """Carries out what people ask of deployments."""

    def __init__(self, records: Records, requests: Requests, ending: Ending, people: People, pages: Pages) -> None:
        self._records = records
        self._requests = requests
        self._ending = ending
        self._people = people
        self._permits = Permits(records, requests, people)
        self._pages = pages

    def step(self, record: CommandRecord, line: CommandLine, locale: str) -> Step:
        """Do it; NotPermitted, CommandInvalid, Conflict or IntegrationError, the first of them audited."""
        timezone = self._records.timezone_of(record.command.reply_to.place)
        if record.command.state is CommandState.DONE:  # it was done, and only not said
            return Step(CommandState.DONE, record.result, reply=self._again(record, line, locale, timezone))
        match line.verb:
            case Verb.DEPLOY | Verb.PROMOTE:
                return self._deploy(record, line, locale, timezone)
            case Verb.ROLLBACK:
                return self._roll_back(record, line, locale, timezone)
            case Verb.LOCK | Verb.UNLOCK:
                return self._lock(record, line, locale)
            case _:
                return self._decide(record, line, locale)

    # --- asking for one

    def _deploy(self, record: CommandRecord, line: CommandLine, locale: str, timezone: str) -> Step:
        is_promotion = line.verb is Verb.PROMOTE
        asked = parse_promote(line.arguments) if is_promotion else parse_deploy(line.arguments)
        service = self._requests.service(asked.service)
        target = self._requests.target(service, asked.environment)
        self._permits.act(record, line, service.name, target.environment)
        if asked.is_break_glass:
            self._permits.hold_one(record, line, target.break_glass, target, f"{service.name} {target.environment}")
            if not asked.reason:
                raise CommandInvalid("missing_argument", "deploy … break-glass because <reason>")
        kind = DeploymentKind.PROMOTE if is_promotion else DeploymentKind.DEPLOY
        wish = replace(
            self._wish(record, service, target),
            version=asked.version,
            kind=kind,
            reason=asked.reason,
            is_break_glass=asked.is_break_glass,
        )
        proposal = self._requests.propose(wish)
        return self._file(record, line, lambda tx, cause: self._requests.file(tx, proposal, cause), locale, timezone)

    def _roll_back(self, record: CommandRecord, line: CommandLine, locale: str, timezone: str) -> Step:
        asked, number = parse_rollback(line.arguments)
        service = self._requests.service(asked.service)
        target = self._requests.target(service, asked.environment)
        self._permits.act(record, line, service.name, target.environment)
        wish = replace(self._wish(record, service, target), version=asked.version, reason=asked.reason)
        proposal, undone = self._requests.propose_rollback(wish, number)
        return self._file(
            record,
            line,
            lambda tx, cause: self._requests.file(tx, proposal, cause, rollback_of=undone),
            locale,
            timezone,
        )

    def _wish(self, record: CommandRecord, service: Service, target: Target) -> Wish:
        actor, dedup_key = record.command.actor, f"command:{record.command.id}"
        requester = Requester(actor.account, actor.name)
        is_program = record.command.via == VIA_API  # nobody is there to be asked
        return Wish(service.name, target.environment, requester, dedup_key, is_confirmed=is_program)

    def _file(
        self,
        record: CommandRecord,
        line: CommandLine,
        file: Callable[[Transaction, Cause], Deployment | None],
        locale: str,
        timezone: str,
    ) -> Step:
        def work(tx: Transaction) -> Deployment | None:
            filed = file(tx, cause_of(record, line))
            self._people.note(tx, record.command.actor)
            self._settle(tx, record, {"deployment": filed.number} if filed else {})
            return filed

        filed = self._records.store.write(work)
        self._records.ring()
        assert filed is not None  # its key is this command's, and both are stored at once
        reply = self._shown(filed, locale, timezone)
        return Step(CommandState.DONE, {"deployment": filed.number}, reply=reply)

    def _asked(self, filed: Deployment, locale: str, timezone: str) -> Content:
        if filed.state is _S.REQUESTED:
            target, now = self._target_of(filed), self._records.now()
            held = self._records.store.read(lambda tx: held_at(tx, filed, target, now))
            hindrance = sentence_of(held.outcome, held.detail, locale) if held else ""
            return cards.preview_card(filed, target, locale, timezone, self._pages.leads(filed), hindrance)
        return cards.decided(Verb.CONFIRM, filed, locale)

    def _shown(self, filed: Deployment, locale: str, timezone: str) -> Content:
        """The same, with what went wrong there, was left or is the same version; a way back says what it undoes."""
        shown = self._asked(filed, locale, timezone)
        if filed.rollback_of or not isinstance(shown, Card):
            return shown
        line = (filed.service, filed.environment)
        wrong, same = self._records.store.read(
            lambda tx: (wrong_there(tx, *line), went_wrong(tx, *line, filed.version))
        )
        return cards.beside(shown, wrong, same, locale)

    def _again(self, record: CommandRecord, line: CommandLine, locale: str, timezone: str) -> Content:
        """The answer to a command that was carried out by a worker who died before saying so."""
        number = record.result.get("deployment")
        known = self._records.store.read(lambda tx: tx.deployments.get(number)) if isinstance(number, int) else None
        if known is None:
            return replies.remark(locale, "✅", "Done.")
        if line.verb in (Verb.DEPLOY, Verb.PROMOTE, Verb.ROLLBACK):
            return self._shown(known, locale, timezone)
        return cards.decided(line.verb, known, locale)

    # --- deciding about one

    def _decide(self, record: CommandRecord, line: CommandLine, locale: str) -> Step:
        about = parse_number(line.arguments, SPECS[line.verb].usage)
        known = self._records.store.read(lambda tx: named(tx, about))
        number = known.number
        if line.verb is Verb.ABORT and not self._requests.is_configured(known):
            return self._abandon(record, line, known, locale)
        target = self._target_of(known)
        is_own_alone = self._permits.decide(record, line, known, target)
        actor = record.command.actor

        def work(tx: Transaction) -> Deployment:
            tx.deployments.hold_line(known.service, known.environment)
            self._people.note(tx, actor)
            current = tx.deployments.get(number, for_change=True)
            assert current is not None  # deployments are kept
            persons = tx.accounts.same_person(actor.account)
            now, cause = self._records.now(), cause_of(record, line)
            said = Approval(actor.account, actor.name, now, about.reason)
            match line.verb:
                case Verb.CONFIRM:
                    after = self._confirm(tx, current, target, persons, cause)
                case Verb.APPROVE:
                    since = current.requested_at - PARTED_COUNTS_S
                    asked = self._requests.demanded(current, target)
                    after = approve(asked, said, tx.accounts.same_person(actor.account, since))
                    self._records.put(tx, after, cause, due_at=now)  # the next step knows when to look again
                case Verb.REVOKE:
                    after = revoke(current, persons, now, target.approvals.expires_s)
                    self._records.put(tx, after, cause, due_at=now)
                case Verb.REJECT:
                    after = self._reject(tx, current, said, target, cause)
                case Verb.KEEP:
                    checks, reason = parse_checks(line.arguments[1:], [one.name for one in current.checks])
                    after = keep(current, checks)
                    self._records.put(tx, after, replace(cause, reason=reason), due_at=now)
                case _ if is_own_alone and not current.state.is_waiting:  # it began a moment ago
                    raise too_late(current)
                case _:
                    after = self._abort(tx, current, target, actor.name, cause)
            self._settle(tx, record, {"deployment": number})
            return after

        after = self._records.store.write(work)
        self._records.ring()
        return Step(CommandState.DONE, {"deployment": number}, reply=cards.decided(line.verb, after, locale))

    def _confirm(
        self, tx: Transaction, current: Deployment, target: Target, persons: frozenset[str], cause: Cause
    ) -> Deployment:
        if current.state is not _S.REQUESTED:
            is_over = current.state.is_ended and not current.started_at
            sentence = "{deployment} has ended: ask for it again." if is_over else "{deployment} is confirmed already."
            raise Conflict(sentence, deployment=current.key.short)
        if current.requester.account not in persons:
            raise Conflict("Only {name}, who asked for it, can confirm this.", name=current.requester.name)
        if self._records.now() >= current.terms.expires_at:
            raise Conflict("This was not confirmed in time. Ask for it again.")
        return self._requests.go_on(tx, current, target, cause)

    def _reject(self, tx: Transaction, current: Deployment, said: Approval, target: Target, cause: Cause) -> Deployment:
        """End it and tell who asked for it; who has rejected it without a reason may still give one."""
        persons, no = tx.accounts.same_person(said.account), current.rejection
        if said.reason and no is not None and no.account in persons and lacks_reason(current):
            after = give_reason(current, said.reason)
            self._records.progress(tx, after, due_at=None)
            self._records.tell(tx, cause, f"{after.key} {after.environment}", "reason_given")
        else:
            after = reject(current, said, persons)
            self._ending.end(tx, after, target, cause)
        asker, id_, now = current.requester.account, f"{cause.command_id}:told", self._records.now()
        if asker not in persons and self._people.can_hear(asker):
            owe_word(tx, asker, rejection_owed(after), id_=id_, dedup_key=f"rejected:{cause.command_id}", at=now)
        return after

    def _abandon(self, record: CommandRecord, line: CommandLine, known: Deployment, locale: str) -> Step:
        """Abort one of what is not configured any more: nothing is known of it but what is stored."""
        self._permits.act(record, line, known.service, known.environment)

        def work(tx: Transaction) -> Deployment:
            tx.deployments.hold_line(known.service, known.environment)
            current = tx.deployments.get(known.number, for_change=True)
            assert current is not None  # deployments are kept
            after = self._abort(tx, current, None, record.command.actor.name, cause_of(record, line))
            self._settle(tx, record, {"deployment": known.number})
            return after

        after = self._records.store.write(work)
        self._records.ring()
        return Step(CommandState.DONE, {"deployment": known.number}, reply=cards.decided(line.verb, after, locale))

    def _abort(
        self, tx: Transaction, current: Deployment, target: Target | None, name: str, cause: Cause
    ) -> Deployment:
        """End one that has not begun, or whose run went well; ask a run that has begun for its end, if it is seen."""
        if current.state.is_waiting:
            ended = move(current, _S.CANCELLED, self._records.now(), outcome="cancelled", detail=name)
            self._ending.end(tx, ended, target, cause)
            return ended
        if current.state is _S.VERIFYING:
            failed = move(current, _S.FAILED, self._records.now(), outcome="not_kept", detail=name)
            self._ending.end(tx, failed, target, cause)
            return failed
        if current.state is not _S.DEPLOYING:
            sentence = "{deployment} has ended: there is nothing to stop."
            if current.state in (_S.SUCCEEDED, _S.FAILED, _S.ROLLBACK_FAILED) and has_changed(current):
                sentence = "{deployment} cannot be stopped now. It can be rolled back."
            raise Conflict(sentence, deployment=current.key.short)
        after = stop(current, name, self._records.now())
        if after.state.is_ended:
            self._ending.end(tx, after, target, cause)
        else:
            self._records.put(tx, after, cause, due_at=self._records.now())
        return after

    # --- locks

    def _lock(self, record: CommandRecord, line: CommandLine, locale: str) -> Step:
        asked = parse_place(line.arguments, LOCK_USAGE)
        if line.verb is Verb.LOCK and not asked.reason:  # whoever waits reads it
            raise CommandInvalid("missing_argument", LOCK_USAGE)
        service = self._requests.service(asked.service)
        if asked.environment:
            self._requests.target(service, asked.environment)
        self._permits.act(record, line, service.name, asked.environment)
        actor = record.command.actor
        where = f"{service.name}/{asked.environment or '*'}"

        def work(tx: Transaction) -> tuple[Lock | None, Sequence[Lock]]:
            for environment in sorted(service.targets):  # what begins there has begun, or heeds the lock
                tx.deployments.hold_line(service.name, environment)
            cause, now = cause_of(record, line), self._records.now()
            if line.verb is Verb.LOCK:
                lock = Lock(service.name, asked.environment, asked.reason, actor.account, actor.name, now)
                is_new, over = tx.locks.put(lock), tx.locks.over(service.name, asked.environment)
                same = (one for one in over if one.environment == asked.environment and not one.is_of_rollback)
                stood = None if is_new else next(same)
            else:
                stood = tx.locks.drop(service.name, asked.environment)
                for environment in service.targets:
                    self._ending.wake_line(tx, service.name, environment)
            has_changed = (stood is None) == (line.verb is Verb.LOCK)
            self._records.tell(tx, cause, where, "done" if has_changed else "unchanged")
            self._settle(tx, record, {})
            places = tx.locks.over(service.name, asked.environment) if asked.environment else tx.locks.of(service.name)
            return stood, places

        stood, still = self._records.store.write(work)
        self._records.ring()
        return Step(CommandState.DONE, {}, reply=cards.locked(line.verb, where, stood, locale, still))

    # --- storing

    def _settle(self, tx: Transaction, record: CommandRecord, result: dict[str, object]) -> None:
        """Record that a command was carried out; its answer is still to be said."""
        settle_done(tx, record, result, self._records.now())

    def _target_of(self, deployment: Deployment) -> Target:
        return self._requests.target(self._requests.service(deployment.service), deployment.environment)
