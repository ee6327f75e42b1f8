"""What a person is still owed when a command has ended, or another person's has come to concern them.

A command whose end is stored stays open until the words are said; whoever takes it up says them and closes it. Who has
given no command is owed words by one that stands for them and has ended already. Words that a platform would not take
wait as long as it asks, or growing pauses, for as long as a question lives.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bot.domain.cards import Content
from bot.domain.commands import Actor, Command, CommandState, ReplyTo
from bot.domain.deployments import Deployment
from bot.domain.retries import pause_s
from bot.errors import AuthFailed, Conflict, DestinationGone, IntegrationError, OutcomeUnknown, Rejected, Unavailable
from bot.ports import Transaction
from bot.services.presenters import replies
from bot.services.presenters.deployment_answers import rejected_notice
from bot.services.presenters.linking import used_notice
from bot.services.wording import content_from_json, content_to_json
from bot.telemetry import redact

OWED = "owed"
LIFE_S = 3600.0  # of a question, from the first try to answer it on: later nobody waits for the answer any more
LONGEST_PAUSE_S = 60.0
BUDGET = "budget"  # the reason of a call that has to wait for its place or its account
MOST_UNSURE = 2  # tries of which nobody knows whether the person saw the answer
_KINDS: dict[str, type[IntegrationError]] = {kind.__name__: kind for kind in (AuthFailed, DestinationGone, Rejected)}
_ANEW = {"anew": True}


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


def rejection_owed(deployment: Deployment) -> dict[str, Any]:
    """That a deployment was rejected, by whom and why, to be told to who asked for it."""
    no = deployment.rejection
    assert no is not None  # only then there is something to tell
    what = f"{deployment.version.name} → {deployment.environment}"
    return {"rejected": deployment.key.short, "what": what, "by": no.name, "why": no.reason}


def owe_word(tx: Transaction, account: str, owed: Mapping[str, Any], *, id_: str, dedup_key: str, at: float) -> None:
    """Let an account hear, where it is alone with us, of what somebody else did; it has given no command itself."""
    platform, _, name = account.partition(":")
    to = ReplyTo(platform, "")
    word = Command(id_, dedup_key, Actor(account, name), "", to, state=CommandState.DONE, accepted_at=at)
    tx.commands.add(word, {OWED: dict(owed)})


def is_private(owed: Mapping[str, Any]) -> bool:
    """Whether nobody else may read it, or is meant."""
    return "code_used_by" in owed or "rejected" in owed


def answer_owed(content: Content | None) -> dict[str, Any]:
    """An answer, to be given later; None where it is found anew then: nothing changes by asking, or it is a secret."""
    return dict(_ANEW) if content is None else {"content": content_to_json(content)}


def has_words(result: Mapping[str, Any]) -> bool:
    """Whether a command has ended but for the words that its person is owed."""
    return OWED in result and "anew" not in result[OWED]


def put_later(
    owed: Mapping[str, Any], counted: Mapping[str, Any], problem: IntegrationError, now: float
) -> tuple[dict[str, Any], float] | None:
    """What is owed with one more try counted to those of `counted`, and when to try again; None where it is no use.

    It is none when the platform refuses for good, when it takes longer than a question lives, and when the person may
    have got the answer twice already.
    """
    is_refused = problem.reason != BUDGET  # else there is no room yet, which says nothing of the platform
    since, tries = float(counted.get("since", now)), int(counted.get("tries", 0)) + is_refused
    unsure = int(counted.get("unsure", 0)) + isinstance(problem, OutcomeUnknown)
    pause = min(pause_s(tries), LONGEST_PAUSE_S) if is_refused else 0.0
    due_at = now + max(pause, problem.retry_after_s or 0.0)
    if not problem.recoverable or unsure >= MOST_UNSURE or due_at > since + LIFE_S:
        return None
    return {**owed, "since": since, "tries": tries, "unsure": unsure}, due_at


def words_owed(owed: Mapping[str, Any], state: CommandState, locale: str) -> Content:
    """What the person is told, now."""
    if "content" in owed:
        return content_from_json(owed["content"])
    if "conflict" in owed:
        return replies.conflict(Conflict(str(owed["conflict"]), **owed.get("values", {})), locale)
    if "code_used_by" in owed:
        return used_notice(str(owed["code_used_by"]), str(owed["name"]), locale)
    if "rejected" in owed:
        return rejected_notice({name: str(owed.get(name, "")) for name in ("rejected", "what", "by", "why")}, locale)
    if "news" in owed:
        return replies.news(str(owed["news"]), locale, project=str(owed["project"]), system=str(owed["system"]))
    kind = _KINDS.get(str(owed.get("error")), Unavailable)
    problem = kind(str(owed.get("system")), str(owed.get("reason")), str(owed.get("detail", "")))
    return (replies.doubt if state is CommandState.IN_DOUBT else replies.trouble)(problem, locale)
