"""Joins a person's accounts over the platforms: a one-time code is carried from one to the other.

Whoever has joined accounts holds the roles that name any of them, and counts once wherever people are counted.
"""

from __future__ import annotations

from bot.domain.cards import Content
from bot.domain.commands import Actor, CommandLine, CommandState, Verb
from bot.errors import Conflict, NotPermitted
from bot.ports import CommandRecord, Ids, Store, Transaction
from bot.services.owed import owe_word, used_code_owed
from bot.services.people import People
from bot.services.presenters import linking as cards
from bot.services.steps import Step, StepLog, settle_done

CODE_LENGTH = 8  # of 32 letters: 40 bits
CODE_S = 600.0
MOST_FAILURES = 5
FAILURES_S = 900.0
_ALIKE = str.maketrans({"O": "0", "I": "1", "L": "1", "-": None, " ": None})  # https://www.crockford.com/base32.html


class LinkDesk:
    """Gives codes out, takes them, and parts what was joined."""

    def __init__(self, store: Store, log: StepLog, people: People, ids: Ids) -> None:
        self._store = store
        self._log = log
        self._people = people
        self._ids = ids

    def step(self, record: CommandRecord, line: CommandLine, locale: str) -> Step:
        """Do it; NotPermitted for outsiders, Conflict for a code or an account that is of no use, each audited."""
        actor = record.command.actor
        if record.command.state is CommandState.DONE:  # it was done, and only not said
            other = str(record.result.get("other", ""))
            return Step(CommandState.DONE, record.result, reply=self._told(line.verb, other, locale))
        if actor.is_outsider:
            self._tell(record, line, actor.account, "refused:outsider")
            raise NotPermitted("outsider")
        if line.verb is Verb.UNLINK:
            return self._part(record, line, locale)
        if line.arguments:
            return self._redeem(record, line, locale)
        return self._issue(record, line, locale)

    def _issue(self, record: CommandRecord, line: CommandLine, locale: str) -> Step:
        """A new code each time: what a worker who died may or may not have said is worth nothing any more."""
        actor, code = record.command.actor, self._ids.new()[-CODE_LENGTH:]
        entry = self._log.entry(record, line, actor.account, "code_given")

        def work(tx: Transaction) -> None:
            self._people.note(tx, actor)
            tx.joining.issue(actor.account, code, self._log.now() + CODE_S)
            tx.audit.append(entry)

        self._store.write(work)
        shown = f"{code[: CODE_LENGTH // 2]}-{code[CODE_LENGTH // 2 :]}"
        return Step(CommandState.DONE, {}, reply=cards.code_notice(shown, CODE_S, locale), is_private=True)

    def _redeem(self, record: CommandRecord, line: CommandLine, locale: str) -> Step:
        actor, code = record.command.actor, "".join(line.arguments).upper().translate(_ALIKE)
        shown = CommandLine(line.verb)  # a code is nothing for the trail

        def work(tx: Transaction) -> tuple[str, str]:
            now = self._log.now()
            if tx.joining.failures(actor.account, now - FAILURES_S) >= MOST_FAILURES:
                tx.audit.append(self._log.entry(record, shown, actor.account, "refused:too_many_codes"))
                return "", "too_many_codes"
            other = tx.joining.redeem(actor.account, code, now)
            if other is None:
                tx.audit.append(self._log.entry(record, shown, actor.account, "refused:unknown_code"))
                return "", "unknown_code"
            self._join(tx, actor, other)
            tx.audit.append(self._log.entry(record, shown, other, "linked"))
            self._owe_word(tx, record, other)
            self._settle(tx, record, other)
            return other, ""

        try:
            other, why = self._store.write(work)
        except Conflict:  # nothing of it was stored: the code can still be used where it should be
            self._tell(record, shown, actor.account, "refused:same_platform")
            raise
        if why == "too_many_codes":
            raise Conflict("Too many wrong codes. Wait a quarter of an hour.")
        if why:
            raise Conflict("That is no code of mine, or not any more. Ask for a new one where your other account is.")
        return Step(CommandState.DONE, {"other": other}, reply=self._told(line.verb, other, locale))

    def _owe_word(self, tx: Transaction, record: CommandRecord, other: str) -> None:
        """Let whoever was given the code hear, where they are alone with us, that it was used: it may be stolen."""
        actor = record.command.actor
        name = tx.accounts.names([actor.account]).get(actor.account, "")
        owed, key = used_code_owed(actor.account, name), f"code_used:{record.command.id}"
        owe_word(tx, other, owed, id_=self._ids.new(), dedup_key=key, at=self._log.now())

    def _join(self, tx: Transaction, actor: Actor, other: str) -> None:
        """Make both one person; Conflict where that person would have two accounts on one platform."""
        mine, theirs = tx.accounts.joined(actor.account), tx.accounts.joined(other)
        if other == actor.account:
            raise Conflict("Type this code where your other account is, not here.")
        taken = {account.partition(":")[0]: account for account in mine}
        for account in sorted(theirs - mine):
            if (standing := taken.get(account.partition(":")[0])) is not None:
                raise Conflict(
                    "A person has one account on each platform: {account} and {other} are two.",
                    account=standing,
                    other=account,
                )
        self._people.note(tx, actor)
        tx.joining.join(actor.account, other, self._ids.new(), self._log.now())

    def _part(self, record: CommandRecord, line: CommandLine, locale: str) -> Step:
        """Let the account at hand, or another one of the person's, be on its own again."""
        actor = record.command.actor
        account = line.arguments[0] if line.arguments else actor.account

        def work(tx: Transaction) -> bool:
            mine = tx.accounts.joined(actor.account)
            if account not in mine or len(mine) == 1:
                tx.audit.append(self._log.entry(record, line, account, "refused:not_linked"))
                return False
            tx.joining.part(account, self._log.now())
            tx.audit.append(self._log.entry(record, line, account, "unlinked"))
            self._settle(tx, record, account)
            return True

        if not self._store.write(work):
            raise Conflict("{account} is linked with no account of yours.", account=account)
        return Step(CommandState.DONE, {"other": account}, reply=self._told(line.verb, account, locale))

    def _told(self, verb: Verb, other: str, locale: str) -> Content:
        name = self._store.read(lambda tx: tx.accounts.names([other])).get(other, "")
        return cards.parted_notice(other, locale) if verb is Verb.UNLINK else cards.linked_notice(other, name, locale)

    def _settle(self, tx: Transaction, record: CommandRecord, other: str) -> None:
        settle_done(tx, record, {"other": other}, self._log.now())

    def _tell(self, record: CommandRecord, line: CommandLine, target: str, outcome: str) -> None:
        entry = self._log.entry(record, line, target, outcome)
        self._store.write(lambda tx: tx.audit.append(entry))
