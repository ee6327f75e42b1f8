"""Builds that came all at once, as one card."""

from __future__ import annotations

from bot.domain.builds import Build, BuildStatus
from bot.domain.cards import Card, Code, Lines, Link, Notice, Paragraph, Section, Strong, Text, text
from bot.domain.noise import Digest
from bot.i18n import translate
from bot.services.presenters.words import BUILD_EMOJI, BUILD_TONE, overdue_words, status_word

SECTION_LINES = 20  # a section of a platform has room for so many links
_TELLING = (
    BuildStatus.FAILED,
    BuildStatus.RUNNING,
    BuildStatus.UNKNOWN,
    BuildStatus.CANCELLED,
    BuildStatus.SUCCESS,
)


def digest_card(digest: Digest, locale: str, timezone: str) -> Card:
    """The counts by status, and a line for each build as far as there is room; no time that would tick."""
    worst = _worst(digest)
    return Card(
        tone=BUILD_TONE[worst],
        emoji=BUILD_EMOJI[worst],
        title=_title(digest, locale),
        sections=(Paragraph(_counts(digest, locale)), *_lists(digest, locale)),
        footer=text(translate(locale, "More came than this place shows one by one; they go on in this card.")),
        subject=str(digest.key),
        is_final=digest.is_final,
        locale=locale,
        timezone=timezone,
    )


def digest_overdue_notice(digest: Digest, locale: str, timezone: str) -> Notice:
    """How all builds of a digest ended, said in its thread because the card itself cannot be changed yet."""
    body = text(Strong(_title(digest, locale)), " · ", *_counts(digest, locale), " · ", overdue_words(locale))
    return Notice(BUILD_EMOJI[_worst(digest)], body, locale=locale, timezone=timezone)


def _worst(digest: Digest) -> BuildStatus:
    return next((status for status in _TELLING if digest.counts.get(status)), BuildStatus.RUNNING)


def _title(digest: Digest, locale: str) -> str:
    return translate(locale, "Many builds at once: {count}", count=digest.total)


def _counts(digest: Digest, locale: str) -> Text:
    known = [(status, digest.counts[status]) for status in _TELLING if digest.counts.get(status)]
    words = [f"{BUILD_EMOJI[status]} {count} {status_word(status, locale)}" for status, count in known]
    return text(" · ".join(words))


def _lists(digest: Digest, locale: str) -> list[Section]:
    lines = [_line(build, locale) for build in digest.shown]
    starts = range(0, len(lines), SECTION_LINES)
    hidden = digest.total - len(lines)
    return [Lines(tuple(lines[at : at + SECTION_LINES]), hidden=hidden if at == starts[-1] else 0) for at in starts]


def _line(build: Build, locale: str) -> Text:
    name = Link(build.key.short, build.facts.url) if build.facts.url else Strong(build.key.short)
    word = status_word(build.status, locale, is_fixed=build.is_fixed)
    branch = (" · ", Code(build.facts.branch)) if build.facts.branch else ()
    return text(f"{BUILD_EMOJI[build.status]} ", name, f" {word}", *branch)
