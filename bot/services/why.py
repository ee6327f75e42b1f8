"""Why a command came to nothing, kept with it for programs that ask later what became of theirs.

People are told at once, in their language and as their platform writes; what is kept is a word that programs can act
on, and a sentence in English. No secret is in it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from bot.domain.commands import CommandState
from bot.errors import CommandInvalid, Conflict, IntegrationError, NotPermitted
from bot.ports import CommandRecord
from bot.services.presenters.replies import PROBLEMS, refusal_words
from bot.telemetry import redact

WHY = "why"
CONFLICT = "conflict"
MISTAKE = "unexpected"
MOST_WORDS = 500


def with_why(record: CommandRecord, problem: Exception | None) -> CommandRecord:
    """The record with why it came to nothing; without a problem for a mistake of ours."""
    match problem:
        case CommandInvalid():
            reason, words = problem.problem, invalid_words(problem)
        case NotPermitted():
            reason, words = str(problem), refusal_words(problem, "en")
        case Conflict():
            reason, words = CONFLICT, str(problem)
        case IntegrationError():
            reason, words = problem.reason, _outside_words(problem)
        case _:
            reason, words = MISTAKE, "Something went wrong in Shipmate: its log says what."
    why = {"reason": reason[:80], "words": redact(words)[:MOST_WORDS]}
    return replace(record, result={**record.result, WHY: why})


def why_of(result: Mapping[str, Any], state: CommandState) -> tuple[str, str]:
    """Reason and words of a command that came to nothing; empty for any other, and where older versions kept none."""
    if state not in (CommandState.REFUSED, CommandState.FAILED, CommandState.IN_DOUBT):
        return "", ""
    why = result.get(WHY, {})
    return str(why.get("reason", "")), str(why.get("words", ""))


def invalid_words(problem: CommandInvalid) -> str:
    """What is wrong with a line, and what there is instead, in a sentence."""
    words = PROBLEMS.get(problem.problem, problem.problem)
    return f"{words} {problem.suggestion}" if problem.suggestion else words


def _outside_words(problem: IntegrationError) -> str:
    if problem.recoverable:
        return f"{problem.system} cannot be reached, or gave no answer ({problem.detail or problem.reason})."
    return f"{problem.system} refuses: {problem.detail or problem.reason}."
