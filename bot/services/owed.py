"""What a person is still owed when a command has failed, or another person's has come to concern them.

A command whose end is stored stays open until the words are said; whoever takes it up says them and closes it. Who has
given no command is owed words by one that stands for them and has ended already.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bot.domain.cards import Content
from bot.domain.commands import CommandState
from bot.errors import AuthFailed, Conflict, DestinationGone, IntegrationError, Rejected, Unavailable
from bot.services.presenters import replies
from bot.services.presenters.linking import used_notice
from bot.telemetry import redact

OWED = "owed"
_KINDS: dict[str, type[IntegrationError]] = {kind.__name__: kind for kind in (AuthFailed, DestinationGone, Rejected)}


def problem_owed(problem: Conflict | IntegrationError) -> dict[str, Any]:
    """A failure, to be told later."""
    if isinstance(problem, Conflict):
        return {"conflict": problem.sentence, "values": {name: str(value) for name, value in problem.values.items()}}
    told = {"system": problem.system, "reason": problem.reason, "detail": redact(problem.detail)}
    return {"error": type(problem).__name__, **told}


def news_owed(kind: str, *, project: str, system: str) -> dict[str, Any]:
    """News of a run that was asked for, to be told later."""
    return {"news": kind, "project": project, "system": system}


def used_code_owed(account: str, name: str) -> dict[str, Any]:
    """That a code was used by an account, to be told to whom it was given, and to nobody else."""
    return {"code_used_by": account, "name": name}


def is_private(owed: Mapping[str, Any]) -> bool:
    """Whether nobody else may read it."""
    return "code_used_by" in owed


def words_owed(owed: Mapping[str, Any], state: CommandState, locale: str) -> Content:
    """What the person is told, now."""
    if "conflict" in owed:
        return replies.conflict(Conflict(str(owed["conflict"]), **owed.get("values", {})), locale)
    if "code_used_by" in owed:
        return used_notice(str(owed["code_used_by"]), str(owed["name"]), locale)
    if "news" in owed:
        return replies.news(str(owed["news"]), locale, project=str(owed["project"]), system=str(owed["system"]))
    kind = _KINDS.get(str(owed.get("error")), Unavailable)
    problem = kind(str(owed.get("system")), str(owed.get("reason")), str(owed.get("detail", "")))
    return (replies.doubt if state is CommandState.IN_DOUBT else replies.trouble)(problem, locale)
