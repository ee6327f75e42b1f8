"""The named reasons of slots and attempts, in words."""

from __future__ import annotations

from bot.i18n import translate
from bot.services.presenters.causes import cause_words

REASON_WORDS = {
    "": "waits for its turn",
    "sent": "shown",
    "unchanged": "looks the same as what stands there",
    "unchanged:times": "nothing has changed there but times and ids",
    "found": "no answer came, but the post stands there",
    "absent": "no answer came and the post does not stand there, it is posted anew",
    "repeated": "no answer came and nobody could be asked: posted again, it may stand there twice",
    "started": "no answer yet",
    "deleted": "somebody removed the post, it is posted anew",
    "cannot_edit": "the post may not be changed, the end is posted anew",
    "moved": "the place has moved, it is posted there",
    "end_once_more": "was given up, and is tried once more for its end",
    "replayed": "was given up and is tried again",
    "dropped": "was given up and dropped by an operator",
    "routed": "a route opens a card here",
    "waiting:card": "waits for the card it belongs to",
    "waiting:details": "waits a moment for the log",
    "filtered:muted": "this place asked for no cards of this project",
    "filtered:cannot_edit": "a step in between, where posts cannot be changed",
    "filtered:card_notifies": "no separate notice: the card is a new post",
    "filtered:card_tells": "no remark: the card has come after all",
    "filtered:card_follows": "no remark: the platform did not answer, and now the card is changed in its turn",
    "filtered:no_pictures": "no chart: no pictures are shown here",
    "filtered:no_threads": "no separate log or remark: there are no threads here",
    "filtered:flapping": "not called for: the build flaps, and a later run tells more",
    "folded:digest": "many came at once: it stands in a digest there",
    "held:quiet_hours": "held back for quiet hours",
    "held:pace": "the state before was dealt with, the next one waits for its turn",
    "held:storm": "held back while many come",
    "held:flapping": "held back because the build flaps",
    "paused:budget": "waits for its share of the platform's rate",
    "paused:rate_limited": "the platform asked for a pause",
    "paused:not_configured": "it is not in the configuration of the process that looked",
    "left:unknown_kind": "left to a newer version of Shipmate",
    "paused:unreadable": "an error of mine, tried again",
    "paused:unexpected": "an error of mine, tried again",
}
MILESTONE_WORDS = {
    "started": "the start",
    "finished": "the end",
    "failed": "a failure",
    "fixed": "a repair",
}


def reason_words(reason: str, locale: str) -> str:
    """What a reason means; one that nobody has put into words is shown as it is."""
    if reason in REASON_WORDS:
        return translate(locale, REASON_WORDS[reason])
    family, _, detail = reason.partition(":")
    match family:
        case "dead":
            return translate(locale, "given up: {cause}", cause=_inline(cause_words(detail, locale)))
        case "failed":
            return translate(locale, "the last try failed: {cause}", cause=_inline(cause_words(detail, locale)))
        case "unresolved":
            return translate(locale, "the place cannot be found: {cause}", cause=_inline(cause_words(detail, locale)))
        case "waiting":
            milestones = [translate(locale, MILESTONE_WORDS.get(word, word)) for word in detail.split("|")]
            return translate(locale, "opens at {milestones}", milestones=translate(locale, " or ").join(milestones))
        case _:
            return reason


def outcome_words(outcome: str, locale: str) -> str:
    """What one attempt came to."""
    family, _, detail = outcome.partition(":")
    if family == "failed":
        return translate(locale, "failed: {cause}", cause=_inline(cause_words(detail, locale)))
    return reason_words(outcome, locale)


def _inline(sentence: str) -> str:
    """A sentence as part of another one."""
    return sentence.rstrip(".。")
