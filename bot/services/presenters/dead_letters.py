"""What those who run Shipmate are told when a delivery is given up."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Any

from bot.domain.cards import Code, Notice, Preformatted, Strong, text
from bot.domain.places import CARD_SLOT, CHART_SLOT, LOG_SLOT, NOTICE_SLOT, OVERDUE_SLOT, kind_of_slot
from bot.domain.subjects import SubjectKey
from bot.i18n import translate
from bot.services.presenters.causes import advice_words, cause_words

WORK_WORDS = {
    "answer": "answer to a person",
    "command": "command",
    "job": "reading a build",
    "tracker": "work with a tracker",
}
MOST_PLACES = 20
SLOT_WORDS = {
    CARD_SLOT: "card",
    CHART_SLOT: "chart",
    NOTICE_SLOT: "notice",
    LOG_SLOT: "log",
    OVERDUE_SLOT: "remark that it is late",
    "admin": "notice to the admin",
}


def slot_words(slot: str, locale: str) -> str:
    """What of a subject a slot shows; further attempts are numbered."""
    kind, _, attempt = slot.partition("@")
    words = translate(locale, SLOT_WORDS.get(kind_of_slot(slot), kind))
    return f"{words} ({attempt})" if attempt else words


def admin_notice(options: Mapping[str, Any], locale: str, timezone: str) -> Notice:
    """What cannot be done: a card or other work that was given up, a place that is not found, or no access."""
    if "work" in options:
        return work_notice(options, locale, timezone)
    if "refused" in options:
        return refused_notice(options, locale, timezone)
    speak = dead_letter_notice if "subject" in options else unresolved_notice
    return speak(options, locale, timezone)


def _places(options: Mapping[str, Any], locale: str) -> str:
    """The places of one cause, the first one first."""
    places = [str(options["place"]), *map(str, options.get("others", ()))]
    rest = len(places) - MOST_PLACES
    more = f" {translate(locale, '… and {count} more', count=rest)}" if rest > 0 else ""
    return ", ".join(places[:MOST_PLACES]) + more


def work_notice(options: Mapping[str, Any], locale: str, timezone: str) -> Notice:
    """What was given up with which system, and why; the first of its cause, with those that followed."""
    body = text(
        Strong(translate(locale, "Given up")),
        f" · {translate(locale, WORK_WORDS[options['work']])} · ",
        Strong(_places(options, locale)),
        f" ({options['platform']}) · ",
        translate(locale, "It is not tried again by itself; the log says more."),
        " · ",
        Code(f"failed:{options['reason']}"),
    )
    return Notice("📪", body, locale=locale, timezone=timezone)


def refused_notice(options: Mapping[str, Any], locale: str, timezone: str) -> Notice:
    """Where our credentials are refused, and what to do; nothing is given up for that."""
    what = "Put a valid credential in place or grant what it lacks, and restart. Nothing is lost meanwhile."
    return _waiting("🔑", "No access", what, "failed", options, locale, timezone)


def unresolved_notice(options: Mapping[str, Any], locale: str, timezone: str) -> Notice:
    """Configured places that are not found: why, what waits for it, and where to look."""
    waits = "What is wanted there waits, and is posted as soon as the place is found."
    return _waiting("🧭", "Not found", waits, "unresolved", options, locale, timezone)


def _waiting(  # noqa: PLR0917 - two callers, above
    emoji: str, title: str, what: str, kind: str, options: Mapping[str, Any], locale: str, timezone: str
) -> Notice:
    """Where something waits for whoever runs Shipmate, why, what to do, and where to look."""
    body = text(
        Strong(translate(locale, title)),
        " · ",
        Strong(_places(options, locale)),
        f" ({options['platform']}) · ",
        cause_words(options["reason"], locale),
        "" if locale.startswith("zh") else " ",
        translate(locale, what),
        " · ",
        Code(f"{kind}:{options['reason']}"),
    )
    lines = Preformatted("shipmate check\nshipmate deliveries")
    return Notice(emoji, body, excerpt=lines, locale=locale, timezone=timezone)


def dead_letter_notice(options: Mapping[str, Any], locale: str, timezone: str) -> Notice:
    """What was given up where, why, and what to do: the first of its cause, for all that follow within the hour."""
    reason = options["reason"]
    body = text(
        Strong(translate(locale, "Given up")),
        f" · {SubjectKey.parse(options['subject']).short} ({slot_words(options['slot'], locale)}) → ",
        Strong(_places(options, locale)),
        f" ({options['platform']}) · ",
        cause_words(reason, locale),
        "" if locale.startswith("zh") else " ",
        advice_words(reason, locale),
        " · ",
        Code(f"dead:{reason}"),
    )
    where = f"--reason {shlex.quote(reason)}"
    if not options.get("others"):
        where += f" --destination {shlex.quote(options['place'])}"
    lines = Preformatted(f"shipmate dead list {where}\nshipmate dead replay {where}")
    return Notice("📪", body, excerpt=lines, locale=locale, timezone=timezone)
