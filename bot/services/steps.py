"""A command's steps: how far it has come, on the record, under its lease."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from bot.domain.audit import AuditEntry
from bot.domain.cards import Content
from bot.domain.commands import CommandLine, CommandState, Verb
from bot.errors import IntegrationError, LeaseLost, OutcomeUnknown
from bot.ports import Clock, CommandRecord, Store, Transaction
from bot.services.owed import OWED, has_words
from bot.services.settling import Settling

STEP_S = 60.0  # as long as a command's lease: what is said may take four calls of 8 s
GIVE_UP_S = 7 * 86400.0  # for which a build is looked for that was, or may have been, asked for
STALLED_S = 60.0  # after a call that we hung up on: whoever stalled may carry it out until then, as with late posts
LATE_UNTIL = "late_until"
MOST_TRIES = 4  # that end in good order and come to nothing
STARTING = frozenset({Verb.RETRY, Verb.RUN})  # a second build beside the first would be one too many


@dataclass(frozen=True, slots=True)
class Step:
    """How far a command has come: open ones are taken up again; `reply` is said now, to nobody else if `is_private`."""

    state: CommandState
    result: Mapping[str, object]
    is_open: bool = False
    reply: Content | None = None
    is_private: bool = False


class StepLog:
    """Stores steps, each with its audit entry in one transaction, as long as it takes under the lease."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._settling = Settling.of(store)
        self._clock = clock

    def write(self, record: CommandRecord, work: Callable[[Transaction], None]) -> None:
        """Store a step, which is safe to repeat: see `Settling`."""
        self._settling.settle(record, work)

    def entry(self, record: CommandRecord, line: CommandLine, target: str, outcome: str) -> AuditEntry:
        """What the trail says of a step."""
        command = record.command
        return AuditEntry(
            self.now(), command.actor.account, line.verb.value, target[:400], outcome[:80], command.via, command.id
        )

    def hold(
        self,
        record: CommandRecord,
        result: Mapping[str, object],
        *,
        due_at: float,
        state: CommandState = CommandState.RUNNING,
    ) -> None:
        """Keep a command open, to be taken up again at `due_at`; once it is known to run, its faults count anew."""
        faults = 0 if state is CommandState.RUNNING else None

        def work(tx: Transaction) -> None:
            must_hold(tx.commands.settle(record, state, result, is_open=True, due_at=due_at, faults=faults))

        self.write(record, work)

    def begin_anew(self, record: CommandRecord, result: Mapping[str, object]) -> None:
        """Let a command that certainly caused nothing be taken up at once, as if it had not been tried."""

        def work(tx: Transaction) -> None:
            must_hold(
                tx.commands.settle(
                    record, CommandState.ACCEPTED, result, is_open=True, due_at=self.now(), frees_effect=True
                )
            )

        self.write(record, work)

    def end(
        self,
        record: CommandRecord,
        entry: AuditEntry,
        state: CommandState = CommandState.DONE,
        *,
        frees_effect: bool = False,
        owed: Mapping[str, object] | None = None,
    ) -> None:
        """End a command on the record; `frees_effect` lets somebody ask for the same again.

        Where its person is `owed` words it stays open until those are said, by whoever comes to say them.
        """
        result = record.result if owed is None else {**record.result, OWED: owed}
        is_open, told_by = owed is not None, self.step_ends_at()

        def work(tx: Transaction) -> None:
            append_once(tx, record, entry, state, is_owed=is_open)
            must_hold(
                tx.commands.settle(record, state, result, is_open=is_open, due_at=told_by, frees_effect=frees_effect)
            )

        self.write(record, work)

    def done(self, record: CommandRecord, entry: AuditEntry, result: Mapping[str, object]) -> None:
        """Note that a command is done; it stays open until that is said, by whoever comes to say it."""
        now = self.now()

        def work(tx: Transaction) -> None:
            append_once(tx, record, entry)
            settle_done(tx, record, result, now)

        self.write(record, work)

    def step_ends_at(self) -> float:
        """Until when nobody else takes up a command whose step is still to be said."""
        return self.now() + STEP_S

    def now(self) -> float:
        """Seconds since 1970."""
        return self._clock.now().timestamp()


def append_once(
    tx: Transaction,
    record: CommandRecord,
    entry: AuditEntry,
    state: CommandState = CommandState.DONE,
    *,
    is_owed: bool | None = None,
) -> None:
    """Put on the trail that a command comes to a state, unless that was committed, and only the answer to it lost.

    One that ends stays open only where its person `is_owed` words; None for one that is to be told of another way.
    """
    standing = tx.commands.known(record.command.dedup_key)
    if standing is not None and standing.fence == record.fence and standing.command.state is state:
        is_there = standing.is_open if is_owed is None else standing.is_open == is_owed == has_words(standing.result)
        if is_there:
            return
    tx.audit.append(entry)


def settle_done(tx: Transaction, record: CommandRecord, result: Mapping[str, object], now: float) -> None:
    """Note that a command is done; it stays open until that is said, and nobody else says it before its step ends."""
    must_hold(tx.commands.settle(record, CommandState.DONE, result, is_open=True, due_at=now + STEP_S))


def must_hold(is_held: bool) -> None:
    """Raise LeaseLost where a settling found another worker's lease."""
    if not is_held:
        raise LeaseLost("another worker has the command")


def late_noted(problem: IntegrationError, now: float) -> dict[str, float]:
    """What to remember of a call that ended so: until when it may yet be carried out, where we hung up on it."""
    is_late = isinstance(problem, OutcomeUnknown) and problem.reason == "timeout"
    return {LATE_UNTIL: now + STALLED_S} if is_late else {}


def is_pursued(record: CommandRecord, verb: Verb | None) -> bool:
    """Whether a build was asked for, or may have been: it is looked for, and nothing else is judged any more."""
    return "request" in record.result or (verb in STARTING and record.triggered_at is not None)


def is_in_doubt(record: CommandRecord, problem: Exception | None = None) -> bool:
    """Whether something may have been done: an answer was lost, or a worker died between doing and noting."""
    if "request" in record.result:
        return False
    return record.triggered_at is not None or isinstance(problem, OutcomeUnknown)


def first_asker(record: CommandRecord) -> tuple[str, str]:
    """Name and account of whoever asked for what a command causes; another person where it was taken over."""
    actor = record.command.actor
    name, account = record.result.get("first") or (record.result.get("by") or actor.name, actor.account)
    return str(name), str(account)
