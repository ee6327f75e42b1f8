"""Who an actor is, and what the roles allow."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from hashlib import sha256

from bot.domain.commands import Actor
from bot.domain.identity import Decision, Role, covers, decide
from bot.errors import IntegrationError, Unavailable
from bot.ports import Directory, PersonFacts, Store, Transaction
from bot.telemetry import logger

MOST_ASKED = 3  # at a time: a command has a minute for all that it asks others
PARTED_COUNTS_S = 86_400.0  # accounts parted so shortly before a deployment was asked for are one person's to its end

log = logger(__name__)


class People:
    """Completes actors from their platform's directory and checks what they may do."""

    def __init__(self, roles: Sequence[Role], directories: Mapping[str, Directory], store: Store) -> None:
        self.roles = tuple(roles)
        self._directories = dict(directories)
        self._store = store

    def complete(self, actor: Actor) -> Actor:
        """The actor with what the platform knows of the account; raises IntegrationError when it cannot be asked."""
        facts = self._look_up(actor.account)
        if facts is None:
            return actor
        named = replace(actor, name=facts.name or actor.name)
        if named.is_nameless:  # a press tells no name, and the directory may be closed to us
            named = replace(named, name=self.names_of([actor.account]).get(actor.account, named.name))
        return replace(
            named,
            email=facts.email or actor.email,
            is_outsider=actor.is_outsider or facts.is_outsider,
        )

    def whole(self, actor: Actor) -> Actor:
        """A completed actor with the names of the person's other accounts, each as its own platform knows it now.

        A platform that cannot be asked keeps nobody from what the account at hand may do by itself.
        """
        names, unsure = set(), ""
        others = self._store.read(lambda tx: tx.accounts.joined(actor.account)) - {actor.account}
        for account in sorted(others):
            try:
                facts = self._look_up(account)
            except IntegrationError as problem:
                log.warning("joined account not known for now", account=account, error=problem)
                unsure = problem.system
                continue
            if facts is not None and facts.is_outsider:  # it left, or became a guest: its roles went with it
                continue
            names.add(account)
            if facts is not None and facts.email:
                names.add(facts.email.lower())
        return replace(actor, also=frozenset(names), unsure=unsure)

    def decide(self, actor: Actor, permission: str, project: str = "", environment: str | None = None) -> Decision:
        """Whether a completed actor may; Unavailable where that hangs on an account that could not be asked about."""
        decision = decide(actor, self.roles, permission, project, environment)
        return _sure(actor, decision)

    def holds(self, actor: Actor, roles: Sequence[str], project: str, environment: str) -> Decision:
        """Whether a completed actor holds one of these roles where it covers this; raises as `decide` does."""
        if actor.is_outsider:
            return Decision(False, "outsider")
        held = [role.name for role in self.roles_of(actor)]
        needed = self.covering(roles, project, environment)
        name = next((name for name in held if name in needed), None)
        if name is not None:
            return Decision(True, f"role:{name}")
        return _sure(actor, Decision(False, "not_granted" if held else "no_role", needed))

    def covering(self, names: Sequence[str], project: str, environment: str) -> tuple[str, ...]:
        """Those of the named roles that cover this, in the order in which they are named."""
        there = {role.name for role in self._there(names, project, environment)}
        return tuple(name for name in names if name in there)

    def note(self, tx: Transaction, actor: Actor) -> None:
        """Remember of a completed actor what tells the same person at another account."""
        digest = sha256(actor.email.lower().encode()).hexdigest() if actor.email else ""
        tx.accounts.note(actor.account, "" if actor.is_nameless else actor.name, digest)

    def learn(self, actor: Actor) -> None:
        """Remember the same of an actor who has not come here, as `complete` tells of them; raises as that does."""
        known = self.complete(actor)
        self._store.write(lambda tx: self.note(tx, known))

    def can_hear(self, account: str) -> bool:
        """Whether it is an account of a platform on which people are talked to."""
        return account.partition(":")[0] in self._directories

    def learn_names(self, accounts: Sequence[str]) -> None:
        """Ask the platforms for names that are not known yet, a few at a time; what they do not tell can wait."""
        unknown = [account for account in accounts if account not in self.names_of(accounts)]
        for account in unknown[:MOST_ASKED]:
            try:
                facts = self._look_up(account)
            except IntegrationError as problem:
                log.info("name not learned for now", account=account, error=problem)
                return
            if facts is not None and facts.name and not facts.is_outsider:
                actor = Actor(account, facts.name, email=facts.email)
                self._store.write(lambda tx, actor=actor: self.note(tx, actor))  # type: ignore[misc]  # bound now

    def names_of(self, accounts: Collection[str]) -> Mapping[str, str]:
        """The names that are known."""
        return self._store.read(lambda tx: tx.accounts.names(accounts))

    def called_for(self, roles: Sequence[str], project: str, environment: str) -> tuple[str, ...]:
        """The accounts that these roles name where they cover this, for being called in a channel."""
        named = [member for role in self._there(roles, project, environment) for member in sorted(role.members)]
        return tuple(dict.fromkeys(member for member in named if "@" not in member))

    def roles_of(self, actor: Actor) -> list[Role]:
        """The roles a completed actor holds."""
        return [] if actor.is_outsider else [role for role in self.roles if actor.known_as & role.members]

    def _there(self, names: Sequence[str], project: str, environment: str) -> list[Role]:
        """Those of the named roles that cover this, in the order of the file."""
        return [role for role in self.roles if role.name in names and covers(role, project, environment)]

    def _look_up(self, account: str) -> PersonFacts | None:
        """What the account's platform says of it; None where no platform can be asked."""
        platform, _, name = account.partition(":")
        directory = self._directories.get(platform)
        return None if directory is None else directory.look_up(name)


def _sure(actor: Actor, decision: Decision) -> Decision:
    if not decision.is_allowed and decision.reason != "outsider" and actor.unsure:
        raise Unavailable(actor.unsure, "person_unknown", "a linked account")
    return decision
