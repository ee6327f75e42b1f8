"""What people can ask for, by what they want to do."""

from __future__ import annotations

from typing import Any

from bot.domain.cards import Card, Code, Lines, Paragraph, Section, Text, Tone, text
from bot.domain.commands import SPECS, Verb, verb_of
from bot.i18n import translate
from bot.services.presenters.replies import help_word, usage_of

SUMMARIES = {
    "help": "what I can do, or how one of these is written",
    "status": "how things stand",
    "builds": "the newest builds of a project",
    "show": "stages, failed tests and log of a build",
    "log": "the end of a build's log",
    "retry": "run a build again",
    "cancel": "stop a running build",
    "run": "start a new build",
    "explain": "why a card is where it is, or is not",
    "issue": "what is known of an issue",
    "whoami": "who you are to me, and your roles",
    "link": "make your accounts on two platforms one person",
    "unlink": "part your accounts again",
    "here": "this place's id, for the configuration",
    "subscribe": "send a project's cards here",
    "mute": "no cards of a project here",
    "deploy": "bring a version to an environment",
    "promote": "bring on what the environment before has",
    "rollback": "bring the version before back",
    "confirm": "yes, do what you asked me whether to do",
    "approve": "agree to a deployment",
    "revoke": "take your approval back",
    "reject": "refuse a deployment",
    "keep": "leave a deployment as it is, whatever its checks could not tell",
    "abort": "stop a deployment",
    "lock": "let nothing be deployed somewhere",
    "unlock": "let it be deployed again",
    "deployments": "what is where, and what was deployed last",
    "whats-in": "what is new for an environment, or from one version to another",
    "dora": "how often, how fast and how well things are deployed",
    "chart": "how the value of a check went on",
}
GROUPS: dict[str, tuple[Verb, ...]] = {
    "Look around": (Verb.STATUS, Verb.DEPLOYMENTS, Verb.WHATS_IN, Verb.ISSUE, Verb.EXPLAIN),
    "Builds": (Verb.BUILDS, Verb.SHOW, Verb.LOG, Verb.RETRY, Verb.CANCEL, Verb.RUN),
    "Deploy and roll back": (Verb.DEPLOY, Verb.PROMOTE, Verb.ROLLBACK, Verb.CONFIRM, Verb.KEEP, Verb.ABORT),
    "Decide about deployments": (Verb.APPROVE, Verb.REVOKE, Verb.REJECT, Verb.LOCK, Verb.UNLOCK),
    "Figures": (Verb.CHART, Verb.DORA),
    "What comes here": (Verb.SUBSCRIBE, Verb.MUTE, Verb.HERE),
    "You": (Verb.WHOAMI, Verb.LINK, Verb.UNLINK, Verb.HELP),
}


def help_card(locale: str, prefix: str, *, about: str = "", is_welcome: bool = False) -> Card:
    """All verbs, or those that belong together with the one that is asked `about`."""
    wanted = verb_of(about) if about else None
    groups = {name: verbs for name, verbs in GROUPS.items() if wanted is None or wanted in verbs}
    sections: list[Section] = [
        Lines(tuple(_line(verb, locale) for verb in verbs), title=translate(locale, name))
        for name, verbs in groups.items()
    ]
    intro: list[Any] = [translate(locale, "Write {prefix} before each of these:", prefix=prefix), " "]
    intro.append(Code(f"{prefix} {usage_of('status', locale)}"))
    if wanted is not None:
        more = Code(f"{prefix} {help_word(locale)}")
        intro += [" · ", translate(locale, "What else I can do:"), " ", more]
    sections.insert(0, Paragraph(text(*intro)))
    if is_welcome:
        words = "I show builds as live cards and let you act on them from here. To see this channel's id, type"
        sections.insert(0, Paragraph(text(translate(locale, words), " ", Code(f"{prefix} here"))))
    title = "Hello, I am Shipmate" if is_welcome else "What I can do"
    return Card(Tone.NEUTRAL, translate(locale, title), emoji="⚓", sections=tuple(sections), locale=locale)


def _line(verb: Verb, locale: str) -> Text:
    return text(Code(usage_of(SPECS[verb].usage, locale)), f" — {translate(locale, SUMMARIES[verb.value])}")
