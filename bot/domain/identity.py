"""Who may do what."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from bot.domain.commands import Actor
from bot.domain.routing import matches


@dataclass(frozen=True, slots=True)
class Role:
    """People who may use some verbs on some things.

    `members` are accounts (`slack:U…`, `dingtalk:<staffId>`) or e-mail addresses; `can` holds verbs or `*`;
    `projects` and `environments` are globs, read as a route's: `!glob` excludes.
    """

    name: str
    members: frozenset[str]
    can: frozenset[str]
    projects: tuple[str, ...] = ("*",)
    environments: tuple[str, ...] = ("*",)


@dataclass(frozen=True, slots=True)
class Decision:
    """A permission check's outcome; `reason` is `role:<name>`, `open`, `no_role`, `outsider` or `not_granted`."""

    is_allowed: bool
    reason: str


def decide(
    actor: Actor, roles: Iterable[Role], permission: str, project: str = "", environment: str | None = None
) -> Decision:
    """Whether `actor` may use `permission` (empty: open to every member of the workspace) on `project`.

    Without an `environment` it is about none; an empty one means all of them.
    """
    if actor.is_outsider:
        return Decision(False, "outsider")
    if not permission:
        return Decision(True, "open")
    held = [role for role in roles if actor.known_as & role.members]
    for role in held:
        is_granted = permission in role.can or "*" in role.can
        is_there = environment is None or _covers(role.environments, environment)
        if is_granted and is_there and matches(role.projects, project):
            return Decision(True, f"role:{role.name}")
    return Decision(False, "not_granted" if held else "no_role")


def _covers(environments: tuple[str, ...], environment: str) -> bool:
    """All environments at once are covered only by a role that makes no difference between them."""
    return matches(environments, environment) if environment else environments == ("*",)
