"""Answers to commands."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from bot.domain.builds import Build
from bot.domain.cards import Card, Code, Field, Lines, Notice, Paragraph, Person, Preformatted, Strong, Tone, text
from bot.domain.commands import VERBS, Actor
from bot.domain.identity import Role
from bot.errors import CommandInvalid, Conflict, DestinationGone, IntegrationError, NotPermitted
from bot.i18n import translate
from bot.services.presenters.build import build_line

PROBLEMS = {
    "unknown_verb": "I do not know that command.",
    "missing_argument": "Something is missing.",
    "malformed_deployment": "That is no deployment. Name one like this: user-service#12",
    "malformed_reference": "That is no build. Name one like this: user-service#12",
    "too_long": "That is too long for a command.",
    "unknown_project": "I know no project of that name.",
    "unknown_build": "I know no such build.",
    "unknown_card": "I know no card of that number.",
    "ambiguous": "Several builds have that name. Say which one:",
    "bad_parameter": "Parameters look like this: name=value",
    "unknown_service": "I know no service of that name. There are:",
    "which_environment": "Say in which environment:",
    "unknown_environment": "The service has no such environment. There are:",
    "unknown_version": "I know no such version. The newest good build is:",
    "unknown_deployment": "I know no such deployment.",
    "unknown_check": "There is no such check with a value over time. There are:",
    "none_of_its_checks": "Say nothing more, the names of checks, or because and a reason. Its checks are:",
    "nothing_charted": "None of its checks has a value over time:",
    "no_tracker": "I know no issue tracker: none is configured.",
    "unknown_issue": "That is no issue's key, such as USER-12, or not one of a project that I know.",
    "unknown_milestone": "Known milestones: started, finished, failed, fixed.",
}
REFUSALS = {
    "outsider": "I take commands from members of this workspace only.",
    "no_role": "You have no role here that allows this.",
    "not_granted": "Your roles do not allow this here.",
}
WAYS_ON = (
    "No role does: ask who runs Shipmate.",
    "It takes the role {roles}: ask somebody who has it, or who runs Shipmate to give it to you.",
    "It takes one of the roles {roles}: ask somebody who has one, or who runs Shipmate to give you one.",
)
OUTSIDER = "outsider"
MOST_ROLES = 8
GONE = {
    "builder_gone": "{system} has no builder for this project any more.",
    "no_such_build": "{system} has no such build (any more).",
    "unknown_project": "This project is not configured for {system} (any more).",
    "force_scheduler_gone": "I cannot start this project in {system}: the force scheduler named for it is missing.",
    "other_builder": "What {system} has under the number of my request is a request for another project.",
    "other_request": "What {system} has under the number of my request is a request that is not mine.",
    "request_gone": "{system} does not know my request any more: somebody removed it before a build began.",
    "request_cancelled": "The request was cancelled in {system} before a build began.",
    "request_superseded": "{system} ended the request without a build: a newer one took its place.",
    "channel_not_found": "{system} has no such channel, or has not let me in.",
    "no_such_issue": "{system} has no such issue, or does not show it to me.",
    "person_not_found": "{system} does not know this person (any more).",
}
NEWS = {
    "queued": ("⏳", "A build of {project} is queued and starts when a worker is free."),
    "refused": (
        "⚠️",
        "{system} took my request for a build of {project}, but does not tell me what became of it. I keep asking.",
    ),
    "long": ("⌛", "The build of {project} still waits for a worker. It can be cancelled in {system}; I keep looking."),
    "unknown": (
        "❔",
        (
            "I do not know yet whether {system} took my request for a build of {project}: no answer came. "
            "I keep looking, and start nothing meanwhile."
        ),
    ),
    "not_done": (
        "⚠️",
        "No build of {project} was started: {system} never got my request. Please ask again if it is still wanted.",
    ),
    "never_known": (
        "❔",
        (
            "For a week {system} has not told whether it took my request for a build of {project}. "
            "Whoever asks again has me look first."
        ),
    ),
    "given_up": ("❔", "I have heard nothing of the build of {project} for a week. Please look in {system}."),
}
_SMALL_WORDS = {"to": "到", "in": "在", "because": "因为"}


def remark(locale: str, emoji: str, message: str, /, **values: object) -> Notice:
    """A sentence."""
    return Notice(emoji, text(translate(locale, message, **values)), locale=locale)


def invalid(problem: CommandInvalid, locale: str, prefix: str) -> Notice:
    """Why a typed line is no command, and the nearest one that is."""
    parts: list[Any] = [translate(locale, PROBLEMS.get(problem.problem, problem.problem))]
    if problem.suggestion and problem.problem in ("missing_argument", "unknown_verb", "unknown_project"):
        question = "Write it like this:" if problem.problem == "missing_argument" else "Did you mean"
        line = usage_of(problem.suggestion, locale)
        word = problem.suggestion if problem.problem == "unknown_project" else f"{prefix} {line}"
        parts += [" ", translate(locale, question), " ", Code(word)]
    elif problem.suggestion:
        parts += [" ", Code(problem.suggestion)]
    parts += [" · ", Code(f"{prefix} {help_word(locale)}")]
    return Notice("🤔", text(*parts), locale=locale)


def refusal(problem: NotPermitted, locale: str) -> Notice:
    """Why the actor may not."""
    return Notice("🔒", text(refusal_words(problem, locale)), locale=locale)


def refusal_words(problem: NotPermitted, locale: str) -> str:
    """The same, and the roles that may: never who holds them, and nothing of them to people from outside."""
    reason = str(problem)
    words = translate(locale, REFUSALS.get(reason, REFUSALS["no_role"]))
    if reason == OUTSIDER:
        return words
    way_on = translate(locale, WAYS_ON[min(len(problem.roles), 2)], roles=", ".join(problem.roles[:MOST_ROLES]))
    return f"{words} {way_on}"


def trouble(problem: IntegrationError, locale: str) -> Notice:
    """What another system's failure means to the person who asked."""
    sentence = {
        "AuthFailed": "{system} refuses my credentials. Whoever runs Shipmate must look at that.",
        "DestinationGone": "{system} has no such thing (any more).",
        "Rejected": "{system} refuses: {reason}.",
    }.get(type(problem).__name__, "{system} cannot be reached at the moment. Please try again in a minute.")
    if isinstance(problem, DestinationGone):
        sentence = GONE.get(problem.reason, sentence)
    return remark(locale, "⚠️", sentence, system=problem.system, reason=problem.detail or problem.reason)


def mistake(locale: str, *, is_in_doubt: bool) -> Notice:
    """What is said when a command failed for a fault of ours."""
    sentence = (
        "Something went wrong in me and I do not know how far this came. Please look at the build before you ask again."
        if is_in_doubt
        else "Something went wrong in me and nothing was done. Whoever runs Shipmate finds the reason in my log."
    )
    return remark(locale, "💥", sentence)


def doubt(problem: IntegrationError, locale: str) -> Notice:
    """What is said when a call may or may not have happened, and nothing can tell."""
    sentence = "I do not know whether {system} did it: no answer came. Please look there before you ask again."
    return remark(locale, "❔", sentence, system=problem.system)


def conflict(problem: Conflict, locale: str) -> Notice:
    """Why something cannot happen as things stand."""
    return remark(locale, "🤚", problem.sentence, **problem.values)


def unsure(locale: str) -> Notice:
    """What is said when a call may have happened, and may not be tried or looked for any more."""
    sentence = "I do not know whether this was done: no answer came, and I may not try again. Please look at the build."
    return remark(locale, "❔", sentence)


def news(kind: str, locale: str, *, project: str, system: str) -> Notice:
    """What is said of a run that was asked for and has no number yet."""
    emoji, sentence = NEWS[kind]
    return remark(locale, emoji, sentence, project=project, system=system)


def help_word(locale: str) -> str:
    """The word that asks for help."""
    return "帮助" if locale.startswith("zh") else "help"


def usage_of(usage: str, locale: str) -> str:
    """How a command is written, in the reader's words."""
    word, _, rest = usage.partition(" ")
    spec = next((one for one in VERBS if one.usage.partition(" ")[0] == word), None)
    if spec is None or not locale.startswith("zh"):
        return usage
    for english, chinese in _SMALL_WORDS.items():
        rest = re.sub(rf"(?<![\w<]){english}(?= <)", chinese, rest)
    return f"{spec.chinese[0]} {rest}".strip()


def builds_card(title: str, builds: Sequence[Build], locale: str, timezone: str, note: str = "") -> Card:
    """A list of builds."""
    lines = Lines(tuple(build_line(build, locale) for build in builds))
    sections: list[Any] = [lines if builds else Paragraph(text(translate(locale, "Nothing yet.")))]
    footer = text(note) if note else ()
    return Card(
        Tone.NEUTRAL, title, emoji="📋", sections=tuple(sections), footer=footer, locale=locale, timezone=timezone
    )


def log_card(build: str, log: str, locale: str) -> Card:
    """The end of a log."""
    title = translate(locale, "Log of {build}", build=build)
    body = Preformatted(log) if log.strip() else Paragraph(text(translate(locale, "The log is empty.")))
    return Card(Tone.NEUTRAL, title, emoji="📄", sections=(body,), locale=locale)


def whoami_card(actor: Actor, roles: Sequence[Role], others: Mapping[str, str], locale: str) -> Card:
    """Who the actor is to us; `others` are the names at the person's other accounts."""
    fields = [Field(translate(locale, "Account"), text(Code(actor.account)))]
    if others:
        linked: list[Any] = []
        for account, name in others.items():
            linked += [", " if linked else "", Code(account), f" {name}".rstrip()]
        fields.append(Field(translate(locale, "Linked with"), text(*linked)))
    if actor.email:
        fields.append(Field(translate(locale, "E-mail"), text(actor.email)))
    granted = [
        text(Strong(role.name), f": {', '.join(sorted(role.can))} · {', '.join(role.projects)}") for role in roles
    ]
    lines = Lines(tuple(granted) or (text(translate(locale, "none")),), title=translate(locale, "Roles"))
    return Card(Tone.NEUTRAL, actor.name, emoji="👤", fields=tuple(fields), sections=(lines,), locale=locale)


def here_card(place: str, name: str | None, locale: str) -> Card:
    """Where this is, and how to name it in the configuration."""
    platform, _, rest = place.partition(":")
    wanted = f"{platform}: {rest.rpartition('/')[2]}"
    if platform == "dingtalk":
        wanted = f"dingtalk: {{group: {rest.partition('/')[2]}}}"
    sections: list[Any] = [Preformatted(f"destinations:\n  my-team: {{{wanted}}}", title="shipmate.yaml")]
    fields = [Field(translate(locale, "Place"), text(Code(place)))]
    if name:
        fields.append(Field(translate(locale, "Configured as"), text(Code(name))))
    title = translate(locale, "This place")
    return Card(Tone.NEUTRAL, title, emoji="📍", fields=tuple(fields), sections=tuple(sections), locale=locale)


def already(locale: str, person: str, account: str, run: str | None) -> Notice:
    """Somebody was faster."""
    before, _, after = translate(locale, "{person} has done this already").partition("{person}")
    parts: list[Any] = [before, Person(person, account), after]
    if run:
        parts += [" → ", Strong(run)]
    return Notice("👌", text(*parts), locale=locale)


def in_doubt(locale: str, person: str, account: str, system: str) -> Notice:
    """Somebody was faster, and nobody knows yet what came of it."""
    sentence = (
        "{person} has asked for this, and {system} has not told yet what came of it. I keep looking, and start nothing "
        "meanwhile."
    )
    before, _, after = translate(locale, sentence, system=system, person="{person}").partition("{person}")
    return Notice("❔", text(before, Person(person, account), after), locale=locale)
