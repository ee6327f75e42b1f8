"""Who an actor is, and what the roles allow."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from bot.domain.commands import Actor
from bot.domain.identity import Decision, Role, decide
from bot.ports import Directory


class People:
    """Completes actors from their platform's directory and checks what they may do."""

    def __init__(self, roles: Sequence[Role], directories: Mapping[str, Directory]) -> None:
        self.roles = tuple(roles)
        self._directories = dict(directories)

    def complete(self, actor: Actor) -> Actor:
        """The actor with what the platform knows of the account; raises IntegrationError when it cannot be asked."""
        directory = self._directories.get(actor.platform)
        if directory is None:
            return actor
        facts = directory.look_up(actor.account.partition(":")[2])
        return replace(
            actor,
            name=facts.name or actor.name,
            email=facts.email or actor.email,
            is_outsider=actor.is_outsider or facts.is_outsider,
        )

    def decide(self, actor: Actor, permission: str, project: str = "", environment: str | None = None) -> Decision:
        """Whether a completed actor may."""
        return decide(actor, self.roles, permission, project, environment)

    def accounts_of(self, actor: Actor) -> frozenset[str]:
        """Every account that is known to be the same person's."""
        return frozenset({actor.account})

    def called_for(self, roles: tuple[str, ...]) -> tuple[str, ...]:
        """The accounts that these roles name, for being called in a channel."""
        named = [member for role in self.roles if role.name in roles for member in sorted(role.members)]
        return tuple(dict.fromkeys(member for member in named if "@" not in member))

    def roles_of(self, actor: Actor) -> list[Role]:
        """The roles a completed actor holds."""
        names = {actor.account} | ({actor.email.lower()} if actor.email else set())
        return [] if actor.is_outsider else [role for role in self.roles if names & role.members]
