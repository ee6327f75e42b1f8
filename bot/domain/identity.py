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
    """A permission check's outcome; `reason` is `role:<name>`, `open`, `no_role`, `outsider` or `not_granted`.

    `needed` are the roles of which any would do, where one is missing.
    """

    is_allowed: bool
    reason: str
    needed: tuple[str, ...] = ()


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
    known = tuple(roles)
    held = [role for role in known if actor.known_as & role.members]
    granting = [role for role in known if _grants(role, permission, project, environment)]
    for role in held:
        if role in granting:
            return Decision(True, f"role:{role.name}")
    return Decision(False, "not_granted" if held else "no_role", tuple(role.name for role in granting))


def covers(role: Role, project: str, environment: str | None = None) -> bool:
    """Whether a role is about a project and an environment, read as `decide` reads them, whatever it `can` there."""
    is_there = environment is None or _is_among(role.environments, environment)
    return is_there and matches(role.projects, project)


def _grants(role: Role, permission: str, project: str, environment: str | None) -> bool:
    return (permission in role.can or "*" in role.can) and covers(role, project, environment)


def _is_among(environments: tuple[str, ...], environment: str) -> bool:
    """All environments at once are covered only by a role that makes no difference between them."""
    return matches(environments, environment) if environment else environments == ("*",)
