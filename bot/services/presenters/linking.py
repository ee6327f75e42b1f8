"""What is said to people who join their accounts."""

from __future__ import annotations

from bot.domain.cards import Code, Notice, text
from bot.i18n import translate
from bot.services.presenters.words import duration


def code_notice(code: str, lives_s: float, locale: str) -> Notice:
    """A one-time code, for its person alone."""
    word = "绑定" if locale.startswith("zh") else "link"
    sentence = "Type this to me on the other platform within {time}. Whoever does is you to me: show it to nobody."
    time = duration(lives_s, locale)
    return Notice("🔗", text(Code(f"{word} {code}"), " · ", translate(locale, sentence, time=time)), locale=locale)


def elsewhere_notice(locale: str) -> Notice:
    """What is said where others read along and nothing could be said privately."""
    sentence = "I can say this to you alone only: open a direct conversation with me, and ask there."
    return Notice("🔗", text(translate(locale, sentence)), locale=locale)


def linked_notice(account: str, name: str, locale: str) -> Notice:
    """Two accounts are one person's now."""
    shown = f"{name} ({account})" if name else account
    sentence = "{account} and you are one person to me now, with the roles of both. If that is not you, unlink it."
    words = translate(locale, sentence, account=shown)
    return Notice("🔗", text(words, " ", Code(f"{_unlink(locale)} {account}")), locale=locale)


def used_notice(account: str, name: str, locale: str) -> Notice:
    """For whom a code was given to: it was used, by whoever had it."""
    shown = f"{name} ({account})" if name else account
    sentence = (
        "Your code was used: {account} and you are one person to me now, with the roles of both. If that was not you, "
        "unlink it at once, and tell whoever runs Shipmate."
    )
    words = translate(locale, sentence, account=shown)
    return Notice("🔗", text(words, " ", Code(f"{_unlink(locale)} {account}")), locale=locale)


def parted_notice(account: str, locale: str) -> Notice:
    """An account is on its own again."""
    sentence = "{account} is on its own again. For what was asked for before, it still counts as the same person."
    return Notice("✂️", text(translate(locale, sentence, account=account)), locale=locale)


def _unlink(locale: str) -> str:
    return "解绑" if locale.startswith("zh") else "unlink"
