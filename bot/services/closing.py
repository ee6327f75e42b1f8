"""How commands end: their person is told, and the command is closed; what cannot be told now is owed until it is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from bot.domain.cards import Content
from bot.domain.commands import Actor, CommandState
from bot.errors import DestinationGone, IntegrationError, StorageUnavailable
from bot.ports import Clock, CommandRecord, Responder, Store
from bot.services.dead_letters import DeadLetters, Work
from bot.services.owed import BUDGET, OWED, answer_owed, put_later
from bot.services.settling import Settling
from bot.telemetry import ANSWERS, logger

log = logger(__name__)


@dataclass(frozen=True, slots=True)
class Speech:
    """How to talk to people on a platform: the words before a command, and the language where nothing else says."""

    prefix: str
    locale: str


@dataclass(frozen=True, slots=True)
class Voices:
    """How people are talked to on each platform, and who is told of answers and commands that were given up."""

    responders: Mapping[str, Responder]
    speeches: Mapping[str, Speech]
    letters: DeadLetters


class Closing:
    """Ends commands, for the worker that holds their lease."""

    def __init__(self, store: Store, clock: Clock, voices: Voices) -> None:
        self._clock = clock
        self._store = store
        self._settling = Settling.of(store)
        self._letters = voices.letters
        self._responders = voices.responders

    def finish(
        self,
        record: CommandRecord,
        state: CommandState,
        content: Content,
        result: Mapping[str, object] | None = None,
        *,
        frees_effect: bool = False,
    ) -> str:
        """Tell the person how the command ended, and close it; it stays open where that has to be told later."""
        kept = record.result if result is None else result
        problem = self.answer(record, content)
        return self.close_or_owe(record, state, kept, answer_owed(content), problem, frees_effect=frees_effect)

    def close_or_owe(
        self,
        record: CommandRecord,
        state: CommandState,
        result: Mapping[str, object],
        owed: Mapping[str, Any],
        problem: IntegrationError | None,
        *,
        frees_effect: bool = False,
    ) -> str:
        """End a command whose answer was given, or has to wait for what hindered it: then only that is left to do."""
        later = self._put_later(record, owed, problem)
        if later is None:
            return self.close(record, state, result, frees_effect=frees_effect)
        kept, due_at = {**result, OWED: later[0]}, later[1]
        self._settling.settle(
            record,
            lambda tx: tx.commands.settle(record, state, kept, is_open=True, due_at=due_at, frees_effect=frees_effect),
        )
        return state.value

    def close_or_ask_anew(
        self,
        record: CommandRecord,
        state: CommandState,
        result: Mapping[str, object],
        problem: IntegrationError | None,
    ) -> str:
        """The same for what changes nothing, or is nothing to be kept: it is found anew when it can be told."""
        later = self._put_later(record, answer_owed(None), problem)
        if later is None:
            return self.close(record, state, {name: value for name, value in result.items() if name != OWED})
        kept, due_at = {**record.result, OWED: later[0]}, later[1]
        self._settling.settle(
            record, lambda tx: tx.commands.settle(record, record.command.state, kept, is_open=True, due_at=due_at)
        )
        return "put_off"

    def _put_later(
        self, record: CommandRecord, owed: Mapping[str, Any], problem: IntegrationError | None
    ) -> tuple[dict[str, Any], float] | None:
        """What is owed from now on, and when it is tried again; None where it was said, or is given up."""
        if problem is None:
            return None
        later = put_later(owed, record.result.get(OWED, {}), problem, self._clock.now().timestamp())
        ANSWERS.labels(record.command.reply_to.platform, "given_up" if later is None else "put_off").inc()
        say = log.error if later is None else log.info
        say("answer given up" if later is None else "answer put off", id=record.command.id, error=problem)
        if later is None and not isinstance(problem, DestinationGone):  # who cannot be written to is nobody's fault
            self.announce(record, Work.ANSWER, record.command.actor.account, problem.reason)
        return later

    def announce(self, record: CommandRecord, work: Work, what: str, reason: str) -> None:
        """Have the admin told of what is given up."""
        system, now = record.command.reply_to.platform, self._clock.now().timestamp()
        self._settling.settle(record, lambda tx: self._letters.announce_work(tx, work, system, what, reason, now))

    def close(
        self,
        record: CommandRecord,
        state: CommandState,
        result: Mapping[str, object] | None = None,
        *,
        frees_effect: bool = False,
    ) -> str:
        """End a command of which nothing more is to be said."""
        kept = record.result if result is None else result
        self._settling.settle(
            record, lambda tx: tx.commands.settle(record, state, kept, is_open=False, frees_effect=frees_effect)
        )
        return state.value

    def answer(self, record: CommandRecord, content: Content, *, is_private: bool = False) -> IntegrationError | None:
        """Tell the person, alone where it `is_private`; what hindered it, None where it was said or nobody listens."""
        reply_to = record.command.reply_to
        responder = self._responders.get(reply_to.platform)
        if responder is None:
            return None
        actor = self._by_name(record.command.actor)
        try:
            if is_private:
                responder.whisper(reply_to, content, actor)
            else:
                responder.respond(reply_to, content, actor)
        except IntegrationError as problem:
            if problem.reason != BUDGET:
                log.warning("answer not given", id=record.command.id, error=problem)
            return problem
        ANSWERS.labels(reply_to.platform, "given").inc()
        return None

    def _by_name(self, actor: Actor) -> Actor:
        """The actor by the name that is known: a press tells none, and an answer given later is given as it came."""
        if not actor.is_nameless:
            return actor
        try:
            known = self._store.read(lambda tx: tx.accounts.names([actor.account]))
        except StorageUnavailable:
            return actor
        return replace(actor, name=known.get(actor.account) or actor.name)
