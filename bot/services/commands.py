"""Commands: stored and acknowledged at the door, executed here, under a lease, by a worker."""

from __future__ import annotations

from dataclasses import replace

from bot.domain.cards import Content
from bot.domain.commands import (
    SPECS,
    Actor,
    Command,
    CommandLine,
    CommandState,
    Verb,
    begin_command,
    parse_command,
    verb_of,
)
from bot.domain.retries import pause_s
from bot.errors import CommandInvalid, Conflict, IntegrationError, NotPermitted
from bot.ports import Clock, CommandRecord, Store, Transaction
from bot.services.acting import Acting
from bot.services.closing import Closing, Speech, Voices
from bot.services.dead_letters import Work
from bot.services.hands import Shares
from bot.services.owed import BUDGET, OWED, answer_owed, has_words, is_private, words_owed
from bot.services.people import People
from bot.services.presenters import replies
from bot.services.presenters.linking import elsewhere_notice
from bot.services.reading import Reading
from bot.services.router import Router
from bot.services.settling import Settling, held_for
from bot.services.steps import GIVE_UP_S, MOST_TRIES, STARTING, Step, is_in_doubt, is_pursued, late_noted
from bot.services.why import with_why
from bot.telemetry import COMMANDS, logger

LEASE_S = (
    60.0  # one step may take a look-up, a check, a search for our run, a call and an answer of four calls: 8 s each
)
MOST_DEATHS = 8  # of workers, one after the other, over one command
NEWS_PAUSE_S = 5.0
OUTSIDE = "outside"
# Verbs whose answers come from other systems, or may.
ASKING = STARTING | {
    *(Verb.BUILDS, Verb.SHOW, Verb.LOG, Verb.CANCEL, Verb.SUBSCRIBE, Verb.MUTE, Verb.ISSUE, Verb.CHART),
}

_UNREADABLE = (LookupError, TypeError, ValueError)

log = logger(__name__)


class CommandWorker:
    """Executes stored commands and answers who asked."""

    lease_s = LEASE_S

    def __init__(
        self,
        *,
        store: Store,
        clock: Clock,
        router: Router,
        people: People,
        reading: Reading,
        acting: Acting,
        voices: Voices,
    ) -> None:
        self._settling = Settling.of(store)
        self._closing = Closing(store, clock, voices)
        self._store = store
        self._clock = clock
        self._router = router
        self._people = people
        self._reading = reading
        self._acting = acting
        self._speeches = voices.speeches

    def claim(self, limit: int, shares: Shares | None = None) -> list[CommandRecord]:
        """Take up to `limit` open commands; those that ask other systems leave hands to those that ask none."""
        held_until, now = held_for(LEASE_S), self._clock.now().timestamp()

        def work(tx: Transaction) -> list[CommandRecord]:
            take = shares.taker() if shares else None
            may = None if take is None else lambda typed, platform: take(_kin(typed, platform))
            return list(tx.commands.lease(now, now + LEASE_S, limit, may))

        return [replace(record, held_until=held_until) for record in self._store.write(work, is_patient=False)]

    def kin_of(self, work: CommandRecord) -> str:
        """What a command hangs on: other systems, or only the platform that it is answered on."""
        return _kin(work.command.typed, work.command.reply_to.platform)

    def carry_out(self, record: CommandRecord) -> None:
        """Execute one step of a command, store what came of it and answer."""
        if has_words(record.result) and record.command.tries <= MOST_DEATHS:
            self._say_owed(record)
            return
        if self._is_hopeless(record):
            self._give_up(record)
            return
        speech = self._speech(record.command)
        verb, is_known = "invalid", False
        try:
            line = parse_command(record.command.typed)
            verb = line.verb.value
            record = replace(record, command=replace(record.command, actor=self._actor(record, line)))
            is_known = True
            outcome = self._execute(record, line, speech)
        except (CommandInvalid, NotPermitted) as problem:
            outcome = self._refuse(with_why(record, problem), problem, speech)
        except Conflict as problem:
            why = with_why(record, problem)
            outcome = self._closing.finish(why, CommandState.FAILED, replies.conflict(problem, speech.locale))
        except IntegrationError as problem:
            outcome = self._put_off_or_fail(record, line, problem, speech, is_known=is_known)
        COMMANDS.labels(verb, outcome).inc()
        log.info("command", id=record.command.id, verb=verb, actor=record.command.actor.account, outcome=outcome)

    def put_off(self, record: CommandRecord) -> None:
        """Let a command rest whose try ended in a mistake of ours; the try counts, and too many end the command.

        One whose build is looked for goes on for a week: its person is told once that something is wrong.
        """
        due_at = self._clock.now().timestamp() + pause_s(record.faults + 1)
        is_held = self._settling.settle(record, lambda tx: tx.commands.put_off(record, due_at))
        if is_held and record.faults + 1 == MOST_TRIES and _is_open_pursuit(record):
            self._closing.answer(record, replies.mistake(self._speech(record.command).locale, is_in_doubt=True))

    def _say_owed(self, record: CommandRecord) -> None:
        """Tell what is on the record, and its person does not know: how it ended, or what concerns them alone."""
        state, owed = record.command.state, record.result[OWED]
        locale = self._speech(record.command).locale
        kept = {name: value for name, value in record.result.items() if name != OWED}
        try:
            words = words_owed(owed, state, locale)
        except _UNREADABLE as unreadable:  # written by another version
            log.error("answer cannot be read", id=record.command.id, error=unreadable)
            self._closing.close(record, state, kept)
            return
        unsaid = self._closing.answer(record, words, is_private=is_private(owed))
        self._closing.close_or_owe(record, state, kept, owed, unsaid)

    def _is_hopeless(self, record: CommandRecord) -> bool:
        """Whether trying has to end: the worker died over it too often in a row, or too many tries came to nothing.

        What has been, or may have been, asked for has a longer limit of its own; it is passed only by mistakes of ours.
        """
        if record.command.tries > MOST_DEATHS:
            return True
        if _is_open_pursuit(record):
            waited_s = self._clock.now().timestamp() - (record.triggered_at or record.command.accepted_at)
            return record.faults > MOST_TRIES and waited_s > GIVE_UP_S
        return record.faults >= MOST_TRIES

    def _give_up(self, record: CommandRecord) -> None:
        """End a command whose tries came to no end: the worker made a mistake, or died, in each of them.

        First of all it is closed, so that nothing that fails here can bring it back.
        """
        if record.command.state is CommandState.DONE or has_words(record.result):  # only the answer cannot be given
            self._closing.close(record, record.command.state)
            return
        doubt = _is_open_pursuit(record) or record.triggered_at is not None
        state = CommandState.IN_DOUBT if doubt else CommandState.FAILED
        record = with_why(record, None)
        self._acting.give_up(record, state, "unexpected")
        COMMANDS.labels("unknown", state.value).inc()
        log.error("command given up", id=record.command.id, account=record.command.actor.account, outcome=state.value)
        locale = self._speech(record.command).locale
        self._closing.finish(record, state, replies.mistake(locale, is_in_doubt=doubt))
        verb = verb_of(record.command.typed)
        self._closing.announce(record, Work.COMMAND, f"{verb or '?'} ({record.command.actor.account})", "unexpected")

    def _execute(self, record: CommandRecord, line: CommandLine, speech: Speech) -> str:
        if SPECS[line.verb].changes:
            step = self._acting.step(record, line, speech.locale)
            if step.is_open:
                return self._go_on(record, step)
            if step.reply is None:
                return self._closing.close(record, step.state, step.result)
            if step.is_private:
                return self._whisper(record, step, step.reply, speech.locale)
            return self._closing.finish(record, step.state, step.reply, step.result)
        content = self._reading.answer(record.command, line, speech.locale, speech.prefix)
        problem = self._closing.answer(record, content)
        if problem is not None and problem.reason == BUDGET:  # a matter of moments: nobody is asked again
            return self._closing.close_or_owe(record, CommandState.DONE, {}, answer_owed(content), problem)
        return self._closing.close_or_ask_anew(record, CommandState.DONE, record.result, problem)

    def _go_on(self, record: CommandRecord, step: Step) -> str:
        """Tell the news of a command that goes on; what cannot be told now is news again at its next step."""
        problem = None if step.reply is None else self._closing.answer(record, step.reply)
        if problem is not None and problem.recoverable:
            untold = {**step.result, "told": record.result.get("told", [])}
            due_at = self._clock.now().timestamp() + max(NEWS_PAUSE_S, problem.retry_after_s or 0.0)
            self._settling.settle(
                record, lambda tx: tx.commands.settle(record, step.state, untold, is_open=True, due_at=due_at)
            )
        return "checking" if step.state is CommandState.IN_DOUBT else step.state.value

    def _actor(self, record: CommandRecord, line: CommandLine) -> Actor:
        """Who asks; nobody is looked up anew of whom nothing is judged any more."""
        actor = record.command.actor
        if record.command.state is CommandState.DONE and "by" not in record.result:
            return actor
        if is_pursued(record, line.verb) and "by" in record.result:
            return replace(actor, name=str(record.result["by"]))
        known = self._people.complete(actor)
        return self._people.whole(known) if SPECS[line.verb].changes or line.verb is Verb.WHOAMI else known

    def _refuse(self, record: CommandRecord, problem: CommandInvalid | NotPermitted, speech: Speech) -> str:
        """End a command that may not be, or makes no sense; one that an earlier try may have done ends in doubt."""
        line, is_invalid = begin_command(record.command.typed), isinstance(problem, CommandInvalid)
        state = CommandState.IN_DOUBT if is_in_doubt(record) else CommandState.REFUSED
        if state is CommandState.IN_DOUBT:
            reply = replies.unsure(speech.locale)
        elif isinstance(problem, CommandInvalid):
            reply = replies.invalid(problem, speech.locale, speech.prefix)
        else:
            reply = replies.refusal(problem, speech.locale)
        hindrance = self._closing.answer(record, reply)
        if state is CommandState.IN_DOUBT or (is_invalid and line is not None and SPECS[line.verb].changes):
            self._acting.give_up(record, state, str(problem), line)
            if hindrance is None:
                return state.value
        # A refusal for want of a role is on the record already.
        return self._closing.close_or_owe(record, state, record.result, answer_owed(reply), hindrance)

    def _put_off_or_fail(
        self, record: CommandRecord, line: CommandLine, problem: IntegrationError, speech: Speech, *, is_known: bool
    ) -> str:
        """Try again later, or end the command; one whose actor is known and that failed for good is on the record."""
        doubt = SPECS[line.verb].changes and is_in_doubt(record, problem)
        if problem.recoverable and ((doubt and line.verb in STARTING) or record.faults + 1 < MOST_TRIES):
            due_at = self._clock.now().timestamp() + max(pause_s(record.faults + 1), problem.retry_after_s or 0.0)
            noted = late_noted(problem, due_at)
            self._settling.settle(
                record, lambda tx: tx.commands.put_off(record, due_at, frees_effect=not doubt, noted=noted)
            )
            return "put_off"
        log.warning("command failed", id=record.command.id, error=problem)
        record = with_why(record, problem)
        state = CommandState.IN_DOUBT if doubt else CommandState.FAILED
        is_unrecorded = SPECS[line.verb].changes and (problem.recoverable or not is_known)
        if is_unrecorded:
            self._acting.give_up(record, state, problem.reason, line, problem=problem)
        reply = (replies.doubt if doubt else replies.trouble)(problem, speech.locale)
        return self._closing.finish(record, state, reply, frees_effect=not is_unrecorded)

    # --- answering

    def _whisper(self, record: CommandRecord, step: Step, content: Content, locale: str) -> str:
        """Tell the person what nobody else may read, and what is not kept; where there is no way to, say so."""
        problem = self._closing.answer(record, content, is_private=True)
        if problem is not None and not problem.recoverable:
            return self._closing.finish(record, step.state, elsewhere_notice(locale), step.result)
        return self._closing.close_or_ask_anew(record, step.state, step.result, problem)

    def _speech(self, command: Command) -> Speech:
        speech = self._speeches.get(command.reply_to.platform, Speech("/ship", "en"))
        settings = self._store.read(lambda tx: self._router.settings_of(tx, command.reply_to.place))
        locale = command.reply_to.locale or (settings.locale if settings else speech.locale)
        return replace(speech, locale=locale)


def _kin(typed: str, platform: str) -> str:
    return OUTSIDE if verb_of(typed) in ASKING else platform


def _is_open_pursuit(record: CommandRecord) -> bool:
    """Whether a build of this command's is looked for, and none was found yet."""
    return record.command.state is not CommandState.DONE and is_pursued(record, verb_of(record.command.typed))
